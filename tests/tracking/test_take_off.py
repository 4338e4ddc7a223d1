"""When seeds took off: what is counted, and that nothing is said where all did, or none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import CensoredData, binomtest, ecdf

from sweeps.commands.results import verdict_text
from tracking.results import Outcome
from tracking.verdict.claims import BEST, BETTER, Claim
from tracking.verdict.sections import sections
from tracking.verdict.types import Verdict
from tracking.verdict.verdict import judge
from trainers.objectives import Objective

EPOCHS = 6
CHANCE, TRAINED = 0.1, 0.6
ACCURACY = "validation.accuracy"


def verdict_of(arms: Mapping[str, Sequence[int | None]], *claims: Claim, last: int = EPOCHS) -> Verdict:
    """Of arms whose seeds are at chance until the epoch at which each takes off."""
    outcomes = {n: Outcome(n, name, name, "complete") for n, name in enumerate(arms)}
    rows = [
        {
            "configuration": n,
            "seed": seed,
            "epoch": epoch,
            "engine": "lanes",
            "activation": "tanh",
            "learning_rate": n / 100,
            ACCURACY: TRAINED + seed / 1000 if start is not None and epoch >= start else CHANCE + 0.04 * (epoch % 2),
            "validation.loss": 1.0,
        }
        for n, starts in enumerate(arms.values())
        for seed, start in enumerate(starts)
        for epoch in range((last if n else EPOCHS) + 1)
    ]
    first, second = list(arms)[:2]
    stated = claims or (Claim(BETTER, first, second, ACCURACY),)
    return judge(pd.DataFrame(rows), outcomes, [Objective()], stated, sweep="made")


def test_how_many_took_off_and_when_is_told_beside_the_means() -> None:
    verdict = verdict_of({"paper": [1, 2, 2, 3, None, 4], "plain": [None, 5, None, 3, None, 2]})
    (found,) = verdict.take_offs
    assert (found.one, found.other, found.metric, found.chance) == ("paper", "plain", ACCURACY, CHANCE)
    assert found.epochs == ((1, 2, 2, 3, None, 4), (None, 5, None, 3, None, 2))
    assert (found.took_off, found.medians) == ((5, 3), (2, 5))
    assert (found.earlier, found.later) == (3, 1), "never is later than any; two that never did are equal"
    assert found.p == binomtest(3, 4).pvalue
    assert json.loads(json.dumps(asdict(verdict), allow_nan=False))["take_offs"][0]["epochs"][1][0] is None
    (section,) = (s for s in sections(verdict) if s.title == "Take-off")
    (table,) = section.tables
    assert table.title.endswith("; metric: validation.accuracy")
    assert table.rows == (("paper, plain", "5, 3 of 6", "2, 5", "3", "1", "0.62"),)
    assert "| paper, plain | 5, 3 of 6 | 2, 5 | 3 | 1 | 0.62 |" in verdict.markdown
    assert "took off" in verdict_text(verdict)


def test_one_arm_did_and_the_other_did_not() -> None:
    (found,) = verdict_of({"paper": [1] * 8, "plain": [None] * 8}).take_offs
    assert (found.took_off, found.medians, found.p) == ((8, 0), (1, None), 2 / 2**8)


@pytest.mark.parametrize("arms", [{"paper": [1] * 8, "plain": [2] * 8}, {"paper": [None] * 8, "plain": [None] * 8}])
def test_where_all_took_off_or_none_nothing_is_said(arms: Mapping[str, Sequence[int | None]]) -> None:
    verdict = verdict_of(arms)
    assert verdict.take_offs == () and "Take-off" not in verdict.markdown


def test_an_arm_that_was_trained_for_longer_has_no_more_time() -> None:
    (found,) = verdict_of({"paper": [1, 6, 6], "plain": [1, 2, None]}, last=4).take_offs
    assert (found.last, found.epochs) == (4, ((1, None, None), (1, 2, None)))


def test_two_arms_are_compared_once_and_claims_about_the_best_as_well() -> None:
    better = Claim(BETTER, "paper", "plain", ACCURACY)
    claims = [
        better,
        Claim(BETTER, "plain", "paper", ACCURACY, name="the other way"),
        Claim(BETTER, "paper", "plain", ACCURACY, until=2, name="until 2"),
        Claim(BETTER, "plain", "paper", "validation.loss", "minimize", name="of the loss"),
        Claim(BETTER, "plain", BEST, ACCURACY, name="the best"),
    ]
    found = verdict_of({"paper": [1, 1, 2], "plain": [None, 2, 2]}, *claims).take_offs
    assert [(t.one, t.other) for t in found] == [("paper", "plain")]
    others = verdict_of({"paper": [1, 1, 2], "plain": [None, 2, 2], "other": [1, 1, 1]}, *claims[4:]).take_offs
    assert [t.one for t in others] == ["plain"]


STARTS = st.lists(st.tuples(*[st.one_of(st.none(), st.integers(1, EPOCHS))] * 2), min_size=2, max_size=9)


@given(STARTS)
def test_the_numbers_are_scipys_and_the_other_way_round_they_are_swapped(starts: list[tuple[int | None, ...]]) -> None:
    ones, others = zip(*starts, strict=True)
    found = verdict_of({"a": ones, "b": others}).take_offs
    known = [start for pair in starts for start in pair if start is not None]
    assert bool(found) == (0 < len(known) < 2 * len(starts))
    for one, other in zip(found, verdict_of({"b": others, "a": ones}).take_offs, strict=True):
        assert one.medians == other.medians[::-1] and (one.earlier, one.later, one.p) == (
            other.later,
            other.earlier,
            other.p,
        )
        for of_arm, middle in zip((ones, others), one.medians, strict=True):
            survival = ecdf(
                CensoredData(
                    uncensored=[start for start in of_arm if start is not None],
                    right=[EPOCHS] * of_arm.count(None),
                )
            ).sf
            by_half = survival.quantiles[survival.probabilities <= 0.5 + 1e-12]
            known_by_half = of_arm.count(None) <= len(of_arm) / 2
            assert middle == (by_half.min() if known_by_half else None)
            if len(of_arm) % 2:
                exact = median(math.inf if start is None else start for start in of_arm)
                assert exact == (math.inf if middle is None else middle)
