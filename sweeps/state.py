"""How a sweep stands, read from its store: it need not be running, and is not disturbed where it is."""

from __future__ import annotations

from collections import Counter
from typing import Any

from search_spaces.search import Search
from search_spaces.storage import has_driver
from sweeps.books import name_of
from sweeps.lock import holder
from sweeps.spec import parse
from tracking.spool import Spool
from tracking.store import Store


def look_at(name: str, store: Store) -> dict[str, Any]:
    """Counts, the best so far, whether a driver has it, what MLflow lacks. Raises SearchError for no such sweep.

    `state` is running (a driver has it; `process`, where it is on this machine), finished, or stopped (it can be
    resumed).
    """
    search = Search.open(name, store.optuna_url)
    try:
        counts, ended, spec = search.counts(), search.ended(), parse(search.attributes["spec"], name)
    finally:
        search.close()
    objective = spec.objective[0]
    complete = [(e.values[0], e) for e in ended if e.state == "complete" and e.values and e.confirms is None]
    choose = max if objective.goal == "maximize" else min
    best = choose(complete, key=lambda found: found[0], default=None)
    process = holder(store.lock_file(name))
    running = process is not None or has_driver(store.optuna_url, name)
    return {
        "name": name,
        "state": "running" if running else "finished" if counts.ended >= counts.total else "stopped",
        "process": process,
        "total": counts.total,
        "ended": counts.ended,
        "complete": counts.complete,
        "pruned": counts.pruned,
        "diverged": counts.diverged,
        "failed": counts.failed,
        "running": counts.running,
        "best": best
        and {
            "configuration": best[1].number,
            "name": name_of(best[1].arm, best[1].parameters),
            "metric": objective.metric,
            "value": best[0],
        },
        "failures": Counter(e.reason for e in ended if e.state == "failed"),
        "undelivered": _undelivered(name, store),
        "question": spec.question,
        "store": str(store.where),
    }


def _undelivered(name: str, store: Store) -> int:
    file = store.spool_file(name)
    if not file.exists():
        return 0
    spool = Spool.at(file)
    try:
        return spool.waiting()
    finally:
        spool.close()
