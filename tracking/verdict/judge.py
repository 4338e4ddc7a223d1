"""Claims judged together: confirmed, refuted or undecided, each with its numbers.

The rules are stated in `tracking.verdict.verdict`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from tracking.best import copies
from tracking.results import Outcome
from tracking.verdict import words
from tracking.verdict.claims import BEST, BETTER, SECONDS, Claim, named, parents
from tracking.verdict.comparisons import Paired, values, window
from tracking.verdict.statistics import LEVEL, adjusted, hodges_lehmann, holm, max_t
from tracking.verdict.tables import code, count
from tracking.verdict.types import ClaimVerdict

CONFIRMED, REFUTED, UNDECIDED = "confirmed", "refuted", "undecided"


class Stage:
    """The configurations that claims are judged on, with their records: the sweep's own, or those on fresh seeds.

    Without copies. `arms` is the number of each arm's configuration here, `records` has all their records, `rows` by
    number.
    """

    def __init__(self, frame: pd.DataFrame, outcomes: Mapping[int, Outcome], *, fresh: bool = False) -> None:
        left_out = copies(frame, outcomes)
        self.outcomes = {n: o for n, o in outcomes.items() if (o.confirms is not None) == fresh and n not in left_out}
        self.arms = {name: n for n, o in self.outcomes.items() if (name := o.confirms or o.arm)}
        self.records = frame[frame["configuration"].isin(list(self.outcomes))] if len(frame) else frame
        kept = self.records.groupby("configuration") if len(frame) else ()
        self.rows: dict[int, pd.DataFrame] = {int(str(number)): rows for number, rows in kept}


@dataclass
class Tested:
    """A claim, and the pairs of configurations that decide it; without any, the reason, and what that means.

    As good as the best is as good as each, better than the best is better than each; and the other way round. `unlike`
    says how the two of a pair were trained differently, where it is their seconds that are compared.
    """

    claim: Claim
    epochs: str
    reason: str = ""
    answer: str = UNDECIDED
    pairs: Sequence[Paired] = ()
    unlike: str = ""

    @property
    def best(self) -> str:
        """The name of the best of the other configurations, where the claim is about it."""
        if BEST not in (self.claim.arm, self.claim.against) or not self.pairs:
            return ""
        sign, arm = self.claim.sign, self.claim.arm == BEST
        first = max(self.pairs, key=lambda p: sign * float((p.arm if arm else p.against).mean()))
        return str(first.names[not arm])

    @property
    def equal(self) -> Paired | None:
        """Two that are equal on every seed, which is no matter of chance, where one is claimed to be better at all."""
        strict = self.claim.kind == BETTER and self.claim.arm != BEST and not self.claim.margin
        return next((pair for pair in self.pairs if strict and pair.same), None)

    def deciding(self, side: int) -> tuple[float, Sequence[Paired]]:
        """p of "the claim does not hold" (0) or "it holds" (1), and the pairs it is of."""
        if not self.pairs:
            return 1.0, []
        # It holds against each (the largest p), and fails where it fails against any (all rivals at once).
        if (side == 0) == (self.claim.arm != BEST):
            return max(pair.p[side] for pair in self.pairs), self.pairs
        least = min(self.pairs, key=lambda pair: (pair.p[side], -_gain(pair, side)))
        return (self._any[side] if len(self.pairs) > 1 else least.p[side]), [least]

    @cached_property
    def _any(self) -> tuple[float, float]:
        """p of "against no rival above the bound", and of "against none below it"."""
        # A claim about the best has one bound.
        beyond = pd.DataFrame([pd.Series(pair.beyond[0], pair.pairs) for pair in self.pairs])
        errors = pd.DataFrame([pd.Series(pair.errors, pair.pairs) for pair in self.pairs])
        return max_t(beyond.to_numpy(), errors.fillna(0.0).to_numpy())

    def decider(self, side: int) -> Paired:
        """Of these pairs the one whose numbers are shown: that which is weakest."""
        return max(self.deciding(side)[1], key=lambda pair: (pair.p[side], -_gain(pair, side)))


def _gain(pair: Paired, side: int) -> float:
    """The gain, or on the side of what fails the loss: with few seeds many p are equal."""
    return hodges_lehmann(pair.gains) * (-1 if side else 1)


def judge_claims(
    claims: Sequence[Claim], stage: Stage, later: Collection[str] = (), left: int = 0, seeds_added: bool = False
) -> tuple[ClaimVerdict, ...]:
    """All claims of a sweep at once: p is corrected for how many there are.

    `later` are the names of those stated after results were available; `left` configurations are unfinished. Raises
    ValueError where claims come after what is no claim, or in a circle.
    """
    claims = [named(claim) for claim in claims]
    tests = [_tested(claim, stage, left) for claim in claims]
    # A claim that can't be tested yet counts: the correction must not grow with what is known.
    family = Family([tuple(test.deciding(side)[0] for side in (0, 1)) for test in tests], parents(claims))
    verdicts = []
    for i, test in enumerate(tests):
        verdict = _verdict(test, family, i)
        verdicts.append(replace(verdict, stated_later=test.claim.name in later, seeds_added=seeds_added))
    return tuple(verdicts)


class Family:
    """The claims of a sweep together: `ps` are each one's p (of "does not hold", "holds"), one-sided and uncorrected.

    That a claim holds is tested in the claims' order, once the one it comes after is confirmed. That it does not is
    corrected for all claims whatever their order, which can only be too strict: a claim that comes after a confirmed
    one is then refuted at its place among all.
    """

    def __init__(self, ps: Sequence[tuple[float, ...]], above: Sequence[int | None]) -> None:
        self.ps, self.above = ps, above
        self.corrected = self._corrected(ps)

    def _corrected(self, ps: Sequence[tuple[float, ...]]) -> list[tuple[float, float]]:
        holds, fails = ([p[side] for p in ps] for side in (0, 1))
        return [*zip(adjusted(holds, self.above), holm(fails), strict=True)]

    def open(self, i: int) -> bool:
        """Whether a claim is tested: it comes after none, or after one that is confirmed."""
        parent = self.above[i]
        return parent is None or 2 * self.corrected[parent][0] <= LEVEL

    def least(self, i: int, pairs: int) -> float:
        """The smallest corrected p that a claim of so many pairs could have beside the others."""
        ps = [p if j != i else (0.5**pairs,) * 2 for j, p in enumerate(self.ps)]
        return min(1.0, 2 * min(self._corrected(ps)[i]))


def _tested(claim: Claim, stage: Stage, left: int) -> Tested:
    sides = [side for side in (claim.arm, claim.against) if side != BEST]
    numbers = {side: stage.arms[side] for side in sides if stage.arms.get(side) in stage.rows}
    epochs = _epochs(claim, [stage.rows[n] for n in numbers.values()])
    if missing := [side for side in sides if side not in numbers]:
        return Tested(claim, epochs, f"{code(missing[0])} has no records yet")
    if left and len(sides) == 1:
        remaining = f"{count(left, 'configuration')} remain{'s' * (left == 1)} unfinished"
        return Tested(claim, epochs, f"the best is unknown while {remaining}")
    states = {side: stage.outcomes[n].state for side, n in numbers.items()}
    complete = [n for n, o in stage.outcomes.items() if o.state == "complete" and n in stage.rows]
    if broken := [side for side in sides if states[side] != "complete"]:
        reason = " and ".join(f"{code(side)} {words.STATES[states[side]]}" for side in broken)
        # What breaks down is not better than what trains; half of a training, or none, is no answer.
        trains = complete if claim.against == BEST else states.get(claim.against) == "complete"
        # Its accuracy is the lowest, its loss endless; but its gradients may be the larger, and its time the shorter.
        worst = claim.metric != SECONDS and (
            claim.objective.what != claim.metric  # an epoch that it does not reach, or far from any target
            or claim.metric.endswith(".accuracy") == (claim.goal == "maximize")
        )
        refuted = states.get(claim.arm) == "diverged" and trains and worst
        return Tested(claim, epochs, reason, REFUTED if refuted else UNDECIDED)
    rivals = [n for n in complete if n not in numbers.values()] if len(sides) == 1 else [0]
    both = [[numbers.get(side, rival) for side in (claim.arm, claim.against)] for rival in rivals]
    compared = {n for pair in both for n in pair}
    of = {n: (n, stage.outcomes[n].name, values(stage.rows[n], claim)) for n in compared}
    pairs = [Paired(claim, *(of[n] for n in pair)) for pair in both]
    if len(sides) == 1:
        pairs = [pair for pair in pairs if pair.decidable]
    alone = f"no other configuration is complete that {code(sides[0])} could be compared with"
    flaw = next(filter(None, (pair.flaw(epochs) for pair in pairs)), "") if pairs else alone
    return Tested(claim, epochs, flaw, pairs=() if flaw else pairs, unlike=_unlike(stage, pairs))


def _unlike(stage: Stage, pairs: Sequence[Paired]) -> str:
    """How the two of the first pair that was trained in different ways were trained; empty where none was."""
    if not pairs or pairs[0].claim.metric != SECONDS:
        return ""
    records = pd.concat(stage.rows.values())
    # The seconds of what is trained together are shared out equally: no two clocks agree to the bit.
    together = records.groupby(["epoch", "seconds"])["seed"].transform("size")
    ways = records.assign(together=together).groupby(["configuration", "epoch"])[["engine", "together"]].first()
    for pair in pairs:
        first, second = map(code, pair.names)
        for epoch in pair.pairs:
            way, second_way = (ways.loc[number, epoch] for number in pair.configurations)
            if way.engine != second_way.engine:
                by = f"{first} was trained by the {way.engine} engine, {second} by the {second_way.engine} engine"
                return f" {by}: their seconds are those of two programs."
            if way.together != second_way.together:
                size = count(way.together, "network")
                of = f"{first} was one of {size} trained together, {second} one of {second_way.together}"
                return f" {of}: what each takes depends on their number."
    return ""


def answered(test: Tested, family: Family, i: int) -> str:
    """The answer to the i-th claim of a family, of whose configurations there are pairs."""
    if not family.open(i):
        return UNDECIDED
    holds, fails = (2 * p <= LEVEL for p in family.corrected[i])
    return CONFIRMED if holds else REFUTED if fails or test.equal else UNDECIDED


def _verdict(test: Tested, family: Family, i: int) -> ClaimVerdict:
    claim, answer, text = test.claim, test.answer, f": {test.reason}."
    direction = claim.objective.direction
    result = ClaimVerdict(claim.name, claim.says, claim.kind, claim.metric, direction, test.epochs, best=test.best)
    question = words.question(claim, test.epochs, test.best)
    if not family.open(i):
        answer, text = UNDECIDED, f": not tested, because {code(claim.after)} is not confirmed."
    elif test.pairs:
        corrected, claims = family.corrected[i], len(family.ps)
        deciding = [test.deciding(side) for side in (0, 1)]
        answer = answered(test, family, i)
        side = int((corrected[1], deciding[1][0]) < (corrected[0], deciding[0][0]))
        # Both directions are looked at, so each p counts twice.
        p, p_corrected = min(1.0, 2 * deciding[side][0]), min(1.0, 2 * corrected[side])
        pair = test.equal if test.equal and 2 * corrected[1] > LEVEL else test.decider(side)
        comparison = pair.comparison()
        candidates = len(test.pairs) if test.best else 0
        which = words.which(claim, comparison, candidates, answer == UNDECIDED) if candidates > 1 else ""
        together = candidates if candidates > len(deciding[side][1]) else 1
        text = f"{which}: {words.numbers(claim, comparison, p, together, p_corrected, claims)}"
        text += words.zeros(pair.zeros, comparison)
        warning = words.skewed(claim, comparison, side) if 2 * min(corrected) <= LEVEL else ""
        if answer == UNDECIDED and (least := family.least(i, len(pair.pairs))) > LEVEL:
            needed = next(n for n in itertools.count(len(pair.pairs)) if family.least(i, n) <= LEVEL)
            text += words.too_few(comparison, claims, least, needed)
        text += test.unlike + warning
        result = replace(result, threshold=pair.threshold, required=words.required(claim, pair.threshold))
        result = replace(result, comparison=comparison, candidates=candidates, warning=warning.strip())
        result = replace(result, p=p, p_corrected=p_corrected)
    sentence = f"{question} {answer.capitalize()}{text}"
    return replace(result, question=question, answer=answer, after=claim.after, sentence=sentence)


def _epochs(claim: Claim, records: Sequence[pd.DataFrame]) -> str:
    """The epochs of a claim in words, by the first of its sides that has records."""
    if claim.since is None and claim.until is None and claim.metric != SECONDS:
        return claim.objective.when
    first, last = window(records[0], claim) if records else (claim.since or 0, claim.until)
    if first == last:
        return f"at epoch {first}"
    if last is not None and first < last:
        return f"over epochs {first} to {last}"
    return f"from epoch {first} on"
