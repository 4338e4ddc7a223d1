"""A sweep's search as functions of its plan and its rows: what to train next, how it ended, how far the sweep is.

`rows` are always all configurations of the sweep, by number. Nothing else is remembered: the same rows get the same
answer in any process, so a driver that was killed continues from the rows in its ledger as if nothing had happened.

A suggestion depends on its place in the search and on the results of a fixed number of earlier places (`known`), never
on what else happens to have ended. So it is the same on any number of cores, and in a sweep that is extended later.

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
from search_spaces.samplers import sees
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
    every = whole(rows)
    states, again = [row.state for row in every], chosen(plan, rows)
    searched = [row for row in every if row.confirms is None]
    if again is None:
        total = plan.total
    else:
        total = len(searched) + len({*again, *(row.confirms for row in every if row.confirms is not None)})
    return Counts(total, *(states.count(state) for state in (*ENDS, "running")))


def whole(rows: Sequence[Row]) -> list[Row]:
    """The configurations as they are with all that extends them, which is no row of its own here.

    One that is being extended is running; then its values are means over all seeds, of the latest row of each.
    """
    more: dict[int, list[Row]] = {}
    for row in rows:
        if row.extends is not None:
            more.setdefault(row.extends, []).append(row)
    every = (row for row in rows if row.extends is None)
    return [_with(row, more[row.number]) if row.number in more else row for row in every]


def _with(row: Row, more: Sequence[Row]) -> Row:
    states = [part.state for part in more]
    if state := next((s for s in ("running", "failed", "diverged") if s in states), ""):
        return replace(row, state=state, values=None)
    latest = {seed: part.values or () for part in (row, *more) for seed in part.seeds}
    columns = zip(*latest.values(), strict=True)
    return replace(row, values=tuple(math.fsum(column) / len(latest) for column in columns), seeds=tuple(latest))


def chosen(plan: SearchPlan, rows: Sequence[Row]) -> list[int] | None:
    """What is trained again on fresh seeds: all arms, then the best complete configurations; None before the end.

    The best of many by the first objective is the best in part by luck, on the very seeds that selected it. A
    configuration equal to an earlier one (an arm that was suggested, a choice made twice) is left out: it would only
    be trained twice. The numbers follow from rows that can no longer change, and are stored nowhere.
    """
    searched = _searched(rows)
    if _lacking(plan, searched) or any(row.state == "running" for row in searched):
        return None
    if not plan.confirm:
        return []
    sign = -1.0 if plan.goals[0] == "maximize" else 1.0
    results = [
        (sign * row.values[0], row) for row in searched if not row.arm and row.state == "complete" and row.values
    ]
    arms = [row for row in searched if row.arm]
    again, known = [row.number for row in arms], {plan.member(row.parameters) for row in arms}
    for _, row in sorted(results, key=lambda result: (result[0], result[1].number)):
        if len(again) >= plan.confirming:
            break
        member = plan.member(row.parameters)
        if member not in known:
            again.append(row.number)
            known.add(member)
    return again


def ask(plan: SearchPlan, rows: Sequence[Row], count: int, pack: str) -> list[Row]:
    """The next configurations, at most `count`: arms, then the sampler's, then those that confirm.

    The list is empty while the next suggestion needs results that are still to come, until all have ended that are
    to be confirmed, and once the budget, or a finite space, is used up.
    """
    searched = _searched(rows)
    if lacking := _lacking(plan, searched):
        place, known = len(searched), 0
        count = min(count, lacking)
        if windowed(plan):
            block = place // plan.block
            known = max(0, block + 1 - plan.ahead) * plan.block
            count = min(count, (block + 1) * plan.block - place)
        if any(row.state == "running" for row in searched[:known]):
            return []
        shown = [*searched[:known], *(replace(row, state="running", values=None) for row in searched[known:])]
        new = list(suggestions(plan, shown, count))
    else:
        confirmed = {row.confirms for row in rows}
        again = [n for n in chosen(plan, rows) or () if n not in confirmed][:count]
        known, new = 0, [Row(-1, rows[n].arm, rows[n].parameters, confirms=n) for n in again]
    return [replace(row, number=number, pack=pack, known=known) for number, row in enumerate(new, len(rows))]


def search_has_ended(plan: SearchPlan, rows: Sequence[Row]) -> bool:
    """Whether nothing is left to be suggested."""
    return not _lacking(plan, _searched(rows))


def windowed(plan: SearchPlan) -> bool:
    """Whether configurations wait for the results of earlier ones: for the sampler, or to be pruned by them."""
    return bool(plan.configurations) and (sees(plan.sampler) != "nothing" or needs(plan.pruner) != "nothing")


def _searched(rows: Sequence[Row]) -> list[Row]:
    """The arms and what was suggested, in order, each with what extends it."""
    return [row for row in whole(rows) if row.confirms is None]


def _lacking(plan: SearchPlan, searched: Sequence[Row]) -> int:
    """How many configurations are still to be suggested, at most; none once a finite space is exhausted."""
    arms = len(plan.arms.keys() - {row.arm for row in searched})
    suggested = sum(not row.arm for row in searched)
    if not arms and plan.points and plan.points <= plan.members(row.parameters for row in searched):
        return 0
    return arms + max(0, plan.configurations - suggested)


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

    With a pack: the results that its suggestions knew, whatever has ended since, and the curves of its own
    configurations that have ended, so that the rest is judged as if it had not been interrupted.
    """
    need, searched = needs(plan.pruner), _searched(rows)
    arms = tuple(row.number for row in searched if row.arm)
    if need == "nothing":
        return History(sweep, arms=arms)
    own = [row for row in searched if pack and row.pack == pack]
    known = min((row.known for row in own), default=len(searched))
    compared = ("complete",) if need == "curves" else ("complete", "pruned")
    others = [row for row in searched[:known] if row.state in compared]
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
