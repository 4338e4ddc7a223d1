"""A sweep at one moment, for those who look at it: how far it is, the best so far, and its configurations one by one.

The driver makes it from what it has in memory, `sweeps.driver.status` from the ledger: the same rows, the same answer.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import Counts, counts
from search_spaces.space import Value

SHOWN = 100  # configurations: as many as the highest terminal has lines
Courses = Mapping[int, Mapping[int, float]]  # configuration -> epoch -> the first objective


@dataclass(frozen=True)
class Standing:
    """One configuration: the last of its `epochs` that is recorded (-1 before the first), and the first objective.

    `value` is the objective after that epoch, a mean over the seeds; None where there is none or it is not finite.
    `course` has it by epoch, from the first recorded one on. `phase` is search | confirm; `state` is that of its row,
    or stopped.
    """

    number: int
    name: str
    phase: str
    state: str
    epoch: int
    epochs: int
    value: float | None
    course: tuple[float | None, ...]


@dataclass(frozen=True)
class Progress:
    """A sweep at one moment. `epochs` are those of configurations, so far and in all; records one per member and epoch.

    `best` is the best so far by the first objective, of which `objective` is the name; a running configuration counts
    from its first epoch on, one that was ended early does not. `configurations` are at most SHOWN: those that are
    running, the newest first, then the others, the one that ended last first.
    """

    counts: Counts
    epochs: int
    epochs_in_all: int
    records: int
    records_left: int
    objective: str
    best: Standing | None
    configurations: tuple[Standing, ...]

    @property
    def stopped(self) -> Progress:
        """The same where no driver has the sweep: what has not ended is not running."""

        def at_rest(standing: Standing) -> Standing:
            return replace(standing, state="stopped") if standing.state == "running" else standing

        configurations = tuple(map(at_rest, self.configurations))
        return replace(self, best=self.best and at_rest(self.best), configurations=configurations)


def progress_of(
    plan: SearchPlan,
    objective: str,
    seeds: tuple[int, int],
    rows: Sequence[Row],
    reached: Mapping[int, int],
    courses: Callable[[Sequence[int]], Courses],
) -> Progress:
    """How far a sweep is: all of its rows, the last recorded epoch of each, and what looks up the courses of some.

    `seeds` are how many a configuration has, and how many when it is confirmed.
    """
    now, running = counts(plan, rows), [row for row in rows if row.state == "running"]
    left = {row.number: _epochs(plan, row) - max(0, reached.get(row.number, -1)) for row in running}
    unasked = max(0, plan.searching - len(rows)), max(0, now.total - max(plan.searching, len(rows)))
    records = sum(seeds[row.confirms is not None] * (reached.get(row.number, -1) + 1) for row in rows)
    to_come = sum(seeds[row.confirms is not None] * left[row.number] for row in running)
    # What is pruned tells how long those will be trained that have not been asked for.
    typical = _typical(plan, rows, reached) if plan.pruner else plan.epochs + 1
    to_come += round(unasked[0] * seeds[0] * typical) + unasked[1] * seeds[1] * (plan.epochs + 1)

    newest = heapq.nlargest(SHOWN, rows, key=lambda row: (row.state == "running", row.order, row.number))
    looked_up = courses([row.number for row in {row.number: row for row in [*running, *newest]}.values()])
    epochs = sum(max(0, epoch) for epoch in reached.values())
    best = _best(plan, rows, looked_up)

    def standing(row: Row) -> Standing:
        course = tuple(_finite(value) for _, value in sorted(looked_up.get(row.number, {}).items()))
        last = reached.get(row.number, -1)
        return Standing(
            number=row.number,
            name=name_of(row.arm, row.parameters),
            phase="search" if row.confirms is None else "confirm",
            state=row.state,
            epoch=last,
            epochs=_epochs(plan, row),
            value=_finite(row.values[0]) if row.values else course[-1] if course else None,
            course=course,
        )

    return Progress(
        counts=now,
        epochs=epochs,
        epochs_in_all=epochs + sum(left.values()) + sum(unasked) * plan.epochs,
        records=records,
        records_left=to_come,
        objective=objective,
        best=standing(best) if best else None,
        configurations=tuple(map(standing, newest)),
    )


def name_of(arm: str, parameters: Mapping[str, Value]) -> str:
    """What a configuration is called: its arm's name, or what was searched, as `alpha=2 r=0.01`."""
    if arm:
        return arm
    return " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in parameters.items())


def _best(plan: SearchPlan, rows: Sequence[Row], courses: Courses) -> Row | None:
    """The best complete or running configuration: of those on fresh seeds, as soon as one of them is complete.

    That is what the verdict goes by: the best of many on the seeds that selected it is the best in part by luck.
    """
    confirmed = any(row.confirms is not None and row.state == "complete" for row in rows)
    values: list[tuple[float, Row]] = []
    for row in rows:
        if (row.confirms is not None) != confirmed:
            continue
        if row.state == "complete" and row.values:
            values.append((row.values[0], row))
        elif row.state == "running" and (course := courses.get(row.number)) and (last := max(course)) > 0:
            values.append((course[last], row))
    values = [(value, row) for value, row in values if math.isfinite(value)]
    choose = max if plan.goals[0] == "maximize" else min
    return choose(values, key=lambda pair: pair[0])[1] if values else None


def _typical(plan: SearchPlan, rows: Sequence[Row], reached: Mapping[int, int]) -> float:
    """How many epochs are recorded of a searched configuration, on average: as of those that have ended."""
    ended = [reached.get(row.number, -1) + 1 for row in rows if not row.arm and row.confirms is None and row.order >= 0]
    return sum(ended) / len(ended) if ended else plan.epochs + 1


def _epochs(plan: SearchPlan, row: Row) -> int:
    return int(row.parameters.get("epochs", plan.base.get("epochs") or plan.epochs))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
