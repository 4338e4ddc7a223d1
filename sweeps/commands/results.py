"""The commands on what a sweep found: report and export."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.commands.text import WIDE, table
from trainers.errors import RequestError

if TYPE_CHECKING:
    from sweeps.spec.reading import SweepSpec
    from tracking.store import Store
    from tracking.verdict.tables import Table
    from tracking.verdict.types import Verdict


def report(name: str, folder: str | None) -> tuple[dict[str, Any], str]:
    """The verdict of a sweep and whether it is running, finished or stopped, as a JSON document and as text."""
    _, _, verdict, state = _judged(name, folder)
    lead = "" if state == "finished" else f"{name} is {state}; these are the results so far.\n\n"
    return asdict(verdict) | {"state": state}, lead + verdict_text(verdict)


def verdict_text(verdict: Verdict) -> str:
    """A verdict for a terminal: the rankings, then its sections."""
    from tracking.verdict.sections import rankings, sections

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    parts = [_table(ranking) for ranking in rankings(verdict)]
    for section in sections(verdict):
        lines = [textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False) for line in section.lines]
        lines[:0] = [section.title] if section.title else []
        parts.append("\n".join([*lines, *(f"\n{_table(content)}" for content in section.tables)]))
    return "\n\n".join(parts)


def _table(content: Table) -> str:
    return table(content.columns, content.rows, content.title)


def _judged(name: str, folder: str | None) -> tuple[SweepSpec, Store, Verdict, str]:
    """The spec, where it is, the verdict so far, and whether it is running, finished or stopped."""
    from sweeps.driver.status import look_at, stored_spec
    from sweeps.driver.sweep import verdict_of
    from sweeps.store_file import open_store

    store = open_store(folder)
    spec = stored_spec(name, store)
    return spec, store, verdict_of(spec, store), look_at(name, store)["state"]


def html(name: str, file: Path, folder: str | None) -> dict[str, Any]:
    """Write the verdict, the figures and the tables of a sweep as one HTML file."""
    from sweeps.report_page import make_report
    from trainers.files import replaced

    # Checked before the figures are drawn.
    if not file.parent.is_dir():
        raise RequestError(f"{file}: can't be written: there is no folder {file.parent}")
    if file.is_dir():
        raise RequestError(f"{file}: can't be written: it is a folder")
    spec, store, verdict, state = _judged(name, folder)
    # The records say "running" of a driver that was killed, too.
    page, album = make_report(spec, store, verdict, {"running": "running", "stopped": "killed"}.get(state))
    try:
        with replaced(file) as new:
            new.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{file}: can't be written: {error.strerror or error}") from None
    size = file.stat().st_size
    return {"file": str(file), "bytes": size, "figures": list(album.pictures), "left_out": dict(album.left_out)}


def html_text(html: dict[str, Any]) -> str:
    """A line."""
    return f"wrote the verdict with {len(html['figures'])} figures to {html['file']} ({html['bytes'] // 1000} kB)"


def export(name: str, file: Path, folder: str | None, *, layers: bool = False) -> dict[str, Any]:
    """Write every record to a file; with `layers` one row per member, epoch and layer."""
    if file.suffix.lower() not in (".parquet", ".csv"):
        raise RequestError(f"{file}: a table is written as Parquet or CSV, so the name must end in .parquet or .csv")
    from sweeps.store_file import open_store
    from tracking.results import export as write
    from tracking.results import load, load_layers

    frame = (load_layers if layers else load)(name, open_store(folder))
    try:
        write(frame, file)
    except OSError as error:
        raise RequestError(f"{file}: can't be written: {error.strerror or error}") from None
    return {"file": str(file), "rows": len(frame), "columns": len(frame.columns)}


def export_text(export: dict[str, Any]) -> str:
    """A line."""
    return f"wrote {export['rows']} rows of {export['columns']} columns to {export['file']}"
