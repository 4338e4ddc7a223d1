"""The simulations of the verdict's statistics: the command in small, and what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from docs.build.simulations import false_positives
from docs.build.simulations.coverage import GAINS, bootstrap
from docs.build.simulations.false_positives import FAMILIES, SCATTERS_LINEAR, Family, attainable
from docs.build.simulations.noises import ACCURACY, ALL, SEEDS, SIZE, TIES, Values
from docs.build.simulations.page import SMALL, Size
from docs.build.simulations.rates import Rate, generator
from docs.build.simulations.records import FEWEST, Kept, kept, same_arm
from docs.build.simulations.simulated import answers, judged
from tracking.verdict.claims import Claim

ROOT = Path(__file__).parents[2]
SHARE = re.compile(r"([\d.]+)% \([\d.]+ to [\d.]+\)")


Rows = dict[str, list[list[str]]]


@dataclass(frozen=True)
class Page:
    """The cells of a page's tables by heading, and how much was simulated."""

    rows: Rows
    size: Size


@pytest.fixture(scope="module", params=["in small", "as committed"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page that the command writes in small, and the one that is committed."""
    if request.param == "as committed":
        return read(ROOT / "docs" / "statistics.md")
    folder = tmp_path_factory.mktemp("docs")
    words = ["--small", "--out", str(folder / "statistics.md"), "--records", str(folder / "records")]
    command = [sys.executable, "-m", "docs.build.simulations", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "one claim, normal, 25 seeds: " in done.stderr
    small = read(folder / "statistics.md")
    assert small.size == SMALL and small.rows["Real records"][-1][0] == "no records yet"
    return small


def read(file: Path) -> Page:
    text = file.read_text(encoding="utf-8")
    assert "{" not in text and text.count("\n# ") == 0
    rows = {
        section.splitlines()[0]: [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in section.splitlines()
            if line.startswith("| ") and not line.startswith("| --")
        ]
        for section in text.split("\n## ")[1:]
    }
    patterns = (
        r"([\d,]+) of each\skind \(",
        r"kind\s\(([\d,]+)\swhere",
        r"([\d,]+) samples of",
        r"([\d,]+)\spairs of draws",
    )
    return Page(rows, Size(*(int(re.search(pattern, text)[1].replace(",", "")) for pattern in patterns)))


def seen(cells: list[str], of: int) -> list[Rate]:
    """The shares in the cells, of so many simulations each."""
    return [Rate(round(float(share) * of / 100), of) for cell in cells for share in SHARE.findall(cell)]


def test_the_page_has_every_row(page: Page) -> None:
    wrong = {tuple(row[:2]) for row in page.rows["How often an answer is wrong"]}
    assert wrong > {(of.name, noise.name) for of in FAMILIES for noise in of.noises}
    power = {row[1] for row in page.rows["How often what is there is found"]}
    assert power >= {noise.name for noise in ALL}
    assert {row[0] for row in page.rows["How often an interval covers"]} > {of.name for of in GAINS}
    assert [row[0] for row in page.rows["What fails on one seed in ten"]] == ["seeds", "8", "12", "25"]
    assert len(page.rows["Real records"]) > 1


def test_at_most_one_sweep_in_twenty_gets_a_wrong_answer(page: Page) -> None:
    kept = [row for row in page.rows["How often an answer is wrong"] if row[1] != SCATTERS_LINEAR.name]
    rates = [
        rate for row in kept for rate in seen(row[2:], page.size.slow if "best of" in row[0] else page.size.sweeps)
    ]
    assert len(rates) > 90 and all(rate.within(0, 0.05) for rate in rates)
    assert Rate(sum(rate.hits for rate in rates), sum(rate.of for rate in rates)).within(0, 0.05)


def test_one_claim_is_wrong_as_often_as_theory_says(page: Page) -> None:
    """But not more often where there are ties, nor on a scale on which the two arms do differ."""
    for row in page.rows["How often an answer is wrong"]:
        if row[0] == "one claim" and row[1] not in (SCATTERS_LINEAR.name, TIES.name, "in theory"):
            of_seeds = zip(SEEDS, seen(row[2:], page.size.sweeps), strict=True)
            assert all(rate.within(attainable(seeds)) for seeds, rate in of_seeds), row


def test_five_seeds_decide_nothing_and_eight_refute_what_is_far_behind(page: Page) -> None:
    rows = page.rows["How often what is there is found"]
    for what in ("70 points behind: refuted", "the same, as one of two claims: refuted"):
        (cells,) = (seen(row[2:], page.size.slow) for row in rows if row[0] == what)
        assert (cells[0].rate, cells[2].rate) == (0, 1)


def test_an_interval_covers_where_gains_are_symmetric(page: Page) -> None:
    for row in page.rows["How often an interval covers"][1:]:
        if "linear" not in row[0] and "bimodal" not in row[0] and "one seed" not in row[0]:
            assert row[2] == "no interval"
            assert all(rate.within(0.95, 1) for rate in seen(row[3:5], page.size.samples)), row


def test_theory() -> None:
    """Of the 256 sign patterns of 8 pairs 5 have a sum of at most 3, and 7 one of at most 4, which are too many."""
    assert [attainable(seeds) for seeds in (5, 6, 8)] == [0, 2 / 64, 2 * 5 / 256]
    assert 0.045 < attainable(25) <= 0.05


def test_a_rate_has_the_exact_interval() -> None:
    assert Rate(0, 10).interval == (0, pytest.approx(1 - 0.025**0.1))
    assert Rate(5, 100).within(0.05) and not Rate(20, 100).within(0.05) and not Rate(0, 1000).within(0.05)
    assert Rate(0, 1000).within(0, 0.05) and not Rate(100, 1000).within(0, 0.05)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda of: of.name)
@pytest.mark.parametrize("shift", [0.0, 10.0, -50.0])
def test_the_short_way_to_an_answer_gives_the_verdicts(
    family: Family, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In all that is simulated, with nothing to be found and with something."""
    seen: set[str] = set()

    def both(values: Values, claims: Sequence[Claim]) -> list[str]:
        values[1:] = noise.shifted(values[1:], shift)
        short = answers(values, claims)
        assert short == [verdict.answer for verdict in judged(values, claims)]
        seen.update(short)
        return short

    monkeypatch.setattr(false_positives, "answers", both)
    for noise in family.noises:
        family.wrong(generator("short way", noise.name), noise, 12)
    assert not shift or seen & {"confirmed", "refuted"}


def test_the_bootstrap_is_that_of_each_sample_by_itself() -> None:
    samples = generator("bootstrap").normal(size=(150, 30))
    low, high = bootstrap(samples, generator("resamples"))
    half = 1.96 * samples.std(axis=1) / np.sqrt(30)
    assert np.allclose(samples.mean(axis=1) - half, low, atol=0.15) and np.allclose(
        samples.mean(axis=1) + half, high, atol=0.15
    )


def test_an_arm_is_compared_with_itself_in_every_sweep() -> None:
    random = generator("records")
    seeds, epochs = 2 * FEWEST, 5
    frame = pd.DataFrame(
        {
            "configuration": np.repeat([0, 1], seeds * epochs),
            "seed": np.tile(np.repeat(np.arange(seeds), epochs), 2),
            "epoch": np.tile(np.arange(epochs), 2 * seeds),
            ACCURACY: random.random(2 * seeds * epochs),
            SIZE: random.lognormal(0, 3, 2 * seeds * epochs),
            "gradient.total.mean_abs": 1.0,
            "seconds": random.random(2 * seeds * epochs),
        }
    )
    claims = [
        *(Claim(kind, "a", "b", ACCURACY, margin=0.1, name=kind) for kind in ("better", "as good", "similar")),
        Claim("better", "a", "b", ACCURACY, since=1, until=3),
        Claim("better", "a", "b", SIZE, margin=2.0, times=True),
        Claim("better", "a", "b", "gradient.total.mean_abs"),
        Claim("better", "a", "b", "seconds"),
    ]
    of = Kept(frame, claims)
    (one,) = same_arm({"one": of, "too few": Kept(frame[frame["seed"] < 2 * FEWEST - 1], claims)}, deals=50)
    assert (one.sweep, one.arms, one.tests, one.pairs) == ("one", 2, 2 * 3, (FEWEST, FEWEST))
    assert one.error is not None and one.share < 0.3 and one.attains == pytest.approx(attainable(FEWEST))
    assert [each.sweep for each in same_arm({"one": of, "two": of}, deals=1)] == ["one", "two", "all"]


def test_without_records_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert same_arm(kept(tmp_path)) == []
