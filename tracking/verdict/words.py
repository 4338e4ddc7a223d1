"""A claim and its answer in sentences that say no more than the numbers do."""

from __future__ import annotations

from tracking.results import CONFIRM
from tracking.verdict.claims import AS_GOOD, BEST, BETTER, Claim
from tracking.verdict.statistics import LEVEL, least_p, pairs_needed
from tracking.verdict.tables import GAIN, P, code, count, number, span
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
    margin = number(claim.margin, ".0%" if claim.relative else ".3g")
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


def numbers(claim: Claim, c: Comparison, p: float, times: int, corrected: float, claims: int) -> str:
    """The numbers that decide a claim; `p` is corrected for so many comparisons, `corrected` for the claims too."""
    pairs = count(len(c.pairs), c.paired_over)
    if not any(c.gains):
        return f"identical on {'all ' * (len(c.pairs) > 1)}{pairs}."
    higher, lower = ways(claim.objective.direction)
    above, below = sum(g > 0 for g in c.gains), sum(g < 0 for g in c.gains)
    gain = c.gain or 0.0
    parts = [f"{higher if gain > 0 else lower} by {number(abs(gain), '.3g')} on average over {pairs}"]
    parts[0] += f" ({above} {higher}, {below} {lower})"
    if c.low is not None and c.high is not None:
        # Of the difference as it is: "higher by 0.02" lies in +0.01 to +0.03 where that is worse, too.
        low, high = (c.low, c.high) if claim.sign > 0 else (0.0 - c.high, 0.0 - c.low)
        parts.append(f"95% interval {span(low, high, GAIN)}")
    against = "" if claim.kind == BETTER and not claim.margin else " against the margin"
    of_several = f" (corrected for {times} comparisons)" if times > 1 else ""
    parts.append(f"Wilcoxon p{against} = {number(p, P)}{of_several}")
    if claims > 1:
        parts.append(f"Holm-corrected p = {number(corrected, P)} ({claims} claims)")
    return f"{'; '.join(parts)}."


def passes(claim: Claim) -> str:
    """Why a claim is undecided whose p alone would decide it."""
    bound = "the margin" if claim.margin else "0"
    return f" Undecided because the interval passes {bound}, although p is below {LEVEL}."


def too_few(c: Comparison, claims: int, factor: int) -> str:
    """Why so few pairs can't decide a claim, whose p is corrected at least `factor` times; nothing where they can."""
    least = least_p(len(c.pairs), factor)
    if least <= LEVEL:
        return ""
    return (
        f" With {count(len(c.pairs), c.paired_over)} and {count(claims, 'claim')}, the corrected p cannot fall below "
        f"{number(least, P)}; a decision needs at least {count(pairs_needed(factor), c.paired_over)}."
    )
