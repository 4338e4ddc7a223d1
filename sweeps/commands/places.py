"""The commands on sweeps wherever they run: submit, list, status, logs, stop, resume; `--to` says where."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeps.commands.text import facts, table
from sweeps.driver.status import COUNTS
from sweeps.targets.target import Submission, Submitted, SweepStatus, target_at

# What the store knows of a sweep, see sweeps.driver.status.look_at; null where the store can't be read from here.
BOOKS = ("process", *COUNTS, "best", "failures", "undelivered", "question", "store")
ENDS = ("complete", "pruned", "diverged", "failed")

Answer = tuple[dict[str, Any], str]


def submit(
    source: Any,
    settings: Sequence[str],
    name: str | None,
    to: str | None,
    store: str | None,
    pool: Path | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
) -> Answer:
    """Start a sweep elsewhere, or here in the background: its name, and where to look."""
    from sweeps.driver.sweep import with_absolute_paths
    from sweeps.spec.reading import read

    spec = with_absolute_paths(read(source, settings, name))
    return _submitted(target_at(to, store, pool).submit(Submission(spec.name, spec.to_yaml(), resume, dry_run)))


def resume(name: str, to: str | None, store: str | None) -> Answer:
    """Continue a sweep."""
    return _submitted(target_at(to, store).resume(name))


def _submitted(submitted: Submitted) -> Answer:
    """The name, and a line for each command that makes sense now."""
    lines = {"sweep": submitted.name, "where": submitted.to or "here, in the background", **submitted.look}
    return asdict(submitted), submitted.manifest.rstrip() or facts(lines.items())


def sweeps(to: str | None, store: str | None) -> tuple[list[dict[str, Any]], str]:
    """The sweeps of a place, oldest first; the table leaves out what only the store knows where it can't be read."""
    listed = [_document(status, to) for status in target_at(to, store).list()]
    if not listed:
        return [], _none_yet(to, store)
    columns = {"name": "sweep", "state": "state"}
    if any(s["total"] is not None for s in listed):
        columns |= {"ended": "ended#", "total": "of#", **{end: f"{end}#" for end in ENDS}}
    else:
        columns |= {"started": "started", "finished": "ended"}
    return listed, table([*columns.values()], [["" if s[k] is None else s[k] for k in columns] for s in listed])


def _none_yet(to: str | None, store: str | None) -> str:
    from sweeps.store_file import open_store

    given = ["--store", store] if store else []
    if to:
        words = ["gradsweep", "submit", "quickstart", "--to", to, *given]
        return f"no sweeps at {to} yet: {shlex.join(words)}"
    here = open_store(store)
    there = " yet" if here.folder.is_dir() else ", which does not exist yet"
    return f"no sweeps in {here.where}{there}: {shlex.join(['gradsweep', 'run', 'quickstart', *given])}"


def status(name: str, to: str | None, store: str | None) -> Answer:
    """How far one sweep is."""
    return _answer(target_at(to, store).status(name), to)


def stop(name: str, to: str | None, store: str | None) -> Answer:
    """Stop a sweep's driver; how the sweep stands then."""
    return _answer(target_at(to, store).stop(name), to)


def _answer(status: SweepStatus, to: str | None) -> Answer:
    document = _document(status, to)
    return document, facts(_lines(document))


def _document(status: SweepStatus, to: str | None) -> dict[str, Any]:
    recorded = status.recorded or {}
    return {
        "name": status.name,
        "state": status.state,
        "to": to,
        "detail": status.detail,
        "started": status.started,
        "finished": status.ended,
        "said": status.last_line,
        **{key: recorded.get(key) for key in BOOKS},
    }


def _lines(status: dict[str, Any]) -> list[tuple[str, Any]]:
    process = f" (process {status['process']})" if status["process"] else ""
    detail = f": {status['detail']}" if status["detail"] else ""
    lines = [("sweep", status["name"]), ("state", status["state"] + process + detail)]
    lines += [(word, status[key]) for word, key in (("started", "started"), ("ended", "finished")) if status[key]]
    if status["total"] is not None:
        best, waiting = status["best"], status["undelivered"]
        counts = ", ".join(f"{status[end]} {end}" for end in ENDS if status[end]) or "none yet"
        lines += [
            ("configurations", f"{status['ended']} of {status['total']} ended: {counts}"),
            ("running", status["running"]),
            ("best so far", f"{best['value']:.4g} ({best['name']}), {best['metric']}" if best else "none yet"),
            ("not in MLflow", f"{waiting} configurations: gradsweep sync {status['name']}" if waiting else "nothing"),
            *(("failed", f"{count}: {reason}") for reason, count in status["failures"].items()),
        ]
    return [*lines, ("last line", status["said"])] if status["said"] else lines


def logs(name: str, to: str | None, store: str | None, *, follow: bool) -> None:
    """Print the driver's output, as it comes."""
    for line in target_at(to, store).logs(name, follow):
        print(line)
        if follow:
            sys.stdout.flush()
