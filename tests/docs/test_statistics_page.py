"""The simulations of the verdict's statistics: the command in small, and what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from docs.build.simulations.coverage import GAINS, bootstrap
from docs.build.simulations.false_positives import FAMILIES, SCATTERS_LINEAR, attainable
from docs.build.simulations.noises import ACCURACY, ALL, SIZE
from docs.build.simulations.page import SMALL
from docs.build.simulations.rates import Rate, generator
from docs.build.simulations.records import FEWEST, same_arm, tables
from docs.build.simulations.simulated import answer, answers, better

ROOT = Path(__file__).parents[2]
SHARE = re.compile(r"([\d.]+)% \([\d.]+ to [\d.]+\)")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    """The cells of the tables of the page that the command writes in small, by heading."""
    folder = tmp_path_factory.mktemp("docs")
    words = ["--small", "--out", str(folder / "statistics.md"), "--records", str(folder / "records")]
    command = [sys.executable, "-m", "docs.build.simulations", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "one claim, normal, 25 seeds: " in done.stderr
    page = (folder / "statistics.md").read_text(encoding="utf-8")
    assert "\n# " not in page and "{" not in page and str(folder) not in page
    return {
        section.splitlines()[0]: [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in section.splitlines()
            if line.startswith("| ") and not line.startswith("| --")
        ]
        for section in page.split("\n## ")[1:]
    }


def seen(cells: list[str], of: int) -> list[Rate]:
    """The shares in the cells, of so many simulations each."""
    return [Rate(round(float(share) * of / 100), of) for cell in cells for share in SHARE.findall(cell)]


def test_the_page_has_every_row(rows: dict[str, list[list[str]]]) -> None:
    wrong = {tuple(row[:2]) for row in rows["How often an answer is wrong"]}
    assert wrong > {(of.name, noise.name) for of in FAMILIES for noise in of.noises}
    power = {row[1] for row in rows["How often what is there is found"]}
    assert power >= {noise.name for noise in ALL}
    assert {row[0] for row in rows["How often an interval covers"]} > {of.name for of in GAINS}
    assert [row[0] for row in rows["What fails on one seed in ten"]] == ["seeds", "8", "12", "25"]
    assert rows["Real records"][-1][0] == "no records yet"


def test_at_most_one_sweep_in_twenty_gets_a_wrong_answer(rows: dict[str, list[list[str]]]) -> None:
    kept = [row for row in rows["How often an answer is wrong"] if row[1] != SCATTERS_LINEAR.name]
    rates = [rate for row in kept for rate in seen(row[2:], SMALL.sweeps)]
    assert len(rates) > 90 and all(rate.within(0, 0.05) for rate in rates)
    assert Rate(sum(rate.hits for rate in rates), sum(rate.of for rate in rates)).within(0, 0.05)


def test_five_seeds_decide_nothing_and_eight_refute_what_is_far_behind(rows: dict[str, list[list[str]]]) -> None:
    found = {row[0]: seen(row[2:], SMALL.sweeps) for row in rows["How often what is there is found"]}
    for what in ("70 points behind: not confirmed", "the same, as one of two claims: not confirmed"):
        assert [rate.rate for rate in (found[what][0], found[what][2])] == [0, 1]


def test_an_interval_covers_where_gains_are_symmetric(rows: dict[str, list[list[str]]]) -> None:
    for row in rows["How often an interval covers"][1:]:
        if "linear" in row[0] or "bimodal" in row[0] or "one seed" in row[0]:
            continue
        assert row[2] == "no interval"
        assert all(rate.within(0.95, 1) for rate in seen(row[3:5], SMALL.samples)), row


def test_theory() -> None:
    """Of the 256 sign patterns of 8 pairs 5 have a sum of at most 3, and 7 one of at most 4, which are too many."""
    assert [attainable(seeds) for seeds in (5, 6, 8)] == [0, 2 / 64, 2 * 5 / 256]
    assert 0.045 < attainable(25) <= 0.05


def test_a_rate_has_the_exact_interval() -> None:
    assert Rate(0, 10).interval == (0, pytest.approx(1 - 0.025**0.1))
    assert Rate(5, 100).within(0.05) and not Rate(20, 100).within(0.05) and not Rate(0, 1000).within(0.05)
    assert Rate(0, 1000).within(0, 0.05) and not Rate(100, 1000).within(0, 0.05)


@pytest.mark.parametrize("noise", ALL, ids=lambda noise: noise.name)
def test_the_short_way_to_an_answer_gives_the_verdicts(noise) -> None:
    random = generator("short way", noise.name)
    for shift in (0.0, 1.0, -3.0):
        for _ in range(3):
            values = noise.draw(random, (2, 12))
            values[1] = noise.shifted(values[1], shift)
            assert [answer(values, better(noise))] == answers(values, [better(noise)])


def test_the_bootstrap_is_that_of_each_sample_by_itself() -> None:
    samples = generator("bootstrap").normal(size=(150, 30))
    low, high = bootstrap(samples, generator("resamples"))
    half = 1.96 * samples.std(axis=1) / np.sqrt(30)
    assert np.allclose(samples.mean(axis=1) - half, low, atol=0.15) and np.allclose(
        samples.mean(axis=1) + half, high, atol=0.15
    )


def test_an_arm_is_compared_with_itself_in_every_table_of_records(tmp_path: Path) -> None:
    random = generator("records")
    seeds, epochs = 2 * FEWEST, 41
    frame = pd.DataFrame(
        {
            "configuration": np.repeat([0, 1], seeds * epochs),
            "seed": np.tile(np.repeat(np.arange(seeds), epochs), 2),
            "epoch": np.tile(np.arange(epochs), 2 * seeds),
            ACCURACY: random.random(2 * seeds * epochs),
            SIZE: random.lognormal(0, 3, 2 * seeds * epochs),
            "gradient.total.mean_abs": 1.0,
        }
    )
    assert same_arm(tables(tmp_path)) == []
    frame.to_parquet(tmp_path / "figure-1.parquet")
    frame[frame["seed"] < 2 * FEWEST - 1].to_parquet(tmp_path / "too-few.parquet")
    (one,) = same_arm(tables(tmp_path), deals=3)
    assert (one.sweep, one.arms, one.pairs) == ("figure-1", 2, FEWEST)
    assert one.tests >= 4 and one.share < 0.3 and one.error is not None
    frame.to_parquet(tmp_path / "mine.parquet")
    assert [of.sweep for of in same_arm(tables(tmp_path), deals=1)] == ["figure-1", "mine", "all"]
