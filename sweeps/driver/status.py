"""How a sweep stands, read from its store: it need not be running, and is not disturbed where it is."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

from search_spaces.search import Search, studies
from search_spaces.storage import has_driver
from sweeps.driver.lock import holder
from sweeps.driver.packing import name_of
from sweeps.spec.reading import parse
from tracking.spool import Spool
from tracking.store import Store
from trainers.errors import SearchError

FEW = 5  # so many sweeps are named where one is looked for that is not there


def opened(name: str, store: Store) -> Search:
    """The study of a sweep, to read it. Raises SearchError, which says where it looked and what is there."""
    try:
        return Search.open(name, store.optuna_url)
    except SearchError:
        there = studies(store.optuna_url)
        if name in there:
            raise
    if len(there) > FEW:
        hint = f"gradsweep list --store {shlex.quote(str(store.where))} shows the {len(there)} that there are"
    elif there:
        hint = f"there {'is' if len(there) == 1 else 'are'} {', '.join(there)}"
    else:
        hint = "there is none yet" if store.folder.is_dir() else "there is no such folder"
    raise SearchError(f"there is no sweep named {name!r} in {store.where}: {hint}")


def look_at(name: str, store: Store) -> dict[str, Any]:
    """Counts, the best so far, whether a driver has it, what MLflow lacks. Raises SearchError for no such sweep.

    `state` is running (a driver has it; `process`, where it is on this machine), finished, or stopped (it can be
    resumed).
    """
    search = opened(name, store)
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
