"""The commands on what a sweep has recorded: report and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from sweeps.commands import Json, Name, Store, app, say


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
