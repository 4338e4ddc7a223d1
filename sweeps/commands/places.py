"""The commands on sweeps wherever they run: submit, list, status, logs, stop, resume; `--to` says where."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeps.commands.text import table
from sweeps.driver.status import COUNTS
from sweeps.targets.target import SweepStatus, target_at

# What the store knows of a sweep, see sweeps.driver.status.look_at; null where the store can't be read from here.
BOOKS = ("process", *COUNTS, "best", "failures", "undelivered", "question", "store")
ENDS = ("complete", "pruned", "diverged", "failed")


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
) -> dict[str, Any]:
    """Start a sweep elsewhere, or here in the background: its name, and where to look."""
    from sweeps.driver.sweep import with_absolute_paths
    from sweeps.spec.reading import read

    spec = with_absolute_paths(read(source, settings, name))
    return asdict(target_at(to, store, pool).submit(spec.name, spec.to_yaml(), resume, dry_run))


def submitted_text(submitted: dict[str, Any]) -> str:
    """The name, and a line for each command that makes sense now."""
    if submitted["manifest"]:
        return str(submitted["manifest"]).rstrip()
    lines = [("sweep", submitted["name"]), ("where", submitted["to"] or "here, in the background")]
    return _facts([*lines, *submitted["look"].items()])


def sweeps(to: str | None, store: str | None) -> list[dict[str, Any]]:
    """The sweeps of a place, oldest first."""
    return [_document(standing, to) for standing in target_at(to, store).list()]


def sweeps_text(sweeps: list[dict[str, Any]], to: str | None, store: str | None) -> str:
    """A table; what only the store knows is left out where it could not be read."""
    if not sweeps:
        return _none_yet(to, store)
    known = any(s["total"] is not None for s in sweeps)
    columns = ["sweep", "state", *(["ended#", "of#", *(f"{e}#" for e in ENDS)] if known else ["started", "ended"])]
    keys = ("ended", "total", *ENDS) if known else ("started", "finished")
    return table(columns, [[s["name"], s["state"], *("" if s[k] is None else s[k] for k in keys)] for s in sweeps])


def _none_yet(to: str | None, store: str | None) -> str:
    from sweeps.store_file import open_store

    given = ["--store", store] if store else []
    if to:
        words = ["gradsweep", "submit", "quickstart", "--to", to, *given]
        return f"no sweeps at {to} yet: {shlex.join(words)}"
    here = open_store(store)
    there = " yet" if here.folder.is_dir() else ", which does not exist yet"
    return f"no sweeps in {here.where}{there}: {shlex.join(['gradsweep', 'run', 'quickstart', *given])}"


def status(name: str, to: str | None, store: str | None) -> dict[str, Any]:
    """How far one sweep is."""
    return _document(target_at(to, store).status(name), to)


def status_text(status: dict[str, Any]) -> str:
    """One line per fact."""
    process = f" (process {status['process']})" if status["process"] else ""
    detail = f": {status['detail']}" if status["detail"] else ""
    lines = [("sweep", status["name"]), ("state", status["state"] + process + detail)]
    lines += [(word, status[key]) for word, key in (("started", "started"), ("ended", "finished")) if status[key]]
    if status["total"] is not None:
        lines += _progress(status)
    if status["said"]:
        lines.append(("last line", status["said"]))
    return _facts(lines)


def _progress(status: dict[str, Any]) -> list[tuple[str, Any]]:
    best, waiting = status["best"], status["undelivered"]
    counts = ", ".join(f"{status[word]} {word}" for word in ENDS if status[word]) or "none yet"
    lines = [
        ("configurations", f"{status['ended']} of {status['total']} ended: {counts}"),
        ("running", status["running"]),
        ("best so far", f"{best['value']:.4g} ({best['name']}), {best['metric']}" if best else "none yet"),
        ("not in MLflow", f"{waiting} configurations: gradsweep sync {status['name']}" if waiting else "nothing"),
    ]
    return lines + [("failed", f"{count}: {reason}") for reason, count in status["failures"].items()]


def logs(name: str, to: str | None, store: str | None, *, follow: bool) -> None:
    """Print the driver's output, as it comes."""
    for line in target_at(to, store).logs(name, follow):
        print(line)
        if follow:
            sys.stdout.flush()


def stop(name: str, to: str | None, store: str | None) -> dict[str, Any]:
    """Stop a sweep's driver; how the sweep stands then."""
    return _document(target_at(to, store).stop(name), to)


def resume(name: str, to: str | None, store: str | None) -> dict[str, Any]:
    """Continue a sweep."""
    return asdict(target_at(to, store).resume(name))


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


def _facts(lines: list[tuple[str, Any]]) -> str:
    return "\n".join(f"{name:<15} {value}" for name, value in lines)
