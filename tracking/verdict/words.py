"""A claim and its answer in sentences that say no more than the numbers do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tracking.results import CONFIRM
from tracking.verdict.claims import AS_GOOD, BEST, BETTER, SIMILAR, Claim
from tracking.verdict.statistics import hodges_lehmann, tail
from tracking.verdict.tables import GAIN, RATIO, P, code, count, ends, number, times
from tracking.verdict.types import Comparison

# How a configuration that is not complete is described, and in one word.
STATES = {"diverged": "diverged", "failed": "failed", "pruned": "was pruned", "running": "is unfinished"}


def state_word(state: str) -> str:
    """A state in a word: the records call unfinished work "running", even when nobody is at work any more."""
    return "unfinished" if state == "running" else state


def ways(direction: str) -> tuple[str, str]:
    """(the claim's direction, the opposite one)."""
    return ("higher", "lower") if direction == "maximize" else ("lower", "higher")


def question(claim: Claim, epochs: str, best: str) -> str:
    """The claim as a question about numbers; `best` is the name of the best where it is known."""
    named = "the best other configuration" + (f", {code(best.removeprefix(CONFIRM))}," if best else "")
    arm, against = (named if side == BEST else code(side) for side in (claim.arm, claim.against))
    higher, lower = ways(claim.objective.direction)
    margin = number(100 * claim.margin if claim.relative else claim.margin, ".3g") + "%" * claim.relative
    margin = f"a factor of {margin}" if claim.times else margin
    if claim.kind == BETTER:
        how = f"{higher} than that of {against}" + (f" by more than {margin}" if claim.margin else "")
    elif claim.kind == AS_GOOD:
        how = f"at most {margin} {lower} than that of {against}"
    else:
        how = f"within {margin} of that of {against}"
    what = claim.objective.what
    return f"Is {'the ' * (what != claim.metric)}{what} of {arm} {' '.join(filter(None, (how, epochs)))}?"


def which(claim: Claim, c: Comparison, candidates: int, undecided: bool) -> str:
    """Which of several comparisons the numbers are of."""
    rival = code((c.one if claim.arm == BEST else c.other).removeprefix(CONFIRM))
    return f". Of {candidates} comparisons, that with {rival} {'left it so' if undecided else 'decided'}"


def required(claim: Claim, threshold: float) -> str:
    """What the gain, or on the log scale the ratio, has to be."""
    if not claim.log:
        return f"{'within' if claim.kind == SIMILAR else 'above'} {number(threshold)}"
    if claim.kind == SIMILAR:
        return f"{times(claim.ratios[0])} to {times(claim.ratios[1])}"
    return f"{'above' if claim.sign > 0 else 'below'} {times(threshold)}"


def numbers(claim: Claim, c: Comparison, p: float, together: int, corrected: float, claims: int) -> str:
    """The numbers that decide a claim; `p` is of so many comparisons `together`, `corrected` also for the claims."""
    pairs = count(len(c.pairs), c.paired_over)
    if not any(c.gains):
        return f"identical on {'all ' * (len(c.pairs) > 1)}{pairs}."
    higher, lower = ways(claim.objective.direction)
    above, below = sum(g > 0 for g in c.gains), sum(g < 0 for g in c.gains)
    gain = c.gain or 0.0
    if claim.log:
        by = f"{number(gain, RATIO)} times as high"
    else:
        by = f"{higher if gain > 0 else lower} by {number(abs(gain), '.3g')}"
    parts = [f"{by} over {pairs} ({above} {higher}, {below} {lower})"]
    if c.low is not None and c.high is not None:
        # Of the difference as it is: "higher by 0.02" lies in +0.01 to +0.03 where that is worse, too.
        low, high = (c.low, c.high) if claim.sign > 0 or claim.log else (0.0 - c.high, 0.0 - c.low)
        parts.append(f"95% interval {ends(replace(c, low=low, high=high))}")
    against = "" if claim.kind == BETTER and not claim.margin else " against the margin"
    which = "max-T" if together > 1 else "Wilcoxon"
    parts.append(f"{which} p{against} = {number(p, P)}" + f" (of {together} comparisons)" * (together > 1))
    if claims > 1:
        parts.append(f"Holm-corrected p = {number(corrected, P)} ({claims} claims)")
    return f"{'; '.join(parts)}."


def zeros(found: Sequence[tuple[str, int]], c: Comparison) -> str:
    """What a size of 0 counts as, on the log scale."""
    each = (f"{code(name.removeprefix(CONFIRM))} is 0 on {count(n, c.paired_over)}" for name, n in found)
    return f" {' and '.join(each)}, which counts as 1.4e-45." if found else ""


def skewed(claim: Claim, c: Comparison, side: int) -> str:
    """A warning where gains have a tail against the answer: that the claim holds (side 0) or does not (1)."""
    gains = np.array(c.gains)
    against = [1 if side == 0 else -1]  # 1: a tail of low gains
    if claim.kind == SIMILAR:
        against = [1, -1] if side == 0 else [1 if hodges_lehmann(gains) > 0 else -1]
    for sign in against:
        if many := tail(sign * gains):
            bound = float(np.sort(sign * gains)[many - 1]) * sign * claim.sign
            end = times(math.exp(bound)) if claim.log else number(bound, GAIN)
            way = "lower" if sign * claim.sign > 0 else "higher"
            of = f"{many} of {count(len(gains), c.paired_over)}"
            what = "ratios" if claim.log else "differences"
            return f" The {what} are skewed: {of} at {end} or {way}. The test assumes symmetry, so this may be wrong."
    return ""


def too_few(c: Comparison, claims: int, least: float, needed: int) -> str:
    """Why so few pairs can't decide a claim."""
    return (
        f" With {count(len(c.pairs), c.paired_over)} and {count(claims, 'claim')}, the corrected p cannot fall below "
        f"{number(least, P)}; a decision needs at least {count(needed, c.paired_over)}."
    )
