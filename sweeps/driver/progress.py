"""A sweep at one moment, for those who look at it: how far it is, the best so far, and its configurations one by one.

The driver makes it from what it has in memory, `sweeps.driver.status` from the ledger: the same rows, the same answer.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import Counts, counts, whole
from search_spaces.space import Value
from sweeps.spec.model import SweepSpec
from tracking.best import best
from tracking.types import Configuration

SHOWN = 100  # configurations: as many as the highest terminal has lines
Courses = Mapping[int, Mapping[int, float]]  # configuration -> epoch -> the first objective


@dataclass(frozen=True)
class Standing:
    """One configuration: the last of its `epochs` that is recorded (-1 before the first), and the first objective.

    `value` is the objective after that epoch, a mean over the seeds; None where there is none or it is not finite.
    `course` has it by epoch, from the first recorded one on. `confirms` is the number of the one that it trains again
    on fresh seeds; `state` is a configuration's, or stopped.
    """

    number: int
    name: str
    confirms: int | None
    state: str
    epoch: int
    epochs: int
    value: float | None
    course: tuple[float | None, ...]

    @property
    def phase(self) -> str:
        """search | confirm."""
        return "search" if self.confirms is None else "confirm"


@dataclass(frozen=True)
class Progress:
    """A sweep at one moment. `epochs` are those of configurations, so far and in all; records one per member and epoch.

    `best` is the best so far by the first objective, of which `objective` is the name; a running configuration counts
    from its first epoch on, one that was ended early does not. `configurations` are at most SHOWN: those that are
    running, the newest first, then the others, the one that ended last first; there are so many `besides`. What extends
    a configuration is one of them, too.
    """

    counts: Counts
    epochs: int
    epochs_in_all: int
    records: int
    records_left: int
    objective: str
    best: Standing | None
    configurations: tuple[Standing, ...]
    besides: int = 0

    @property
    def stopped(self) -> Progress:
        """The same where no driver has the sweep: what has not ended is not running."""

        def at_rest(standing: Standing) -> Standing:
            return replace(standing, state="stopped") if standing.state == "running" else standing

        configurations = tuple(map(at_rest, self.configurations))
        return replace(self, best=self.best and at_rest(self.best), configurations=configurations)


def progress_of(
    spec: SweepSpec,
    plan: SearchPlan,
    configurations: Sequence[Configuration],
    rows: Sequence[Row],
    reached: Mapping[int, int],
    courses: Callable[[Sequence[int]], Courses],
) -> Progress:
    """How far a sweep is: all of its configurations, also as rows, the last recorded epoch of each, and what looks up
    the courses of some."""
    now, running = counts(plan, rows), [c for c in configurations if c.state == "running"]
    unasked = max(0, now.total - now.ended - now.running)
    to_confirm = min(unasked, max(0, plan.confirming - sum(c.confirms is not None for c in configurations)))
    left = {c.number: _epochs(c) - max(reached.get(c.number, -1), c.after) for c in running}
    # Those of copies are trained by others. What is pruned tells for how long the next will be trained.
    to_come = sum(len(c.seeds) * left[c.number] for c in running if c.same_as is None)
    typical = _typical(configurations, reached) if plan.pruner else None
    to_come += round((unasked - to_confirm) * len(spec.seeds) * (typical or plan.epochs + 1))
    to_come += to_confirm * len(spec.fresh_seeds) * (plan.epochs + 1)
    epochs = sum(max(0, reached.get(c.number, -1)) - max(0, c.after) for c in configurations if c.number in reached)

    newest = heapq.nlargest(SHOWN, configurations, key=lambda c: (c.state == "running", c.order, c.number))
    looked_up = courses([*{c.number: c for c in [*running, *newest]}])
    first = _best(plan, configurations, rows, looked_up)

    def standing(c: Configuration, value: float | None = None) -> Standing:
        course = tuple(_finite(value) for _, value in sorted(looked_up.get(c.number, {}).items()))
        last = course[-1] if course else None
        return Standing(
            number=c.number,
            name=c.name,
            confirms=c.confirms,
            state=c.state,
            epoch=reached.get(c.number, -1),
            epochs=_epochs(c),
            value=value if value is not None else _finite(c.values[0]) if c.values else last,
            course=course,
        )

    return Progress(
        counts=now,
        epochs=epochs,
        epochs_in_all=epochs + sum(min(n, _epochs(configurations[i])) for i, n in left.items()) + unasked * plan.epochs,
        records=sum(
            len(c.seeds) * (reached.get(c.number, c.after) - c.after) for c in configurations if c.same_as is None
        ),
        records_left=to_come,
        objective=spec.objectives[0].name,
        best=standing(configurations[first[1]], first[0]) if first else None,
        configurations=tuple(map(standing, newest)),
        besides=len(configurations) - len(newest),
    )


def name_of(arm: str, parameters: Mapping[str, Value]) -> str:
    """What a configuration is called: its arm's name, or what was searched, as `alpha=2 r=0.01`."""
    if arm:
        return arm
    return " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in parameters.items())


def _best(
    plan: SearchPlan, configurations: Sequence[Configuration], rows: Sequence[Row], courses: Courses
) -> tuple[float, int] | None:
    """The best complete or running configuration, its value and number: by the rule of the verdict.

    One that is being extended counts with what it has been worth.
    """
    every = whole(rows)
    again = {row.number for row in every if row.confirms is not None}
    confirmed = any(row.number in again and row.state == "complete" for row in every)
    values: dict[int, float] = {}
    for row in every:
        c = configurations[row.number]
        if row.state in ("complete", "running") and (known := row.values or c.values):
            values[row.number] = known[0]
        elif c.state == "running" and (confirmed or row.number not in again):
            course = courses.get(row.number) or {0: math.nan}
            if (last := max(course)) > 0:
                values[row.number] = course[last]
    values = {number: value for number, value in values.items() if math.isfinite(value)}
    first = best(values, again, plan.goals[0])
    return None if first is None else (values[first], first)


def _typical(configurations: Sequence[Configuration], reached: Mapping[int, int]) -> float | None:
    """How many epochs are recorded of a searched configuration that has ended, on average; None before one has."""
    searched = [c for c in configurations if not c.arm and c.confirms is None and c.extends is None]
    ended = [reached.get(c.number, -1) + 1 for c in searched if c.state != "running"]
    return sum(ended) / len(ended) if ended else None


def _epochs(c: Configuration) -> int:
    return int(c.member["epochs"])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
