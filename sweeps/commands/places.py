"""The commands on sweeps wherever they run: submit, list, status, logs, stop, resume; `--to` says where."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from sweeps.commands import Json, Name, OtherName, Resume, Settings, Spec, Store, To, app, say, typed
from sweeps.commands.text import facts, lasting, table
from sweeps.targets.target import SweepStatus, Target, target_at
from trainers.errors import FailedError, GradsweepError, is_wrong_request

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
    listed = [document(status, to, each=False) for status in target_at(to, store).list()]
    listed = [sweep for sweep in listed if tag is None or tag in (sweep["tags"] or ())]
    rows = [[text(sweep) for text in LISTED.values()] for sweep in listed]
    # A question is what it has room for; a column of which nothing is known from here is left out.
    columns = {name: [*column] for name, column in zip(LISTED, zip(*rows, strict=True), strict=False) if any(column)}
    say(listed, table([*columns], zip(*columns.values(), strict=True)) if listed else _none_yet(to, store), as_json)


LISTED: dict[str, Callable[[dict[str, Any]], str]] = {
    "sweep": lambda sweep: str(sweep["name"]),
    "state": lambda sweep: str(sweep["state"]),
    "started": lambda sweep: _local_time(sweep["started"]),
    "duration": lambda sweep: "" if sweep["seconds"] is None else lasting(sweep["seconds"]),
    "best#": lambda sweep: f"{sweep['best']['value']:.4g}" if sweep["best"] else "",
    "ended#": lambda sweep: "" if sweep["total"] is None else f"{sweep['ended']}/{sweep['total']}",
    "question…": lambda sweep: " ".join((sweep["question"] or "").split()),
}


def _none_yet(to: str | None, store: str | None) -> str:
    from sweeps.store_file import open_store

    words = ["submit", "quickstart", "--to", to] if to else ["run", "quickstart"]
    first = typed(*words, store=store)
    if to:
        return f"no sweeps at {to} yet: {first}"
    here = open_store(store)
    return f"no sweeps in {here.where}{' yet' if here.folder.is_dir() else ', which does not exist yet'}: {first}"


@app.command()
def status(
    name: Name,
    watch: Annotated[bool, Option("-w", "--watch", help="keep showing it until it ends")] = False,
    to: To = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show how far a sweep is, and its newest configurations.

    It may run anywhere; Ctrl-C ends the watching, not the sweep.
    """
    target = target_at(to, store)
    if watch:
        from rich.console import Console

        from sweeps import display

        seen = display.watch(name, lambda: target.status(name), Console(stderr=as_json, soft_wrap=True))
    else:
        seen = target.status(name)
    _say_status(seen, to, store, as_json)


@app.command()
def logs(
    name: Name,
    follow: Annotated[bool, Option("-f", "--follow", help="keep printing until the sweep ends")] = False,
    to: To = None,
    store: Store = None,
) -> None:
    """Print the output of a submitted sweep.

    With -f the exit status is 1 if the sweep has failed, 0 if it has finished, or was stopped or deleted meanwhile.
    """
    target = target_at(to, store)
    for line in target.logs(name, follow):
        print(line)
        if follow:
            sys.stdout.flush()
    if follow:
        _say_end(name, target)


def _say_end(name: str, target: Target) -> None:
    """How a sweep that was followed has ended, where it has not finished; raises FailedError where it has failed."""
    try:
        ended = target.status(name)
    except GradsweepError as error:
        if not is_wrong_request(error):
            raise
        print(f"sweep {name!r} was stopped or deleted meanwhile", file=sys.stderr)
        return
    hint = f"; to continue: {ended.next}" if ended.next else ""
    if ended.state == "stopped":
        print(f"sweep {name!r} was stopped{hint}", file=sys.stderr)
    elif why := _failure(ended):
        raise FailedError(f"sweep {name!r} has failed: {why}{hint}")


def _failure(ended: SweepStatus) -> str:
    """Why the driver's exit status was 1; "" where it was not."""
    if ended.state == "failed":
        return ended.detail or ended.last_line or "its driver says no reason"
    if ended.state != "finished" or ended.recorded is None:
        return ""
    reasons = "; ".join(f"{count} x {reason}" for reason, count in ended.recorded["failures"].items())
    return reasons or ("" if ended.recorded["complete"] else "no configuration is complete")


@app.command()
def stop(name: Name, to: To = None, store: Store = None, as_json: Json = False) -> None:
    """Stop a running sweep cleanly; it can be resumed."""
    _say_status(target_at(to, store).stop(name), to, store, as_json, each=False)


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


def document(status: SweepStatus, to: str | None, *, each: bool = True) -> dict[str, Any]:
    """How far a sweep is, as JSON, with `each` of its newest configurations.

    What only its store knows is null where that can't be read from here.
    """
    from sweeps.driver.status import COUNTS

    keys = ("process", *COUNTS, "best", "failures", "undelivered", "question", "tags", "note", "store")
    recorded = status.recorded or {}
    configurations = [asdict(standing) for standing in recorded["progress"].configurations] if recorded else None
    started, finished = (
        told or recorded.get(key, "") for told, key in ((status.started, "started"), (status.ended, "finished"))
    )
    return {
        "name": status.name,
        "state": status.state,
        "to": to,
        "detail": status.detail,
        "started": started,
        "finished": finished,
        "seconds": recorded["seconds"] if recorded else _between(started, finished),
        "said": status.last_line,
        "next": status.next or None,
        **{key: recorded.get(key) for key in keys},
        **({"configurations": configurations} if each else {}),
    }


def _say_status(status: SweepStatus, to: str | None, store: str | None, as_json: bool, *, each: bool = True) -> None:
    """One line per fact, and a table of `each` of the newest configurations."""
    known, lines = document(status, to, each=each), list[tuple[str, Any]]()
    state = status.state + (f" (process {known['process']})" if known["process"] else "")
    lines += [("sweep", status.name), ("state", f"{state}: {status.detail}" if status.detail else state)]
    lines += [(word, _local_time(known[key])) for word, key in TIMES if known[key]]
    if known["seconds"] is not None:
        lines.append(("duration", lasting(known["seconds"])))
    configurations = ""
    if status.recorded:
        from sweeps import display

        progress, waiting = status.recorded["progress"], known["undelivered"]
        sync = "" if known["process"] else f": {typed('sync', status.name, store=store)}"
        counts = ", ".join(f"{known[end]} {end}" for end in ENDS if known[end]) or "none yet"
        lines += [
            ("configurations", f"{known['ended']} of {known['total']} ended: {counts}"),
            ("running" if known["process"] else "unfinished", known["running"]),
            ("best so far", f"{display.best(progress)}, {progress.objective}" if progress.best else "none yet"),
            ("not in MLflow", f"{waiting} configurations{sync}" if waiting else "nothing"),
            *(("failed", f"{count}: {reason}") for reason, count in known["failures"].items()),
        ]
        rows = display.table_rows(progress.configurations[: display.ROWS], sys.stdout.encoding or "")
        more = display.others(progress, display.ROWS)
        if rows and each:
            configurations = "\n\n" + "\n".join(filter(None, [table(display.COLUMNS, rows), more]))
    lines += [(key, text) for key, text in (("tags", ", ".join(known["tags"] or ())), ("note", known["note"])) if text]
    lines += [(key, text) for key, text in (("last line", status.last_line), ("next", status.next)) if text]
    say(known, facts(lines) + configurations, as_json)


TIMES = (("started", "started"), ("ended", "finished"))


def _between(started: str, finished: str) -> float | None:
    """How many seconds it took, or has taken until now; None where it has not started."""
    if not started:
        return None
    end = datetime.fromisoformat(finished) if finished else datetime.now(UTC)
    return (end - datetime.fromisoformat(started)).total_seconds()


def _local_time(time: str) -> str:
    """RFC 3339 as this machine's time, to the minute."""
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}" if time else ""
