"""How a sweep stands, read from its ledger: it need not be running, and is not disturbed where it is."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Any

from search_spaces.search import Counts, counts
from sweeps.driver.driver import row_of
from sweeps.driver.progress import progress_of
from sweeps.spec.reading import SweepSpec, parse
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

    `best` is by fresh seeds as soon as something is complete on them, as in the verdict.
    `state` is running (a driver has it; `process`, where it is on this machine), finished, failed (its driver did;
    `problem` says why, and is "" otherwise), or stopped, also where its driver was killed; both can be resumed.
    `progress` is what its driver shows. Times are RFC 3339 in UTC, of a sweep that does not run the last that is known
    of it; `seconds` are those between them, or until now.
    """
    with opened(name, store) as (ledger, sweep):
        # Asked first: a driver that ends while this reads has not left the sweep unfinished.
        process = holder(store.ledger_url, name, store.lock_file(name))
        configurations = ledger.configurations(sweep)
        undelivered = waiting(ledger, name)
        spec = parse(sweep.spec, name, begun=True)
        so_far = progress_of(
            spec,
            spec.search_plan(),
            configurations,
            [row_of(c, {}) for c in configurations],
            {c.number: c.epoch for c in configurations if c.epoch >= 0},
            partial(ledger.objectives, sweep),
        )
        # A driver that was killed has noted no end.
        end = None if process else (sweep.status != "running" and sweep.ended) or ledger.last_recorded(sweep)
    so_far = so_far if process else so_far.stopped
    first, total = so_far.best, so_far.counts.total
    state = "running" if process else "finished" if so_far.counts.ended >= total else "stopped"
    if state == "stopped" and sweep.status == "failed":
        state = "failed"
    return {
        "name": name,
        "state": state,
        "problem": sweep.note.partition("\n")[0] if state == "failed" else "",
        "process": process,
        "started": _time(sweep.begun),
        "finished": _time(end) if end else "",
        "seconds": ((end or time.time_ns() // 1_000_000) - sweep.begun) / 1000,
        **{word: getattr(so_far.counts, word) for word in COUNTS},
        "best": None
        if first is None
        else {
            "configuration": first.number if first.confirms is None else first.confirms,
            "name": first.name,
            "phase": first.phase,
            "state": first.state,
            "epoch": first.epoch,
            "metric": so_far.objective,
            "value": first.value,
        },
        "failures": Counter(c.reason for c in configurations if c.state == "failed"),
        "undelivered": undelivered,
        "question": spec.question,
        "tags": list(sweep.tags),
        "note": sweep.remark,
        "store": str(store.where),
        "progress": so_far,
    }


def _time(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
