"""The verdict as the description of a sweep's run in MLflow: who browses the UI reads the answer first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracking.verdict import words as wording

if TYPE_CHECKING:
    from tracking.verdict.judge import ClaimVerdict
    from tracking.verdict.verdict import ObjectiveVerdict

BEST = 5


def markdown(
    objectives: Sequence[ObjectiveVerdict], claims: Sequence[ClaimVerdict], fresh: Sequence[int], causes: Sequence[str]
) -> str:
    """Answers, then numbers, then the likely causes, then the best configurations."""
    parts = [f"**{wording.summary(claims)}**{wording.basis(fresh)}", _claims(claims)] if claims else []
    parts += [_best(o) for o in objectives if any(s.rank for s in o.ranking)]
    if causes:
        parts.append(f"{wording.gradients(fresh)}:\n\n" + "\n".join(f"- {cause}" for cause in causes))
    return "\n\n".join(parts)


def _claims(claims: Sequence[ClaimVerdict]) -> str:
    rows = [
        [
            f"**{c.answer}**",
            f"{_cell(wording.stated(c))}{_cell(c.question)}",
            "" if c.comparison is None else _number(c.comparison.gain),
            ""
            if c.comparison is None or c.comparison.low is None
            else f"{_number(c.comparison.low)} to {_number(c.comparison.high)}",
            "" if c.p_corrected is None else f"{c.p_corrected:.2g}",
        ]
        for c in claims
    ]
    return _table(["verdict", "claim", "gain", "95% interval", "p, corrected"], rows)


def _best(o: ObjectiveVerdict) -> str:
    others = [s for place, s in enumerate(o.ranking) if place < BEST or s.arm]
    shown = [*o.confirmed, *others]
    rows = [
        [_cell(s.name), "" if s.mean is None else f"{s.mean:.4g}", _number(s.deviation, ""), str(len(s.seeds)), s.state]
        for s in shown
    ]
    return f"{o.metric} ({wording.ways(o.goal)[0]} is better):\n\n" + _table(
        ["configuration", "mean", "deviation", "seeds", "state"], rows
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None, sign: str = "+") -> str:
    return "" if value is None else format(value, f"{sign}.3g")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split(" "))
