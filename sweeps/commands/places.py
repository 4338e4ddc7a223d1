"""The commands on sweeps wherever they run: submit, list, status, logs, stop, resume; `--to` says where."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from sweeps.commands import Json, Name, OtherName, Resume, Settings, Spec, Store, To, app, say, typed
from sweeps.commands.text import facts, table
from sweeps.targets.target import SweepStatus, target_at

ENDS = ("complete", "pruned", "diverged", "failed")


@app.command()
def submit(
    spec: Spec,
    to: To = None,
    name: OtherName = None,
    settings: Settings = None,
    store: Store = None,
    resume: Resume = False,
    pool: Annotated[Path | None, Option(metavar="FILE", help="the settings of a Kubernetes pool, as YAML")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="only print what would be sent to Kubernetes")] = False,
    as_json: Json = False,
) -> None:
    """Run a sweep in the background, here or on a cluster."""
    from sweeps import library

    submitted = library.submit(
        spec, to, store=store, resume=resume, set=settings or [], name=name, pool=pool, dry_run=dry_run
    )
    _say_submitted(submitted, as_json)


@app.command("list")
def list_(
    to: To = None,
    store: Store = None,
    tag: Annotated[str | None, Option(metavar="TAG", help="only those with this tag")] = None,
    as_json: Json = False,
) -> None:
    """List the sweeps in the store, or on a cluster."""
    listed = [document(status, to) for status in target_at(to, store).list()]
    listed = [s for s in listed if tag is None or tag in (s["tags"] or ())]
    columns = {"name": "sweep", "state": "state"}
    if any(s["total"] is not None for s in listed):
        columns |= {"ended": "ended#", "total": "of#", **{end: f"{end}#" for end in ENDS}}
    else:  # what only the store knows can't be read from here
        columns |= {"started": "started", "finished": "ended"}
    rows = [["" if s[key] is None else s[key] for key in columns] for s in listed]
    say(listed, table([*columns.values()], rows) if listed else _none_yet(to, store), as_json)


def _none_yet(to: str | None, store: str | None) -> str:
    from sweeps.store_file import open_store

    words = ["submit", "quickstart", "--to", to] if to else ["run", "quickstart"]
    first = typed(*words, store=store)
    if to:
        return f"no sweeps at {to} yet: {first}"
    here = open_store(store)
    return f"no sweeps in {here.where}{' yet' if here.folder.is_dir() else ', which does not exist yet'}: {first}"


@app.command()
def status(name: Name, to: To = None, store: Store = None, as_json: Json = False) -> None:
    """Show how far a sweep is, and whether it is running."""
    _say_status(target_at(to, store).status(name), to, store, as_json)


@app.command()
def logs(
    name: Name,
    follow: Annotated[bool, Option("-f", "--follow", help="keep printing until the sweep ends")] = False,
    to: To = None,
    store: Store = None,
) -> None:
    """Print the output of a submitted sweep."""
    for line in target_at(to, store).logs(name, follow):
        print(line)
        if follow:
            sys.stdout.flush()


@app.command()
def stop(name: Name, to: To = None, store: Store = None, as_json: Json = False) -> None:
    """Stop a running sweep cleanly; it can be resumed."""
    _say_status(target_at(to, store).stop(name), to, store, as_json)


@app.command()
def resume(name: Name, to: To = None, store: Store = None, as_json: Json = False) -> None:
    """Continue a stopped sweep in the background.

    It keeps the spec it was started with.
    """
    _say_submitted(asdict(target_at(to, store).resume(name)), as_json)


def _say_submitted(submitted: dict[str, Any], as_json: bool) -> None:
    """The name, and a line for each command that makes sense now."""
    lines = {"sweep": submitted["name"], "where": submitted["to"] or "here, in the background", **submitted["look"]}
    say(submitted, submitted["manifest"].rstrip() or facts(lines.items()), as_json)


def document(status: SweepStatus, to: str | None) -> dict[str, Any]:
    """How far a sweep is, as JSON; what only its store knows is null where that can't be read from here."""
    from sweeps.driver.status import COUNTS

    keys = ("process", *COUNTS, "best", "failures", "undelivered", "question", "tags", "note", "store")
    return {
        "name": status.name,
        "state": status.state,
        "to": to,
        "detail": status.detail,
        "started": status.started,
        "finished": status.ended,
        "said": status.last_line,
        **{key: (status.recorded or {}).get(key) for key in keys},
    }


def _say_status(status: SweepStatus, to: str | None, store: str | None, as_json: bool) -> None:
    """One line per fact."""
    known = document(status, to)
    state = status.state + (f" (process {known['process']})" if known["process"] else "")
    lines: list[tuple[str, Any]] = [("sweep", status.name)]
    lines.append(("state", f"{state}: {status.detail}" if status.detail else state))
    lines += [(word, time) for word, time in (("started", status.started), ("ended", status.ended)) if time]
    if known["total"] is not None:
        best, waiting = known["best"], known["undelivered"]
        counts = ", ".join(f"{known[end]} {end}" for end in ENDS if known[end]) or "none yet"
        lines += [
            ("configurations", f"{known['ended']} of {known['total']} ended: {counts}"),
            ("running", known["running"]),
            ("best so far", f"{best['value']:.4g} ({best['name']}), {best['metric']}" if best else "none yet"),
            (
                "not in MLflow",
                f"{waiting} configurations: {typed('sync', status.name, store=store)}" if waiting else "nothing",
            ),
            *(("failed", f"{count}: {reason}") for reason, count in known["failures"].items()),
        ]
    lines += [(key, text) for key, text in (("tags", ", ".join(known["tags"] or ())), ("note", known["note"])) if text]
    if status.last_line:
        lines.append(("last line", status.last_line))
    say(known, facts(lines), as_json)
