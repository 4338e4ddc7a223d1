from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tracking.paired import interval, least_p, seeds_needed, wilcoxon
from tracking.results import Outcome
from tracking.verdict import Verdict, judge, summaries

ACCURACY = ("validation.accuracy", "maximize")


def table(values: Mapping[str, list[float]], states: Mapping[str, str] | None = None, **columns: Any) -> Any:
    """(frame, outcomes) of configurations by name, one value a seed; plain and paper are arms, the others are not."""
    rows, outcomes = [], {}
    for number, (name, of_seeds) in enumerate(values.items()):
        arm = name if name in ("plain", "paper", "other") else ""
        outcomes[number] = Outcome(number, arm, name, (states or {}).get(name, "complete"), "")
        for epoch in (0, 1):
            for seed, value in enumerate(of_seeds):
                row = {
                    "configuration": number,
                    "seed": seed,
                    "epoch": epoch,
                    "alpha": 2.0 if name == "paper" else 1.0,
                    "scaling": "rescaled",
                    "validation.accuracy": value if epoch else 0.1,
                    "validation.loss": 1 - value if epoch else 2.3,
                    "gradient.data.rms": 0.001,
                    "gradient.data.vanished": 0.25,
                    "layer.conv1.saturated": 0.5,
                    "layer.conv1.dead": 0.0,
                    "layer.output.saturated": 0.0,
                }
                rows.append(row | {k: v[name] for k, v in columns.items() if name in v})
    return pd.DataFrame(rows), outcomes


PLAIN = [0.50, 0.52, 0.49, 0.51, 0.53, 0.50, 0.48, 0.51]
GAINS = [0.10, 0.11, 0.09, 0.12, 0.13, 0.08, 0.14, 0.07]
PAPER = [p + g for p, g in zip(PLAIN, GAINS, strict=True)]


def verdict_of(values: Mapping[str, list[float]], **more: Any) -> Verdict:
    frame, outcomes = table(values, **more)
    found = judge(frame, outcomes, [ACCURACY], "paper", "alpha-r")
    json.dumps(asdict(found), allow_nan=False)
    return found


def test_statistics_are_scipys() -> None:
    gains = np.array(GAINS)
    assert wilcoxon(gains) == stats.wilcoxon(gains, method="exact").pvalue == 2 / 2**8
    mixed = np.array([0.3, -0.1, 0.25, 0.15, -0.05, 0.4])
    assert wilcoxon(mixed) == pytest.approx(stats.wilcoxon(mixed, method="exact").pvalue)
    expected = stats.bootstrap(
        (gains,), np.mean, method="percentile", n_resamples=9_999, rng=np.random.default_rng(0)
    ).confidence_interval
    assert interval(gains) == (expected.low, expected.high) == interval(gains)


def test_ties_and_zeros() -> None:
    # All six the same: 2 of 64 sign patterns are as extreme, which the normal approximation would not say.
    assert wilcoxon(np.full(6, 0.1)) == pytest.approx(2 / 64)
    assert wilcoxon(np.array([0.91, 0.81]) - np.array([0.90, 0.80])) == pytest.approx(0.5)
    assert wilcoxon(np.zeros(5)) == 1.0
    assert wilcoxon(np.array([0.0, 0.1, 0.2, 0.3])) == pytest.approx(0.25)
    assert wilcoxon(np.array([])) is None and interval(np.array([0.1])) == (None, None)
    assert wilcoxon(np.round(np.linspace(-1, 2, 60), 1)) == pytest.approx(
        stats.wilcoxon(
            np.round(np.linspace(-1, 2, 60), 1)[np.round(np.linspace(-1, 2, 60), 1) != 0], method="approx"
        ).pvalue
    )


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9))
@settings(deadline=None, max_examples=40)
def test_no_p_is_below_what_so_many_seeds_can_give(gains: list[float]) -> None:
    p, least = wilcoxon(np.array(gains)), least_p(len(gains))
    assert p is not None and least is not None and least - 1e-12 <= p <= 1.0
    assert wilcoxon(-np.array(gains)) == pytest.approx(p)


def test_three_seeds_can_settle_nothing() -> None:
    assert (least_p(3), least_p(5), least_p(6), seeds_needed()) == (0.25, 0.0625, 0.03125, 6)
    found = verdict_of({"plain": PLAIN[:3], "paper": PAPER[:3]}).objectives[0].to_plain
    assert found is not None
    assert (found.answer, found.p, found.least_p) == ("undecided", 0.25, 0.25)
    assert "With 3 seeds the test's p can't be below 0.25: it takes 6 seeds or more" in found.sentence


def test_a_claim_that_is_better() -> None:
    verdict = verdict_of({"plain": PLAIN, "paper": PAPER, "alpha=3": PLAIN})
    (o,) = verdict.objectives
    assert o.to_plain is not None and o.to_best is not None and o.claim is not None
    assert o.to_plain.answer == "confirmed" and o.to_plain.gains == pytest.approx(GAINS)
    assert o.to_plain.gain == pytest.approx(np.mean(GAINS)) and o.to_plain.seeds == tuple(range(8))
    assert o.to_plain.low is not None and o.to_plain.high is not None
    assert 0.07 < o.to_plain.low < np.mean(GAINS) < o.to_plain.high < 0.14
    assert (o.claim.rank, o.to_best.answer, o.to_best.question) == (1, "confirmed", "as good")
    assert verdict.text.splitlines()[:2] == [
        "alpha-r: 3 configurations (3 complete).",
        "validation.accuracy (higher is better): the best is paper with 0.61 "
        "(mean of 8 seeds, standard deviation 0.03).",
    ]
    assert (
        "Is paper better than plain? Confirmed: better by 0.105 on average over 8 seeds (8 better, 0 worse"
        in verdict.text
    )


def test_a_claim_that_is_worse_or_the_same() -> None:
    worse = verdict_of({"plain": PAPER, "paper": PLAIN}).objectives[0]
    assert worse.to_plain is not None and worse.to_plain.answer == "not confirmed"
    assert worse.to_best is not None and worse.to_best.answer == "not confirmed"
    assert worse.claim is not None and worse.claim.rank == 2
    same = verdict_of({"plain": PLAIN, "paper": PLAIN}).objectives[0].to_plain
    assert same is not None and (same.answer, same.p, same.gain) == ("not confirmed", 1.0, 0.0)
    assert "the same to the last digit on 8 seeds" in same.sentence


def test_what_can_not_be_told_apart_is_undecided() -> None:
    close = [p + g for p, g in zip(PLAIN, [0.01, -0.01, 0.02, -0.02, 0.01, -0.005, 0.02, -0.01], strict=True)]
    o = verdict_of({"plain": PLAIN, "paper": close, "alpha=3": [c + 0.001 for c in close]}).objectives[0]
    assert o.to_plain is not None and o.to_plain.answer == "undecided"
    assert o.to_best is not None and o.to_best.configuration == 2
    better = verdict_of({"plain": PLAIN, "paper": PLAIN, "alpha=3": close}).objectives[0].to_best
    assert better is not None and better.answer == "undecided"
    assert "does not show that there is none" in better.sentence


def test_lower_is_better_when_it_is_to_be_minimized() -> None:
    frame, outcomes = table({"plain": PLAIN, "paper": PAPER})
    both = judge(frame, outcomes, [ACCURACY, ("validation.loss", "minimize")], "paper")
    for o in both.objectives:
        assert o.claim is not None and o.claim.rank == 1
        assert o.to_plain is not None and o.to_plain.gain == pytest.approx(np.mean(GAINS))


def test_only_complete_configurations_are_ranked() -> None:
    states = {"alpha=3": "pruned", "alpha=4": "diverged", "alpha=5": "running"}
    verdict = verdict_of(
        {"plain": PLAIN, "paper": PAPER, "alpha=3": [0.9] * 8, "alpha=4": [0.9] * 7 + [math.nan], "alpha=5": []},
        states=states,
    )
    ranking = verdict.objectives[0].ranking
    assert [(s.name, s.rank) for s in ranking[:2]] == [("paper", 1), ("plain", 2)]
    assert [(s.name, s.rank) for s in ranking[2:]] == [("alpha=3", None), ("alpha=4", None), ("alpha=5", None)]
    assert ranking[3].values[-1] is None and ranking[3].mean is None
    assert (ranking[4].values, ranking[4].epoch) == ((), None)
    assert verdict.states == {"complete": 2, "pruned": 1, "diverged": 1, "running": 1}


@pytest.mark.parametrize(
    ("states", "answer"),
    [
        ({"paper": "diverged"}, "not confirmed"),
        ({"paper": "running"}, "undecided"),
        ({"paper": "pruned"}, "undecided"),
        ({"plain": "diverged"}, "undecided"),
    ],
)
def test_a_claim_that_is_not_complete(states: dict[str, str], answer: str) -> None:
    verdict = verdict_of({"plain": PLAIN, "paper": PAPER, "alpha=3": PLAIN}, states=states)
    found = verdict.objectives[0].to_plain
    assert found is not None and found.answer == answer
    ((name, state),) = states.items()
    assert f"{name} is {state}" in found.sentence


def test_without_a_plain_arm_every_other_arm_is_compared() -> None:
    o = verdict_of({"paper": PAPER, "other": PLAIN, "alpha=3": PLAIN}).objectives[0]
    assert o.to_plain is None and [c.name for c in o.to_arms] == ["other"]


def test_only_common_seeds_are_paired() -> None:
    found = verdict_of({"plain": PLAIN[:6], "paper": PAPER}).objectives[0].to_plain
    assert found is not None and found.seeds == tuple(range(6))


def test_the_claim_must_be_an_arm_and_the_metric_recorded() -> None:
    frame, outcomes = table({"plain": PLAIN})
    with pytest.raises(ValueError, match=r"one of the arms \(plain\), but got 'paper'"):
        judge(frame, outcomes, [ACCURACY], "paper")
    with pytest.raises(ValueError, match="no metric 'accuracy'"):
        judge(frame, outcomes, [("accuracy", "maximize")])
    with pytest.raises(ValueError, match="maximize or minimize"):
        judge(frame, outcomes, [("validation.accuracy", "up")])
    assert judge(frame.iloc[:0], outcomes, [ACCURACY], "plain").objectives[0].to_best is None
    alone = judge(frame, outcomes, [ACCURACY])
    assert alone.objectives[0].claim is None and "the best is plain" in alone.text
    assert "nothing to compare" in judge(pd.DataFrame(), {}, [ACCURACY]).text


def test_equal_means_share_a_rank() -> None:
    frame, outcomes = table({"plain": PLAIN, "paper": PAPER, "a": PLAIN, "b": [0.1] * 8})
    assert [(s.name, s.rank) for s in summaries(frame, outcomes, "validation.accuracy")] == [
        ("paper", 1),
        ("plain", 2),
        ("a", 2),
        ("b", 4),
    ]


def test_spread_is_over_seeds() -> None:
    frame, outcomes = table({"plain": PLAIN})
    (s,) = summaries(frame, outcomes, "validation.accuracy")
    assert s.mean == math.fsum(PLAIN) / 8 and s.deviation == pytest.approx(np.std(PLAIN, ddof=1))
    assert (s.q25, s.q50, s.q75) == tuple(np.quantile(PLAIN, (0.25, 0.5, 0.75)))


def test_what_the_gradients_show() -> None:
    columns = {
        "gradient.data.rms": {"plain": 1e-9, "paper": 1e-3},
        "gradient.data.vanished": {"plain": 0.97, "paper": 0.02},
        "layer.conv1.saturated": {"plain": 0.88, "paper": 0.45},
    }
    causes = verdict_of({"plain": PLAIN, "paper": PAPER}, **columns).causes
    assert causes[0] == (
        "At epoch 0, plain and paper: rms of the data gradient 1e-09 and 0.001; vanished coordinates 97% and 2%; "
        "saturated units 88% and 45%; dead units 0% and 0%."
    )
    assert "Most units of plain were saturated at the start; rescaling by alpha left fewer of them so." in causes
    assert "Most of plain's gradient had vanished before the first step." in causes
    columns["layer.conv1.saturated"] = {"plain": 0.0, "paper": 0.0}
    none = verdict_of({"plain": PLAIN, "paper": PAPER}, **columns).causes
    assert "Hardly a unit of plain was ever saturated, so that rescaling by alpha had nothing to act on." in none
