"""The commands on what a sweep found: report and export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.commands.text import table
from trainers.errors import RequestError

if TYPE_CHECKING:
    from sweeps.spec.reading import SweepSpec
    from tracking.store import Store
    from tracking.verdict.verdict import Verdict

BEST = 10  # so many configurations are shown besides the arms


def report(name: str, folder: str | None) -> dict[str, Any]:
    """The verdict of a sweep, and whether it is running, finished or stopped, as `status` has it."""
    from sweeps.driver.status import look_at

    _, store, verdict = _judged(name, folder)
    return asdict(verdict) | {"state": look_at(name, store)["state"]}


def _judged(name: str, folder: str | None) -> tuple[SweepSpec, Store, Verdict]:
    from sweeps.driver.status import stored_spec
    from sweeps.driver.sweep import verdict_of
    from sweeps.store_file import open_store
    from trainers.errors import ResultsError

    store = open_store(folder)
    spec = stored_spec(name, store)
    try:
        return spec, store, verdict_of(spec, store)
    except ResultsError as error:
        raise RequestError(f"{error} (gradsweep status {name} says how far it is)") from None


def report_text(report: dict[str, Any]) -> str:
    """The best configurations and the arms of each objective, and what was confirmed, then the verdict in words."""
    tables = [] if report["state"] == "finished" else [f"{report['sweep']} is {report['state']}: so far"]
    for objective in report["objectives"]:
        shown = [s for s in objective["ranking"] if s["arm"] or (s["rank"] or BEST + 1) <= BEST]
        title = f"{objective['metric']}, {objective['goal']}"
        if objective["confirmed"]:
            tables.append(_ranking(f"{title}: on the search's own seeds", shown))
            tables.append(_ranking(f"{title}: on fresh seeds, which the claims are judged on", objective["confirmed"]))
        else:
            tables.append(_ranking(title, shown))
    return "\n\n".join([*tables, report["text"]])


def _ranking(title: str, summaries: list[dict[str, Any]]) -> str:
    from tracking.verdict.words import state_of

    return table(
        ["rank#", "configuration~", "state", "epoch#", "seeds#", "mean#", "deviation#", "q25#", "q75#"],
        [
            [_known(s["rank"]), s["name"], state_of(s["state"]), _known(s["epoch"]), len(s["seeds"])]
            + [_known(s[key]) for key in ("mean", "deviation", "q25", "q75")]
            for s in summaries
        ],
        title,
    )


def html(name: str, file: Path, folder: str | None) -> dict[str, Any]:
    """Write the verdict, the figures and the tables of a sweep as one HTML file."""
    from sweeps.driver.status import look_at
    from sweeps.report_page import make_report
    from tracking.files import replaced

    # Known before the figures are drawn.
    if not file.parent.is_dir():
        raise RequestError(f"{file}: can't be written: there is no folder {file.parent}")
    if file.is_dir():
        raise RequestError(f"{file}: can't be written: it is a folder")
    spec, store, verdict = _judged(name, folder)
    # What is recorded says "running" of a driver that was killed, too.
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
    return f"{html['file']}: the verdict with {len(html['figures'])} figures, {html['bytes'] // 1000} kB"


def _known(value: object) -> object:
    return "" if value is None else value


def export(name: str, file: Path, folder: str | None, *, layers: bool = False) -> dict[str, Any]:
    """Write every record to a file; with `layers` one row per member, epoch and layer."""
    if file.suffix.lower() not in (".parquet", ".csv"):
        raise RequestError(f"{file}: a table is written as Parquet or CSV, so its name must end in .parquet or .csv")
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
    return f"{export['rows']} rows of {export['columns']} columns in {export['file']}"
