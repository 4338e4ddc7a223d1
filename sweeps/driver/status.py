"""How a sweep stands, read from its ledger: it need not be running, and is not disturbed where it is."""

from __future__ import annotations

from collections import Counter
from typing import Any

from search_spaces.search import Counts, counts, whole
from sweeps.driver.driver import row_of
from sweeps.spec.reading import SweepSpec, parse
from tracking.best import best
from tracking.ledger import opened
from tracking.locks import holder
from tracking.mirrors.follower import waiting
from tracking.store import Store
from tracking.types import Configuration

COUNTS = ("total", "ended", "complete", "pruned", "diverged", "failed", "running")


def stored_spec(name: str, store: Store) -> SweepSpec:
    """The spec of a sweep. Raises SearchError where there is no such sweep."""
    return parse(stored_text(name, store), name, begun=True)


def stored_text(name: str, store: Store) -> str:
    """The spec of a sweep as YAML. Raises SearchError where there is no such sweep."""
    with opened(name, store) as (_, sweep):
        return sweep.spec


def counts_of(spec: SweepSpec, configurations: list[Configuration]) -> Counts:
    """How far a sweep is."""
    return counts(spec.search_plan(), [row_of(c, {}) for c in configurations])


def look_at(name: str, store: Store) -> dict[str, Any]:
    """Counts, the best so far, whether a driver has it, what its mirrors lack. Raises SearchError for no such sweep.

    `best` is by fresh seeds as soon as something is complete on them, as in the verdict. `state` is running (a driver
    has it; `process`, where it is on this machine), finished, or stopped (it can be resumed).
    """
    with opened(name, store) as (ledger, sweep):
        configurations = ledger.configurations(sweep)
        undelivered = waiting(ledger, name)
    spec = parse(sweep.spec, name, begun=True)
    so_far = counts_of(spec, configurations)
    objective = spec.objectives[0]
    every = whole([row_of(c, {}) for c in configurations])
    values = {row.number: row.values[0] for row in every if row.state == "complete" and row.values}
    again = {row.number: row.confirms for row in every if row.confirms is not None}
    first = best(values, again, objective.direction)
    process = holder(store.ledger_url, name, store.lock_file(name))
    return {
        "name": name,
        "state": "running" if process else "finished" if so_far.ended >= so_far.total else "stopped",
        "process": process,
        **{word: getattr(so_far, word) for word in COUNTS},
        "best": None
        if first is None
        else {
            "configuration": again.get(first, first),
            "name": next(c.name for c in configurations if c.number == first),
            "metric": objective.name,
            "value": values[first],
        },
        "failures": Counter(c.reason for c in configurations if c.state == "failed"),
        "undelivered": undelivered,
        "question": spec.question,
        "store": str(store.where),
    }
