"""The verdict in plain words. Numbers first, no more said than they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tracking.paired import LEVEL, seeds_needed

if TYPE_CHECKING:
    from tracking.verdict import Comparison, ObjectiveVerdict, Summary


def comparison(found: Comparison, claim: Summary, other: Summary) -> str:
    """One comparison: question, answer, numbers, and what so few seeds can say."""
    of_best = found.question == "as good"
    question = "as good as the best" if of_best else f"better than {other.name}"
    head = f"Is {claim.name} {question}? {found.answer.capitalize()}:"
    broken = [s for s in (claim, other) if s.state != "complete"]
    if broken:
        return f"{head} {' and '.join(f'{s.name} is {s.state}' for s in broken)}."
    if found.gain is None:
        return f"{head} {claim.name} and {other.name} have no seed in common."
    if of_best and found.answer == "confirmed":
        best = "no complete configuration has a better mean on these seeds"
        return f"{head} {best}; against the next, {other.name}, it is {_numbers(found)}"
    said = [head, (f"against {other.name} it is " if of_best else "") + _numbers(found)]
    if found.answer == "undecided" and found.least_p is not None and found.least_p > LEVEL:
        said.append(
            f"With {_seeds(len(found.seeds))} the test's p can't be below {found.least_p:.2g}: it takes "
            f"{seeds_needed()} seeds or more to decide this."
        )
    elif found.answer == "undecided" and of_best:
        said.append("That no difference is shown does not show that there is none.")
    return " ".join(said)


def text(
    sweep: str,
    claim: str | None,
    states: Mapping[str, int],
    objectives: Sequence[ObjectiveVerdict],
    causes: Sequence[str],
) -> str:
    """The whole verdict, some lines."""
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    lines = [f"{sweep + ': ' if sweep else ''}{sum(states.values())} configurations ({counts or 'none'})."]
    for o in objectives:
        lines += _objective(o, claim)
    if causes:
        lines.append("What the gradients show: " + " ".join(causes))
    return "\n".join(lines)


def _objective(o: ObjectiveVerdict, claim: str | None) -> list[str]:
    complete = [s for s in o.ranking if s.rank is not None]
    way = "higher is better" if o.goal == "maximize" else "lower is better"
    if not complete:
        return [f"{o.metric}: no configuration is complete, so there is nothing to compare."]
    lines = [f"{o.metric} ({way}): the best is {_value(complete[0])}."]
    if claim is None or o.claim is None:
        return lines
    if o.claim.rank is not None:
        lines.append(f"The claim is rank {o.claim.rank} of {len(complete)}: {_value(o.claim)}.")
    else:
        lines.append(f"The claim {o.claim.name} is {o.claim.state}, so it has no rank.")
    found = (o.to_plain, *o.to_arms, o.to_best)
    return lines + [c.sentence for c in found if c is not None]


def _value(s: Summary) -> str:
    spread = f", standard deviation {s.deviation:.2g}" if s.deviation is not None else ""
    return f"{s.name} with {s.mean:.4g} (mean of {_seeds(len(s.seeds))}{spread})"


def _numbers(c: Comparison) -> str:
    if not any(c.gains):
        return f"the same to the last digit on {_seeds(len(c.seeds))}."
    better, worse = sum(g > 0 for g in c.gains), sum(g < 0 for g in c.gains)
    word = "better" if (c.gain or 0.0) > 0 else "worse"
    interval = "" if c.low is None else f", 95% interval {c.low:+.3g} to {c.high:+.3g}"
    p = "" if c.p is None else f", Wilcoxon p = {c.p:.2g}"
    return (
        f"{word} by {abs(c.gain or 0.0):.3g} on average over {_seeds(len(c.seeds))} "
        f"({better} better, {worse} worse{interval}{p})."
    )


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"
