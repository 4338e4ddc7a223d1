"""The commands that change what is there of a sweep: delete it, note something on it, tag it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, confirm

from sweeps.commands import Json, Name, Store, To, app, say, typed
from trainers.errors import FAILED, GradsweepError, RequestError

if TYPE_CHECKING:
    from tracking.types import Sweep

log = logging.getLogger("gradsweep")
TAG = re.compile(r"[\w.:-]{1,50}")
PATIENCE_SECONDS = 5.0  # for MLflow to take a note


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, Option("--yes", "-y", help="do not ask")] = False,
    to: To = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Delete a sweep: its records, its copies in MLflow and Optuna, its files.

    After that its name is free. A delete that was interrupted, or that MLflow kept waiting, may be repeated.
    """
    from sweeps.targets.target import target_at

    target = target_at(to, store)
    if not yes:
        if not sys.stdin.isatty():
            raise RequestError(f"delete {name}: nobody can be asked here whether to delete it: add --yes")
        known = target.status(name).recorded
        size = f" of {known['ended']} configurations" if known else ""
        if not confirm(f"Delete sweep {name!r}{size} with all its records and files, here and in MLflow?", err=True):
            print("Nothing was deleted.", file=sys.stderr)
            return FAILED
    deleted = target.delete(name)
    lines = [*(f"deleted {what}" for what in deleted.deleted), *(f"left {what}" for what in deleted.left)]
    if not deleted.gone:
        again = typed("delete", name, *(["--to", to] if to else []), store=store)
        lines.append(f"the sweep is still there; to finish, repeat the command: {again}")
    say(asdict(deleted), "\n".join(lines or ["there was nothing left of it"]), as_json)
    return 0 if deleted.gone else FAILED


@app.command()
def note(
    name: Name,
    text: Annotated[str | None, Argument(metavar="[TEXT]", help="the note; '' removes it")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Print the note on a sweep, or write one."""
    sweep = describe(name, store) if text is None else describe(name, store, remark=text.strip())
    say({"name": name, "note": sweep.remark}, sweep.remark or f"{name} has no note", as_json)


@app.command()
def tag(
    name: Name,
    tags: Annotated[list[str] | None, Argument(metavar="[TAG]...", help="letters, digits and . : _ -")] = None,
    remove: Annotated[bool, Option("--remove", help="remove these tags instead")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Print a sweep's tags, or add some."""
    if wrong := [text for text in tags or [] if not TAG.fullmatch(text)]:
        raise RequestError(f"a tag is 1 to 50 letters, digits and . : _ -, but got {wrong[0]!r}")
    sweep = describe(name, store, add=() if remove else tags or (), remove=tags or () if remove else ())
    say({"name": name, "tags": sweep.tags}, ", ".join(sweep.tags) or f"{name} has no tags", as_json)


def describe(
    name: str, folder: str | None, remark: str | None = None, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> Sweep:
    """The sweep after its note and tags were changed, in MLflow too; unchanged where nothing is given.

    Raises SearchError where there is no such sweep.
    """
    from sweeps.store_file import open_store
    from tracking.ledger import opened

    with opened(name, open_store(folder)) as (ledger, sweep):
        tags = tuple(sorted({*sweep.tags, *add} - set(remove)))
        changes: dict[str, Any] = {}
        if remark is not None and remark != sweep.remark:
            changes["remark"] = remark
        if tags != sweep.tags:
            changes["tags"] = tags
        if not changes:
            return sweep
        ledger.describe(sweep, **changes)
        changed = ledger.sweep(name)
    _tell_mlflow(name, folder)
    return changed


def _tell_mlflow(name: str, folder: str | None) -> None:
    """Send it, unless a driver is at work, which does."""
    from sweeps.commands.sync import sync_mirrors
    from sweeps.driver.status import look_at
    from sweeps.store_file import open_store

    if look_at(name, open_store(folder))["process"]:
        return
    try:
        _, synced = sync_mirrors(name, folder, patience=PATIENCE_SECONDS)
        problem = synced["problem"] if synced["waiting"] else ""
    except GradsweepError as error:
        problem = str(error)
    if problem:
        log.warning("it is not in MLflow yet (%s); to send it: %s", problem, typed("sync", name, store=folder))
