"""The verdict in plain words. Numbers first, no more said than they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tracking.results import CONFIRM
from tracking.verdict.claims import AS_GOOD, BEST, BETTER, Claim
from tracking.verdict.statistics import LEVEL, least_p, pairs_needed

if TYPE_CHECKING:
    from tracking.verdict.comparisons import Comparison
    from tracking.verdict.judge import ClaimVerdict
    from tracking.verdict.rankings import Summary
    from tracking.verdict.verdict import ObjectiveVerdict


def question(claim: Claim, epochs: str, found: Comparison | None) -> str:
    """The claim as a question about numbers."""
    one, other = (_side(side, found, i) for i, side in enumerate((claim.one, claim.other)))
    higher, lower = ways(claim.goal)
    margin = f"{claim.margin:.0%}" if claim.relative else f"{claim.margin:.3g}"
    if claim.kind == BETTER:
        how = f"{higher} than that of {other}" + (f" by more than {margin}" if claim.margin else "")
    elif claim.kind == AS_GOOD:
        how = f"at most {margin} {lower} than that of {other}"
    else:
        how = f"within {margin} of that of {other}"
    return f"Is {claim.metric} of {one} {how} {epochs}?"


def _side(side: str, found: Comparison | None, place: int) -> str:
    if side != BEST:
        return side
    return "the best" if found is None else f"the best, {(found.one, found.other)[place]},"


def sentence(
    question: str,
    answer: str,
    claim: Claim,
    found: Comparison | None,
    candidates: int,
    p: float | None,
    corrected: float | None,
    claims: int,
    factor: int,
) -> str:
    """Question, answer, numbers, and what so few pairs can say: their least p is corrected by at least `factor`."""
    if found is None or found.gain is None or p is None or corrected is None:
        return f"{question} {answer.capitalize()}."
    said = [f"{question} {answer.capitalize()}: {_numbers(claim, found, p, corrected, claims)}."]
    if candidates > 1:
        said.append(f"Judged against each of the {candidates} others, of which this is the best.")
    least = least_p(len(found.pairs), factor)
    if answer == "undecided" and least is not None and least > LEVEL:
        said.append(
            f"With {_pairs(found)} and {_count(claims, 'claim')} the corrected p can't be below {least:.2g}: it takes "
            f"{_count(pairs_needed(factor), found.paired_over)} or more to decide this."
        )
    return " ".join(said)


def _numbers(claim: Claim, c: Comparison, p: float, corrected: float, claims: int) -> str:
    if not any(c.gains):
        return f"the same to the last digit on {_pairs(c)}"
    higher, lower = ways(claim.goal)
    above, below = sum(g > 0 for g in c.gains), sum(g < 0 for g in c.gains)
    interval = "" if c.low is None or c.high is None else f"; 95% interval {_interval(claim, c.low, c.high)}"
    against = "" if claim.kind == BETTER and not claim.margin else " against the margin"
    correction = f", {corrected:.2g} corrected for {claims} claims" if claims > 1 else ""
    return (
        f"{higher if (c.gain or 0.0) > 0 else lower} by {abs(c.gain or 0.0):.3g} on average over {_pairs(c)} "
        f"({above} {higher}, {below} {lower}{interval}; Wilcoxon p{against} = {p:.2g}{correction})"
    )


def _interval(claim: Claim, low: float, high: float) -> str:
    """Of the difference as it is: "higher by 0.02" lies in +0.01 to +0.03 where that is worse, too."""
    low, high = (low, high) if claim.goal == "maximize" else (0.0 - high, 0.0 - low)
    return f"{low:+.3g} to {high:+.3g}"


def ways(goal: str) -> tuple[str, str]:
    """(the claim's direction, the other one)."""
    return ("higher", "lower") if goal == "maximize" else ("lower", "higher")


def text(
    sweep: str,
    claim: str | None,
    states: Mapping[str, int],
    total: int,
    objectives: Sequence[ObjectiveVerdict],
    claims: Sequence[ClaimVerdict],
    fresh: Sequence[int],
    causes: Sequence[str],
) -> str:
    """The whole verdict, some lines."""
    lines = [f"{sweep + ': ' if sweep else ''}{standing(states, total)}."]
    for o in objectives:
        lines += _objective(o, claim)
    if claims:
        lines.append(summary(claims) + basis(fresh))
        lines += [f"- {stated(c)}{c.sentence}" for c in claims]
    if causes:
        lines.append(f"{gradients(fresh)}: {' '.join(causes)}")
    return "\n".join(lines)


def standing(states: Mapping[str, int], total: int) -> str:
    """How many configurations of how many there are, and how they stand."""
    here = sum(states.values())
    words = {state_of(s): f"{count} {state_of(s)}{', not through' * (s == 'running')}" for s, count in states.items()}
    counts = ", ".join(text for _, text in sorted(words.items()))
    return f"{here}{f' of {total}' if total > here else ''} configurations ({counts or 'none'})"


def state_of(state: str) -> str:
    """A state in words: the records say "running" of what was handed out, also when nobody is at work any more."""
    return "handed out" if state == "running" else state


def summary(claims: Sequence[ClaimVerdict]) -> str:
    """How many claims got which answer."""
    answers = [c.answer for c in claims]
    counts = [f"{answers.count(a)} {a}" for a in ("confirmed", "not confirmed", "undecided") if a in answers]
    return f"{_count(len(claims), 'claim')}: {', '.join(counts)}."


def basis(fresh: Sequence[int]) -> str:
    """What the answers rest on, where that is not all there is."""
    return f" Judged on {_count(len(fresh), 'fresh seed')} alone, which no choice has seen." if fresh else ""


def gradients(fresh: Sequence[int]) -> str:
    """The heading of the causes, which are those of the seeds that the answers rest on."""
    return "What the gradients show" + (" on the fresh seeds" if fresh else "")


def stated(c: ClaimVerdict) -> str:
    """The claim's own words, and when they were said."""
    later = " (stated after the first results were there)" if c.stated_later else ""
    words = f'"{c.says}"' if c.says else c.name if later else ""
    return f"{words}{later}: " if words else ""


def _objective(o: ObjectiveVerdict, claim: str | None) -> list[str]:
    complete = [s for s in o.ranking if s.rank is not None]
    higher, _ = ways(o.goal)
    if not complete:
        return [f"{o.metric}: no configuration is complete, so there is nothing to compare."]
    lines = [f"{o.metric} ({higher} is better): the best is {_value(complete[0])}."]
    if claim is not None and o.claim is not None:
        if o.claim.rank is not None:
            lines.append(f"The claim is rank {o.claim.rank} of {len(complete)}: {_value(o.claim)}.")
        else:
            lines.append(f"The claim {o.claim.name} is {state_of(o.claim.state)}, so it has no rank.")
    again = [s for s in o.confirmed if s.rank is not None]
    if again:
        mine = next((s for s in again if s.name == f"{CONFIRM}{claim}"), None)
        rank = f" The claim is rank {mine.rank} of {len(again)} there: {_value(mine)}." if mine else ""
        lines.append(f"Trained again on fresh seeds, the best is {_value(again[0])}.{rank}")
    return lines


def _value(s: Summary) -> str:
    spread = f", standard deviation {s.deviation:.2g}" if s.deviation is not None else ""
    return f"{s.name} with {s.mean:.4g} (mean of {_count(len(s.seeds), 'seed')}{spread})"


def _pairs(c: Comparison) -> str:
    return _count(len(c.pairs), c.paired_over)


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
