"""Claims judged together: confirmed, not confirmed or undecided, each with its numbers.

The rules are stated in `tracking.verdict.verdict`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tracking.results import Outcome
from tracking.verdict import words
from tracking.verdict.claims import BEST, BETTER, Claim, named
from tracking.verdict.comparisons import SECONDS, Paired, values, window
from tracking.verdict.statistics import LEVEL, holm
from tracking.verdict.tables import code, count
from tracking.verdict.types import ClaimVerdict, Comparison

CONFIRMED, NOT_CONFIRMED, UNDECIDED = "confirmed", "not confirmed", "undecided"


class Stage:
    """The configurations that claims are judged on, with their records: all of them, or those on fresh seeds.

    `arms` is the number of each arm's configuration here, `rows` the records by number, `complete` the numbers of those
    that are complete.
    """

    def __init__(self, frame: pd.DataFrame, outcomes: Mapping[int, Outcome], arms: Mapping[str, int]) -> None:
        self.outcomes, self.arms = outcomes, arms
        self.rows: dict[int, pd.DataFrame] = {}
        if len(frame):
            kept = frame[frame["configuration"].isin(list(outcomes))]
            self.rows = {int(str(number)): rows for number, rows in kept.groupby("configuration")}
        self.complete = [n for n, o in outcomes.items() if o.state == "complete" and n in self.rows]
        self._values: dict[tuple[int, str, int | None, int | None], dict[int, float]] = {}

    def pair(self, claim: Claim, arm: int, against: int) -> Paired:
        """Two configurations under a claim."""
        for number in (arm, against):
            key = number, claim.metric, claim.since, claim.until
            if key not in self._values:
                self._values[key] = values(self.rows[number], claim)
        return Paired(claim, *(self._values[n, claim.metric, claim.since, claim.until] for n in (arm, against)))


@dataclass
class _Judged:
    """A claim on its way: p of both directions, or why there is none and what that means.

    `deciding` are the pairs that p comes from, of both directions: in each the interval must agree with it.
    """

    claim: Claim
    epochs: str
    pair: Paired | None = None
    deciding: tuple[Sequence[Paired], Sequence[Paired]] = ((), ())
    comparison: Comparison | None = None
    candidates: int = 0
    p: tuple[float, float] = (1.0, 1.0)
    reason: str = ""
    answer: str = UNDECIDED


def judge_claims(
    claims: Sequence[Claim], stage: Stage, later: Collection[str] = (), left: int = 0
) -> tuple[ClaimVerdict, ...]:
    """All claims of a sweep at once: p is corrected for how many there are.

    `later` are the names of those stated after results were available; `left` configurations are unfinished.
    """
    judged = [_judged(named(claim), stage, left) for claim in claims]
    # A claim that can't be tested yet counts: the correction must not grow with what is known.
    corrected = list(zip(*(holm([j.p[side] for j in judged]) for side in (0, 1)), strict=True))
    return tuple(
        _verdict(j, both, len(judged), _factor(j, judged), j.claim.name in later)
        for j, both in zip(judged, corrected, strict=True)
    )


def _factor(judged: _Judged, every: Sequence[_Judged]) -> int:
    """What Holm's correction multiplies the least p by that so many pairs can give: claims with less go before."""
    least = 0.5 ** len(judged.pair.pairs) if judged.pair else 0.0
    return min(1 + sum(j.p[side] >= least for j in every if j is not judged) for side in (0, 1))


def _judged(claim: Claim, stage: Stage, left: int) -> _Judged:
    sides = [side for side in (claim.arm, claim.against) if side != BEST]
    numbers = {side: n for side in sides if (n := stage.arms.get(side)) in stage.rows and n is not None}
    judged = _Judged(claim, _epochs(claim, [stage.rows[n] for n in numbers.values()]))
    if missing := [side for side in sides if side not in numbers]:
        judged.reason = f"{code(missing[0])} has no records yet"
        return judged
    if left and len(sides) == 1:
        judged.reason = f"the best is unknown while {count(left, 'configuration')} remain{'s' * (left == 1)} unfinished"
        return judged
    states = {side: stage.outcomes[n].state for side, n in numbers.items()}
    if broken := [side for side in sides if states[side] != "complete"]:
        judged.reason = " and ".join(f"{code(side)} {words.STATES[states[side]]}" for side in broken)
        # What breaks down is not better than what trains; half of a training, or none, is no answer.
        trains = stage.complete if claim.against == BEST else states.get(claim.against) == "complete"
        if states.get(claim.arm) == "diverged" and trains and _worst_broken(claim):
            judged.answer = NOT_CONFIRMED
        return judged
    _test(judged, stage, numbers)
    return judged


def _test(judged: _Judged, stage: Stage, numbers: Mapping[str, int]) -> None:
    """As good as the best is as good as each; better than the best is better than each; and the other way round."""
    claim = judged.claim
    if BEST in (claim.arm, claim.against):
        (number,) = numbers.values()
        rivals = [n for n in stage.complete if n != number]
        sides = [(rival, number) if claim.arm == BEST else (number, rival) for rival in rivals]
        pairs = {both: pair for both in sides if (pair := stage.pair(claim, *both)).decidable}
        judged.candidates = len(pairs)
    else:
        both = numbers[claim.arm], numbers[claim.against]
        pairs = {both: stage.pair(claim, *both)}
    if not pairs:
        judged.reason = f"no other configuration is complete that {code(next(iter(numbers)))} could be compared with"
        return
    if unusable := [pair for pair in pairs.values() if not pair.decidable or pair.one_clock]:
        judged.reason, judged.candidates = _unusable(unusable[0], judged.epochs), 0
        return
    each = list(pairs.values())
    above, below = zip(*(pair.p for pair in each), strict=True)
    if claim.arm == BEST:
        judged.p = min(1.0, len(each) * min(above)), max(below)
        judged.deciding = [each[above.index(min(above))]], each
    else:
        # It holds against each (the largest p), and fails where it fails against any (the smallest, of so many).
        judged.p = max(above), min(1.0, len(each) * min(below))
        judged.deciding = each, [each[below.index(min(below))]]
    better = 1 if claim.goal == "maximize" else -1
    both = max(pairs, key=lambda b: better * float((pairs[b].arm if claim.arm == BEST else pairs[b].against).mean()))
    judged.pair = pairs[both]
    judged.comparison = judged.pair.comparison((stage.outcomes[both[0]].name, stage.outcomes[both[1]].name), both)


def _verdict(judged: _Judged, corrected: tuple[float, float], claims: int, factor: int, later: bool) -> ClaimVerdict:
    claim, pair, comparison, answer = judged.claim, judged.pair, judged.comparison, judged.answer
    p = p_corrected = threshold = None
    text = f"{judged.reason}."
    if pair is not None and comparison is not None:
        # Both directions are looked at, so each p counts twice.
        p, p_corrected = (min(1.0, 2 * min(both)) for both in (judged.p, corrected))
        holds, fails = (
            2 * c <= LEVEL and all(one.clear[side] for one in judged.deciding[side]) for side, c in enumerate(corrected)
        )
        if claim.kind == BETTER and claim.arm != BEST and not claim.margin and pair.same:
            fails = True  # equal on every seed is no matter of chance
        answer = CONFIRMED if holds else NOT_CONFIRMED if fails else UNDECIDED
        text = words.numbers(claim, comparison, judged.candidates, p, p_corrected, claims)
        text += words.too_few(comparison, claims, factor) if answer == UNDECIDED else ""
        threshold = pair.threshold
    question = words.question(claim, judged.epochs, comparison)
    return ClaimVerdict(
        name=claim.name,
        says=claim.says,
        kind=claim.kind,
        metric=claim.metric,
        goal=claim.goal,
        epochs=judged.epochs,
        threshold=threshold,
        question=question,
        answer=answer,
        sentence=f"{question} {answer.capitalize()}: {text}",
        comparison=comparison,
        candidates=judged.candidates,
        p=p,
        p_corrected=p_corrected,
        stated_later=later,
    )


def _worst_broken(claim: Claim) -> bool:
    """Whether a configuration that breaks down has the worst there is of the metric: no accuracy, an endless loss."""
    # "Its gradients are larger" is not refuted by gradients that grow until nothing is finite; nor is a time.
    return claim.metric != SECONDS and claim.metric.endswith(".accuracy") == (claim.goal == "maximize")


def _epochs(claim: Claim, records: Sequence[pd.DataFrame]) -> str:
    """The epochs of a claim in words, by the first of its sides that has records."""
    first, last = window(records[0], claim) if records else (claim.since or 0, claim.until)
    if claim.since is None and claim.until is None and claim.metric != SECONDS:
        return "after the last epoch"
    if first == last:
        return f"at epoch {first}"
    if last is not None and first < last:
        return f"over epochs {first} to {last}"
    return f"from epoch {first} on"


def _unusable(pair: Paired, epochs: str) -> str:
    if not pair.pairs:
        return f"the two have no value of {pair.claim.metric} in common {epochs}"
    if pair.one_clock:
        return "both were trained in one pack and share its clock; set resources.pack to 1"
    missing = int((~np.isfinite(pair.gains)).sum())
    return f"{pair.claim.metric} is not finite for {missing} of {len(pair.pairs)} pairs"
