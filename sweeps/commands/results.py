"""The commands on what a sweep found: report and export."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.commands.text import table
from trainers.errors import RequestError

if TYPE_CHECKING:
    from sweeps.spec.reading import SweepSpec
    from tracking.store import Store
    from tracking.verdict.tables import Section, Table
    from tracking.verdict.types import Verdict


def report(name: str, folder: str | None) -> tuple[dict[str, Any], str]:
    """The verdict of a sweep and whether it is running, finished or stopped, as a JSON document and as text."""
    from sweeps.driver.status import look_at

    _, store, verdict = _judged(name, folder)
    state = look_at(name, store)["state"]
    lead = "" if state == "finished" else f"{name} is {state}; these are the results so far.\n\n"
    return asdict(verdict) | {"state": state}, lead + verdict_text(verdict)


def verdict_text(verdict: Verdict) -> str:
    """A verdict for a terminal: the rankings, then its sections."""
    from tracking.verdict.sections import rankings, sections

    return "\n\n".join([*map(_table, rankings(verdict)), *map(_section, sections(verdict))])


def _section(section: Section) -> str:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    lines = [
        textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False) if width else line
        for line in section.lines
    ]
    title = [section.title] if section.title else []
    return "\n".join([*title, *lines, *(f"\n{_table(content)}" for content in section.tables)])


def _table(content: Table) -> str:
    marks = {"number": "#", "words": "~"}
    heads = [column.name + marks.get(column.kind, "") for column in content.columns]
    return table(heads, content.rows, content.title)


def _judged(name: str, folder: str | None) -> tuple[SweepSpec, Store, Verdict]:
    from sweeps.driver.status import stored_spec
    from sweeps.driver.sweep import verdict_of
    from sweeps.store_file import open_store

    store = open_store(folder)
    spec = stored_spec(name, store)
    return spec, store, verdict_of(spec, store)


def html(name: str, file: Path, folder: str | None) -> dict[str, Any]:
    """Write the verdict, the figures and the tables of a sweep as one HTML file."""
    from sweeps.driver.status import look_at
    from sweeps.report_page import make_report
    from tracking.files import replaced

    # Checked before the figures are drawn.
    if not file.parent.is_dir():
        raise RequestError(f"{file}: can't be written: there is no folder {file.parent}")
    if file.is_dir():
        raise RequestError(f"{file}: can't be written: it is a folder")
    spec, store, verdict = _judged(name, folder)
    # The records say "running" of a driver that was killed, too.
    status = {"running": "running", "stopped": "killed"}.get(look_at(name, store)["state"])
    made = make_report(spec, store, verdict, status)
    try:
        with replaced(file) as new:
            new.write_text(made.page, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{file}: can't be written: {error.strerror or error}") from None
    return {
        "file": str(file),
        "bytes": file.stat().st_size,
        "figures": [picture.name for picture in made.album.pictures],
        "left_out": {missing.title: missing.why for missing in made.album.left_out},
    }


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
