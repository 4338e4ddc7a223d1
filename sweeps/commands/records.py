"""The commands on what a sweep has recorded: report, export, audit, sync."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from sweeps.commands import Json, Name, Store, app, say
from trainers.errors import FAILED


@app.command()
def report(
    name: Name,
    store: Store = None,
    html: Annotated[Path | None, Option(metavar="FILE", help="write it with figures, as one HTML page")] = None,
    as_json: Json = False,
) -> None:
    """Print the verdict of a finished or running sweep."""
    from sweeps.commands import results

    if html is None:
        say(*results.report(name, store), as_json)
    else:
        written = results.html(name, html, store)
        say(written, results.html_text(written), as_json)


@app.command()
def export(
    name: Name,
    file: Annotated[Path, Argument(metavar="FILE", help="ends in .parquet or .csv")],
    layers: Annotated[bool, Option("--layers", help="one row per network, epoch and layer")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write every record to one tidy table.

    One row per network and epoch.
    """
    from sweeps.commands import results

    written = results.export(name, file, store, layers=layers)
    say(written, results.export_text(written), as_json)


@app.command()
def audit(name: Name, store: Store = None, as_json: Json = False) -> int:
    """Check that a sweep's records are complete and consistent.

    Its ledger, its mirrors in MLflow and Optuna, and its artifacts are held against each other.
    """
    from sweeps.commands.audit import audit, audit_text

    audited = audit(name, store)
    say(audited, audit_text(audited), as_json)
    return 0 if audited["sound"] else FAILED


@app.command()
def sync(
    name: Name,
    rebuild: Annotated[bool, Option("--rebuild", help="delete the mirrors and make them again")] = False,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Bring a sweep's mirrors up to date with its ledger.

    The mirrors are its runs in MLflow and its studies in Optuna's database.
    """
    from sweeps.commands.sync import sync, sync_text

    status, synced = sync(name, store, rebuild=rebuild)
    say(synced, sync_text(synced), as_json)
    return status
