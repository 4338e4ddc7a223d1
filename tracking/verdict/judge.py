"""Claims judged together: confirmed, not confirmed or undecided, each with its numbers.

The rules are said in `tracking.verdict.verdict`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tracking.results import Outcome
from tracking.verdict import words as wording
from tracking.verdict.claims import BEST, BETTER, Claim, named
from tracking.verdict.comparisons import SECONDS, Comparison, Paired, values, window
from tracking.verdict.statistics import LEVEL, holm

CONFIRMED, NOT_CONFIRMED, UNDECIDED = "confirmed", "not confirmed", "undecided"


@dataclass(frozen=True)
class ClaimVerdict:
    """What has become of a claim.

    `epochs` says which, in words; the gain has to be above `threshold` (its size below it where the claim is that two
    are similar). `comparison` is that with the best where the claim names it, of `candidates` (0 where it does not).
    `p` is two-sided, `p_corrected` that for all claims of the sweep. `stated_later`: after the first results were
    there.
    """

    name: str
    says: str
    kind: str
    metric: str
    goal: str
    epochs: str
    threshold: float | None
    question: str
    answer: str
    sentence: str
    comparison: Comparison | None
    candidates: int
    p: float | None
    p_corrected: float | None
    stated_later: bool


class Stage:
    """The configurations that claims are judged on, and their records: all of them, or those on fresh seeds.

    `arms` is the number of each arm's configuration here.
    """

    def __init__(self, frame: pd.DataFrame, outcomes: Mapping[int, Outcome], arms: Mapping[str, int]) -> None:
        self.outcomes, self.arms = outcomes, arms
        self._rows: dict[int, pd.DataFrame] = {}
        self._values: dict[tuple[int, str, int | None, int | None], dict[int, float]] = {}
        if len(frame):
            kept = frame[frame["configuration"].isin(list(outcomes))]
            self._rows = {int(str(number)): rows for number, rows in kept.groupby("configuration")}

    def rows(self, number: int) -> pd.DataFrame | None:
        """One configuration's records; None without any."""
        return self._rows.get(number)

    def pair(self, claim: Claim, one: int, other: int) -> Paired:
        """Two configurations under a claim."""
        return Paired(claim, *(self._values_of(number, claim) for number in (one, other)))

    def _values_of(self, number: int, claim: Claim) -> dict[int, float]:
        key = number, claim.metric, claim.since, claim.until
        if key not in self._values:
            self._values[key] = values(self._rows[number], claim)
        return self._values[key]

    def complete(self) -> list[int]:
        """The numbers of those that are through."""
        return [n for n, outcome in self.outcomes.items() if outcome.state == "complete" and n in self._rows]


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
    """All claims of a sweep at once: what is judged is corrected for how many there are.

    `later` are the names of those stated after the first results were there; `left` configurations are to come.
    """
    found = [_judged(named(claim), stage, left) for claim in claims]
    # A claim that can't be tested yet counts: the correction must not grow with what is known.
    corrected = list(zip(*(holm([j.p[side] for j in found]) for side in (0, 1)), strict=True))
    return tuple(
        _verdict(judged, both, (len(found), _factor(judged, found)), judged.claim.name in later)
        for judged, both in zip(found, corrected, strict=True)
    )


def _factor(judged: _Judged, found: Sequence[_Judged]) -> int:
    """What Holm's correction multiplies the least p by that so many pairs can give: claims with less go before."""
    least = 0.5 ** len(judged.pair.pairs) if judged.pair else 0.0
    return min(1 + sum(one.p[side] >= least for one in found if one is not judged) for side in (0, 1))


def _judged(claim: Claim, stage: Stage, left: int) -> _Judged:
    if BEST in (claim.one, claim.other):
        return _against_the_best(claim, stage, left)
    numbers = [stage.arms.get(arm) for arm in (claim.one, claim.other)]
    judged = _Judged(claim, _epochs(claim, stage, numbers))
    for arm, number in zip((claim.one, claim.other), numbers, strict=True):
        if number is None or stage.rows(number) is None:
            judged.reason = f"{arm} has no records yet"
            return judged
    one, other = (stage.outcomes[n] for n in numbers if n is not None)
    broken = [f"{o.name} is {o.state}" for o in (one, other) if o.state != "complete"]
    if broken:
        judged.reason = " and ".join(broken)
        # What breaks down is not better than what trains; half of a training, or none, is no answer.
        if one.state == "diverged" and other.state == "complete" and _worst_broken(claim):
            judged.answer = NOT_CONFIRMED
        return judged
    pair = stage.pair(claim, one.number, other.number)
    if not pair.decidable or pair.one_clock:
        judged.reason = _missing(pair, judged.epochs)
        return judged
    judged.pair, judged.p, judged.deciding = pair, pair.p, ([pair], [pair])
    judged.comparison = pair.comparison((one.name, other.name), (one.number, other.number))
    return judged


def _against_the_best(claim: Claim, stage: Stage, left: int) -> _Judged:
    """As good as the best is as good as each; better than the best is better than each; and the other way round."""
    arm = claim.other if claim.one == BEST else claim.one
    number = stage.arms.get(arm)
    judged = _Judged(claim, _epochs(claim, stage, [number]))
    if number is None or stage.rows(number) is None:
        judged.reason = f"{arm} has no records yet"
        return judged
    if left:
        judged.reason = f"the best is not known, {left} configurations are still to come"
        return judged
    state = stage.outcomes[number].state
    if state != "complete":
        judged.reason = f"{arm} is {state}"
        if state == "diverged" and claim.other == BEST and stage.complete() and _worst_broken(claim):
            judged.answer = NOT_CONFIRMED
        return judged
    pairs = {}
    for rival in stage.complete():
        pair = stage.pair(claim, *((rival, number) if claim.one == BEST else (number, rival)))
        if rival != number and pair.decidable:
            pairs[rival] = pair
    if clocks := [pair for pair in pairs.values() if pair.one_clock]:
        judged.reason = _missing(clocks[0], judged.epochs)
        return judged
    if not pairs:
        judged.reason = f"there is no complete configuration to hold {arm} against"
        return judged
    better = 1 if claim.goal == "maximize" else -1
    rival = max(pairs, key=lambda n: better * float((pairs[n].ones if claim.one == BEST else pairs[n].others).mean()))
    best = pairs[rival]
    above, below = zip(*(pair.p for pair in pairs.values()), strict=True)
    each = list(pairs.values())
    if claim.other == BEST:
        # It holds against each (the largest p), and fails where it fails against any (the smallest, of so many).
        judged.p = max(above), min(1.0, len(pairs) * min(below))
        judged.deciding = each, [each[below.index(min(below))]]
    else:
        judged.p = min(1.0, len(pairs) * min(above)), max(below)
        judged.deciding = [each[above.index(min(above))]], each
    judged.pair, judged.candidates = best, len(pairs)
    numbers = (rival, number) if claim.one == BEST else (number, rival)
    names = (stage.outcomes[numbers[0]].name, stage.outcomes[numbers[1]].name)
    judged.comparison = best.comparison(names, numbers)
    return judged


def _verdict(judged: _Judged, corrected: tuple[float, float], claims: tuple[int, int], later: bool) -> ClaimVerdict:
    claim, pair = judged.claim, judged.pair
    answer, p, p_corrected = judged.answer, None, None
    if pair is not None:
        # Both directions are looked at, so each p counts twice.
        p, p_corrected = (min(1.0, 2 * min(both)) for both in (judged.p, corrected))
        holds, fails = (
            2 * c <= LEVEL and all(one.clear[side] for one in judged.deciding[side]) for side, c in enumerate(corrected)
        )
        if claim.kind == BETTER and claim.one != BEST and not claim.margin and pair.same:
            fails = True  # equal on every seed is no matter of chance
        answer = CONFIRMED if holds else NOT_CONFIRMED if fails else UNDECIDED
    question = wording.question(claim, judged.epochs, judged.comparison)
    sentence = wording.sentence(question, answer, claim, judged.comparison, judged.candidates, p, p_corrected, *claims)
    return ClaimVerdict(
        name=claim.name,
        says=claim.says,
        kind=claim.kind,
        metric=claim.metric,
        goal=claim.goal,
        epochs=judged.epochs,
        threshold=pair.threshold if pair else None,
        question=question,
        answer=answer,
        sentence=sentence if pair else f"{question} {answer.capitalize()}: {judged.reason}.",
        comparison=judged.comparison,
        candidates=judged.candidates,
        p=p,
        p_corrected=p_corrected,
        stated_later=later,
    )


def _worst_broken(claim: Claim) -> bool:
    """Whether a configuration that breaks down has the worst there is of the metric: no accuracy, an endless loss."""
    # "Its gradients are larger" is not refuted by gradients that grow until nothing is finite; nor is a time.
    return claim.metric != SECONDS and claim.metric.endswith(".accuracy") == (claim.goal == "maximize")


def _epochs(claim: Claim, stage: Stage, numbers: Sequence[int | None]) -> str:
    found = [rows for number in numbers if number is not None and (rows := stage.rows(number)) is not None]
    first, last = window(found[0], claim) if found else (claim.since or 0, claim.until)
    if claim.since is None and claim.until is None and claim.metric != SECONDS:
        return "after the last epoch"
    if first == last:
        return f"at epoch {first}"
    if last is not None and first < last:
        return f"over epochs {first} to {last}"
    return f"from epoch {first} on"


def _missing(pair: Paired, epochs: str) -> str:
    if not pair.pairs:
        return f"they have no value of {pair.claim.metric} in common {epochs}"
    if pair.one_clock:
        return "they were trained together, in one pack, and share its clock: resources.pack must be 1"
    without = sum(1 for gain in pair.gains if gain != gain or abs(gain) == float("inf"))
    return f"{pair.claim.metric} is not a finite number for {without} of {len(pair.pairs)} pairs"
