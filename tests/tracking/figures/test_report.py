"""The report's page: what it says in which order, that it needs nothing else, and that no text of a user is markup."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from matplotlib.figure import Figure

from sweeps.commands.results import verdict_text
from tracking.figures.album import Album, Drawing
from tracking.figures.data import FigureData
from tracking.report.page import conditions, measured, page
from tracking.types import Sweep
from tracking.verdict.claims import Claim
from tracking.verdict.sections import rankings, sections
from tracking.verdict.tables import Table
from tracking.verdict.types import Verdict
from tracking.verdict.verdict import judge
from trainers.objectives import Objective

ACCURACY = Objective()
PICTURE = Drawing(Figure(figsize=(0.5, 1.0)), "A caption.", "In words.", "A title")
NOTHING = Album({}, {})
NO_TABLE = Table("Conditions", ("condition",), ())


class Parsed(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(" ".join(data.split()))

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def broken(metric: str, epoch: int, seed: int, value: float) -> float:
    return math.nan if epoch == 4 and seed == 3 else value


@pytest.fixture
def verdict(make: Any) -> Verdict:
    frame, ended = make([*make.arms(seeds=range(8)), make.one("wild", state="diverged", seeds=range(8), change=broken)])
    claims = [Claim("better", "paper", "plain", "validation.accuracy", says="the paper's words", name="improves")]
    return judge(frame, ended, [ACCURACY], claims, sweep="made")


def test_the_verdict_is_first_and_every_part_is_there(make: Any, verdict: Verdict) -> None:
    frame, ended = make.read()
    tables = measured(FigureData(frame, ended))
    album = Album({"one": PICTURE}, {"Response surface": "nothing was searched"})
    result = conditions(frame, make.sweep())
    text = page(verdict, album, tables, result, question="Is it?", spec="name: made\n", version="9.9")
    texts = Parsed(text).texts
    order = [
        "made",
        "Is it?",
        "Verdict",
        "1 claim: 1 confirmed.",
        "Figures",
        "A title",
        "A caption.",
        "Results",
        "Conditions",
    ]
    assert [s for s in texts if s in order][-len(order) :] == order
    (claim,) = verdict.claims
    assert (
        claim.answer == "confirmed"
        and claim.sentence.replace("`", "") in " ".join(texts)
        and '"the paper\'s words"' in texts
    )
    assert "is not drawn: nothing was searched." in texts
    assert any(s.startswith("Of the configurations, 1 diverged.") for s in texts)
    for expected in ("lanes", "abc123", "f00ba7", "2.15.0", "0 to 4", "8: 0, 1, … 7", "name: made"):
        assert expected in texts
    assert any(s.startswith("Made by gradsweep 9.9 on ") for s in texts)
    (ranked,) = rankings(verdict)
    assert [row[1] for row in ranked.rows] == ["paper", "plain", "relu", "wild"]
    means = frame[frame.epoch == 4].groupby("arm")["validation.accuracy"].mean()
    assert [row[2] for row in ranked.rows] == [f"{means[a]:.4g}" for a in ("paper", "plain", "relu")] + [""]
    of_arms = tables[-1]
    assert of_arms.columns[3] == "test accuracy#"
    assert of_arms.rows[1][3] == f"{frame[(frame.epoch == 4) & (frame.arm == 'paper')]['test.accuracy'].mean():.1%}"


def test_every_output_shows_the_same_sentences_and_cells(verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    without = html.unescape(re.sub("<[^>]+>", "", page(verdict, NOTHING, [], NO_TABLE)))
    for shown in (without, verdict.markdown, verdict_text(verdict)):
        text = " ".join(shown.replace("`", "").split())
        for section in sections(verdict)[1:]:
            assert section.title in text
            assert all(s.replace("`", "") in text for s in [c.sentence for c in section.claims] or section.sentences)
            assert all(cell in text for t in section.tables for row in t.rows for cell in row)
        assert all(cell in text for t in rankings(verdict) for row in t.rows for cell in row)


def test_on_a_terminal_everything_fits_and_no_word_is_broken(verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = set(re.split(r"[^\w.]+|(?<=[a-z])[._](?=[a-z])", verdict.text))
    for columns, widest in (("", 80), ("80", 80), ("70", 70)):
        monkeypatch.setenv("COLUMNS", columns)
        lines = verdict_text(verdict).splitlines()
        assert max(map(len, lines)) <= widest
        assert whole <= set(re.split(r"[^\w.]+|(?<=[a-z])[._](?=[a-z])", " ".join(lines)))


def test_the_page_needs_nothing_else(verdict: Verdict) -> None:
    text = page(verdict, Album({"one": PICTURE}, {}), [], NO_TABLE)
    parsed = Parsed(text)
    assert parsed.of("script", "link", "iframe", "object", "base", "form") == []
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    (image,) = parsed.of("img")
    assert (image["alt"], image["width"], image["height"]) == ("In words.", "48", "96")
    assert str(image["src"]).startswith("data:image/svg+xml;base64,")
    assert re.findall(r"url\(|@import|https?://", text) == []
    policy = next(m["content"] for m in parsed.of("meta") if "content" in m and m.get("http-equiv"))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert parsed.of("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in parsed.of("meta")


def test_what_a_user_wrote_is_text(verdict: Verdict) -> None:
    evil = """<script>alert(1)</script><img src=x onerror="alert(2)">'"&{{ 7 * 7 }}"""
    (claim,) = verdict.claims
    hostile = replace(
        verdict,
        sweep=evil,
        claims=(replace(claim, name=evil, says=evil, sentence=evil, stated_later=True),),
        gradients=(replace(verdict.gradients[0], configuration=evil),),
        objectives=(replace(verdict.objectives[0], ranking=(replace(verdict.objectives[0].ranking[0], name=evil),)),),
    )
    album = Album({evil: Drawing(PICTURE.figure, evil, evil, evil)}, {evil: evil})
    table = Table(evil, (evil,), ((evil,),))
    result = conditions(
        measured_frame(evil), Sweep(evil, evil, versions={evil: evil}, digests={evil: evil}, commit=evil)
    )
    text = page(hostile, album, [table], result, question=evil, spec=evil, version=evil)
    parsed = Parsed(text)
    assert parsed.of("script") == [] and len(parsed.of("img")) == 1
    assert parsed.of("img")[0]["alt"] == evil
    assert parsed.texts.count(evil) >= 10 and "49" not in parsed.texts


def measured_frame(text: str) -> Any:
    import pandas as pd

    return pd.DataFrame({"seed": [0], "epoch": [0], "data": [f"folder:{text}"]})


def test_a_sweep_without_claims_says_its_verdict_in_words(verdict: Verdict) -> None:
    without = re.sub("<[^>]+>", "", page(replace(verdict, claims=()), NOTHING, [], NO_TABLE))
    for line in verdict.text.splitlines()[:2]:
        assert line.replace("`", "") in without


@pytest.mark.parametrize(
    ("status", "note"),
    [("running", "This sweep is running:"), ("killed", "This sweep was interrupted:")],
)
def test_an_unfinished_sweep_is_said_to_be_one(verdict: Verdict, status: str, note: str) -> None:
    assert any(s.startswith(note) for s in Parsed(page(verdict, NOTHING, [], NO_TABLE, status=status)).texts)
    assert not any(s.startswith("This sweep") for s in Parsed(page(verdict, NOTHING, [], NO_TABLE)).texts)


def test_no_line_no_table_of_measurements(make: Any) -> None:
    frame, ended = make(make.search(2, state="running", epochs=0), status=None)
    assert measured(FigureData(frame, ended)) == []
