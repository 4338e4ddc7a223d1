"""A sweep's search as functions of its plan and its rows: what to train next, how it ended, how far the sweep is.

`rows` are always all configurations of the sweep, by number. Nothing else is remembered: the same rows get the same
answer in any process, so a driver that was killed continues from the rows in its ledger as if nothing had happened.

    >>> rows = ask(plan, [], 8, pack="p0")
    >>> rows[0] = ended(rows[0], "complete", [0.93], goals=1, order=0)
    >>> counts(plan, rows).complete
    1
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from search_spaces.plan import ENDS, History, Row, SearchPlan
from search_spaces.pruners import needs
from search_spaces.suggest import suggestions

HISTORY = 500  # a pruner compares with this many of the latest: its cost must not grow with the sweep


@dataclass(frozen=True)
class Counts:
    """How far a sweep is: how many configurations it will have, and how many are in each state."""

    total: int
    complete: int
    pruned: int
    diverged: int
    failed: int
    running: int

    @property
    def ended(self) -> int:
        """How many have ended, in whatever state."""
        return self.complete + self.pruned + self.diverged + self.failed


def counts(plan: SearchPlan, rows: Sequence[Row]) -> Counts:
    """How far the sweep is; until the search has ended, the total is the most that there can be."""
    states, again = [row.state for row in rows], chosen(plan, rows)
    total = plan.total if again is None else plan.searching + len(again)
    return Counts(total, *(states.count(state) for state in (*ENDS, "running")))


def chosen(plan: SearchPlan, rows: Sequence[Row]) -> list[int] | None:
    """What is trained again on fresh seeds: all arms, then the best complete configurations; None before the end.

    The best of many by the first objective is the best in part by luck, on the very seeds that selected it. A
    configuration equal to an earlier one (an arm that was suggested, a choice made twice) is left out: it would only
    be trained twice. The numbers follow from rows that can no longer change, and are stored nowhere.
    """
    arms, searched = range(len(plan.arms)), rows[len(plan.arms) : plan.searching]
    if len(rows) < plan.searching or any(row.state == "running" for row in rows[: plan.searching]):
        return None
    if not plan.confirm:
        return []
    sign = -1.0 if plan.goals[0] == "maximize" else 1.0
    results = [(sign * row.values[0], row.number) for row in searched if row.state == "complete" and row.values]
    again, known = [*arms], {plan.member(rows[number].parameters) for number in arms}
    for _, number in sorted(results):
        if len(again) >= plan.confirming:
            break
        member = plan.member(rows[number].parameters)
        if member not in known:
            again.append(number)
            known.add(member)
    return again


def ask(plan: SearchPlan, rows: Sequence[Row], count: int, pack: str) -> list[Row]:
    """The next configurations, at most `count`: arms, then the sampler's, then those that confirm.

    Confirmations start once all others have ended; until then, and once the budget is used up, the list is empty.
    """
    if len(rows) < plan.searching:
        new = [*suggestions(plan, rows, min(count, plan.searching - len(rows)))]
    else:
        again = (chosen(plan, rows) or [])[len(rows) - plan.searching :][:count]
        new = [Row(len(rows) + i, rows[n].arm, rows[n].parameters, confirms=n) for i, n in enumerate(again)]
    known = sum(row.state != "running" for row in rows)
    return [replace(row, pack=pack, known=known) for row in new]


def ended(
    row: Row,
    state: str,
    values: Sequence[float] | None,
    *,
    goals: int,
    order: int,
    reason: str = "",
    intermediate: Mapping[int, float] = {},
    pruner_attributes: Mapping[str, float] = {},
) -> Row:
    """The row at its end; a row that has ended stays as it is.

    A complete row has one value for each of the sweep's `goals`; where one of them is not finite, the row has failed.
    `intermediate` maps epochs to the first objective; `order` is how many rows had ended before. Raises ValueError for
    a wrong state or number of values.
    """
    if state not in ENDS:
        raise ValueError(f"state must be one of {', '.join(ENDS)}, but got {state!r}")
    if state == "complete" and len(values or ()) != goals:
        raise ValueError(f"a complete configuration has {goals} value(s), but got {values!r}")
    if row.state != "running":
        return row
    if values is not None and not all(map(math.isfinite, values)):
        values = None
        if state == "complete":
            state, reason = "failed", reason or "the objective is not a finite number"
    return replace(
        row,
        state=state,
        values=None if values is None else tuple(map(float, values)),
        reason=reason,
        order=order,
        intermediate={epoch: float(value) for epoch, value in intermediate.items()},
        pruner_attributes=dict(pruner_attributes),
    )


def history(plan: SearchPlan, rows: Sequence[Row], pack: str = "", sweep: str = "") -> History:
    """What the pruner needs to know of the others; empty without a pruner. `sweep` is the sweep's name.

    With a pack: what was known when that pack was asked for, whatever has ended since, and the curves of its own
    configurations that have ended, so that the rest is judged as if it had not been interrupted.
    """
    need, arms = needs(plan.pruner), len(plan.arms)
    if need == "nothing":
        return History(sweep, arms=arms)
    own = [row for row in rows if pack and row.pack == pack]
    known = min((row.known for row in own), default=len(rows))
    compared = ("complete",) if need == "curves" else ("complete", "pruned")
    others = sorted((row for row in rows if row.state in compared and row.order < known), key=lambda row: row.order)
    past = [_seen(row, row.intermediate if need == "curves" else row.last) for row in others[-HISTORY:]]
    # Curves are compared with those of complete configurations of other packs alone.
    competed = [_seen(row, judged(row)) for row in own if row.state != "running" and need == "rungs"]
    return History(sweep, tuple(past), arms, tuple(competed))


def judged(row: Row) -> dict[int, float]:
    """The epochs of a configuration that has ended after which a pruner judged it: all but that of a divergence."""
    epochs = sorted(row.intermediate)
    return {epoch: row.intermediate[epoch] for epoch in (epochs[:-1] if row.state == "diverged" else epochs)}


def _seen(row: Row, intermediate: Mapping[int, float]) -> Row:
    """What a pruner needs of a row, without what only samplers need."""
    attributes = row.pruner_attributes
    return Row(row.number, state=row.state, values=row.values, intermediate=intermediate, pruner_attributes=attributes)
