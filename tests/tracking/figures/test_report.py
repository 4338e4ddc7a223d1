"""The report's page: what it says in which order, that it needs nothing else, and that no text of a user is markup."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from sweeps.commands.results import verdict_text
from tracking.charts.chart import Chart
from tracking.charts.charts import Charts
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
CHART = Chart([{"y": [1, 2]}], {"height": 96}, "A caption.", "In words.", "A title")
NOTHING = Charts({}, {})
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
    charts = Charts({"one": CHART}, {"Response surface": "nothing was searched"})
    result = conditions(frame, make.sweep())
    text = page(verdict, charts, tables, result, question="Is it?", spec="name: made\n", version="9.9")
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
    without_contents = re.sub("<nav.*?</nav>", "", text, flags=re.DOTALL)
    assert [s for s in Parsed(without_contents).texts if s in order][-len(order) :] == order
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
    text = page(verdict, Charts({"one": CHART}, {}), [], NO_TABLE)
    parsed = Parsed(text)
    assert parsed.of("link", "iframe", "object", "base", "form", "img") == []
    assert not any(name.startswith("on") or name == "src" for _, of in parsed.elements for name in of)
    assert re.findall(r"url\(|@import|https?://(?!tristen.ca)", text) == []  # but for a comment in tablesort
    policy = next(str(m["content"]) for m in parsed.of("meta") if "content" in m and m.get("http-equiv"))
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("default-src") == rules.pop("base-uri") == rules.pop("form-action") == "'none'"
    assert rules.pop("img-src") == "data: blob:" and rules.pop("style-src") == "'unsafe-inline'"
    # Only what has one of these hashes runs: the scripts in the page, and the library that one of them unpacks.
    library = gzip.decompress(base64.b64decode(_inside(text, '<script type="text/plain" id="plotly">')))
    runs = [library, *(script.encode() for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL))]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'" for script in runs]
    assert len(runs) == 3 and rules == {"script-src": " ".join(hashes)}
    assert library.startswith(b"/**\n* plotly.js") and b"MIT license" in library[:200]
    assert parsed.of("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in parsed.of("meta")


def test_a_chart_is_data_with_words_for_those_who_do_not_see_it(verdict: Verdict) -> None:
    text = page(verdict, Charts({"one": CHART}, {}), [], NO_TABLE)
    assert json.loads(_inside(text, 'data-chart="chart-one">')) == {"data": [{"y": [1, 2]}], "layout": {"height": 96}}
    place = next(d for d in Parsed(text).of("div") if d.get("id") == "chart-one")
    assert (place["role"], place["aria-label"]) == ("img", "In words.") and "min-height: 96px" in str(place["style"])
    assert "<noscript><p>In words.</p></noscript>" in text and "The figures need JavaScript" in text
    assert '<a href="#of-one">A title</a>' in text and '<figure id="of-one">' in text


def _inside(text: str, start: str) -> str:
    return text.split(start, 1)[1].split("</script>", 1)[0]


def test_what_a_user_wrote_is_text(verdict: Verdict) -> None:
    evil = """</script><!--<script>alert(1)</script><img src=x onerror="alert(2)">'"&{{ 7 * 7 }}"""
    (claim,) = verdict.claims
    hostile = replace(
        verdict,
        sweep=evil,
        claims=(replace(claim, name=evil, says=evil, sentence=evil, stated_later=True),),
        gradients=(replace(verdict.gradients[0], configuration=evil),),
        objectives=(replace(verdict.objectives[0], ranking=(replace(verdict.objectives[0].ranking[0], name=evil),)),),
    )
    charts = Charts({evil: Chart([{"name": evil}], {"height": 96}, evil, evil, evil)}, {evil: evil})
    table = Table(evil, (evil,), ((evil,),))
    result = conditions(
        measured_frame(evil), Sweep(evil, evil, versions={evil: evil}, digests={evil: evil}, commit=evil)
    )
    text = page(hostile, charts, [table], result, question=evil, spec=evil, version=evil)
    parsed = Parsed(text)
    assert len(parsed.of("script")) == 5 and parsed.of("img") == []
    assert [d["aria-label"] for d in parsed.of("div") if d.get("role") == "img"] == [evil]
    assert json.loads(_inside(text, "data-chart=").split(">", 1)[1])["data"] == [{"name": evil}]
    assert parsed.texts.count(evil) >= 10 and "49" not in parsed.texts


def test_what_is_noted_on_a_sweep_comes_first() -> None:
    noted = conditions(measured_frame("x"), Sweep("s", "s", remark="of the first week", tags=("figure", "old")))
    assert noted.rows[:2] == (("note", "of the first week"), ("tags", "figure, old"))
    assert {"note", "tags"}.isdisjoint(dict(conditions(measured_frame("x"), Sweep("s", "s")).rows))


def test_what_was_measured_is_a_condition_and_nothing_is_none() -> None:
    frame = measured_frame("x").assign(measure="jacobian, signal", measure_at="")
    rows = dict(conditions(frame, Sweep("s", "s")).rows)
    assert rows["measure"] == "jacobian, signal" and "measure at" not in rows
    assert rows["epochs recorded"] == "0, the initial values alone"


def measured_frame(text: str) -> Any:
    import pandas as pd

    return pd.DataFrame({"seed": [0], "epoch": [0], "data": [f"folder:{text}"]})


def test_a_sweep_without_claims_says_its_verdict_in_words(verdict: Verdict) -> None:
    without = re.sub("<[^>]+>", "", page(replace(verdict, claims=()), NOTHING, [], NO_TABLE))
    for line in verdict.text.splitlines()[:2]:
        assert line.replace("`", "") in without


@pytest.mark.parametrize(
    ("status", "note"),
    [("running", "This sweep is running:"), ("killed", "This sweep was stopped before its end:")],
)
def test_an_unfinished_sweep_is_said_to_be_one(verdict: Verdict, status: str, note: str) -> None:
    word = {"killed": "stopped"}.get(status, status)
    assert f'<h1>made <span class="status {word}">{word}</span></h1>' in page(
        verdict, NOTHING, [], NO_TABLE, status=status
    )
    assert any(s.startswith(note) for s in Parsed(page(verdict, NOTHING, [], NO_TABLE, status=status)).texts)
    assert not any(s.startswith("This sweep") for s in Parsed(page(verdict, NOTHING, [], NO_TABLE)).texts)


def test_no_line_no_table_of_measurements(make: Any) -> None:
    frame, ended = make(make.search(2, state="running", epochs=0), status=None)
    assert measured(FigureData(frame, ended)) == []
