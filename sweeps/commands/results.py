"""The commands on what a sweep found: report and export."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from sweeps.commands import Json, Name, Store, app, say
from sweeps.commands.text import table, terminal_width
from trainers.errors import RequestError

if TYPE_CHECKING:
    import tracking.store
    from sweeps.spec.reading import SweepSpec
    from tracking.verdict.types import Verdict


@app.command()
def report(
    name: Name,
    store: Store = None,
    html: Annotated[Path | None, Option(metavar="FILE", help="write it as one interactive HTML page")] = None,
    figures: Annotated[Path | None, Option(metavar="DIR", help="write every figure into this folder, as SVG")] = None,
    as_json: Json = False,
) -> None:
    """Print the verdict of a finished or running sweep."""
    written: dict[str, Any] = {}
    lines = []
    if html is not None:
        written |= write_html(name, html, store)
        size = f"{len(written['figures'])} figures to {html} ({written['bytes'] // 1000} kB)"
        lines.append(f"wrote the verdict with {size}")
    if figures is not None:
        written |= write_figures(name, figures, store)
        lines.append(f"wrote {len(written['figures'])} figures to {figures}: {', '.join(written['figures'])}")
        lines += [f"{title} is not drawn: {why}" for title, why in written["left_out"].items()]
    if written:
        say(written, "\n".join(lines), as_json)
        return
    spec, _, verdict, known = _judged(name, store)
    told = spec.search.from_ if spec.search else None
    state, tags, note = known["state"], known["tags"], known["note"]
    word = "has failed" if state == "failed" else f"is {state}"
    lead = "" if state == "finished" else f"{name} {word}; these are the results so far.\n\n"
    lead += "".join(f"{key}: {text}\n\n" for key, text in (("Tags", ", ".join(tags)), ("Note", note)) if text)
    if told:
        lead += f"Before its first suggestion the sampler was told the results of {told}; "
        lead += "none of them is in what follows.\n\n"
    say(
        asdict(verdict) | {"state": state, "tags": tags, "note": note, "from": told},
        lead + verdict_text(verdict),
        as_json,
    )


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
    if file.suffix.lower() not in (".parquet", ".csv"):
        raise RequestError(f"{file}: a table is written as Parquet or CSV, so the name must end in .parquet or .csv")
    from sweeps.store_file import open_store
    from tracking.results import export as write
    from tracking.results import load, load_layers

    frame = (load_layers if layers else load)(name, open_store(store))
    try:
        write(frame, file)
    except OSError as error:
        raise RequestError(f"{file}: can't be written: {error.strerror or error}") from None
    written = {"file": str(file), "rows": len(frame), "columns": len(frame.columns)}
    say(written, f"wrote {len(frame)} rows of {len(frame.columns)} columns to {file}", as_json)


def verdict_text(verdict: Verdict) -> str:
    """A verdict in lines that fit the terminal, or 80 columns: the rankings, then its sections."""
    from tracking.verdict.sections import rankings, sections
    from tracking.verdict.tables import Section

    width, texts = terminal_width(), []
    for section in (Section("", (), rankings(verdict)), *sections(verdict)):
        paragraphs = [(section.title, ""), *((line, "  ") for line in section.lines)]
        folded = [
            textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
            for text, indent in paragraphs
        ]
        texts.append("\n".join(filter(None, folded)))
        texts += [table(content.columns, content.rows, content.title, width) for content in section.tables]
    return "\n\n".join(filter(None, texts))


def in_short(verdict: Verdict) -> str:
    """A verdict in one line, for whoever sees only the last that a driver has printed: what is best, and the claims."""
    from tracking.verdict.sections import sections

    first, *others = sections(verdict)
    return " ".join([*first.lines, *(section.title for section in others if section.claims)])


def _judged(name: str, folder: str | None) -> tuple[SweepSpec, tracking.store.Store, Verdict, dict[str, Any]]:
    """The spec, where it is, the verdict so far, and how the sweep stands."""
    from sweeps.driver.status import look_at, stored_spec
    from sweeps.driver.sweep import verdict_of
    from sweeps.store_file import open_store

    store = open_store(folder)
    spec = stored_spec(name, store)
    return spec, store, verdict_of(spec, store), look_at(name, store)


def write_html(name: str, file: Path, folder: str | None) -> dict[str, Any]:
    """Write the verdict, the figures and the tables of a sweep as one HTML file."""
    from sweeps.report_page import make_report
    from trainers.files import replaced

    # Checked before the figures are drawn.
    if not file.parent.is_dir():
        raise RequestError(f"{file}: can't be written: there is no folder {file.parent}")
    if file.is_dir():
        raise RequestError(f"{file}: can't be written: it is a folder")
    spec, store, verdict, known = _judged(name, folder)
    # The records say "running" of a driver that was killed, too.
    page, charts = make_report(spec, store, verdict, None if known["state"] == "finished" else known["state"])
    try:
        with replaced(file) as new:
            new.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{file}: can't be written: {error.strerror or error}") from None
    size = file.stat().st_size
    return {"file": str(file), "bytes": size, "figures": list(charts.charts), "left_out": dict(charts.left_out)}


def write_figures(name: str, folder: Path, store: str | None) -> dict[str, Any]:
    """Write every figure of a sweep into a folder as SVG, over those written before, but over no other file."""
    from sweeps.report_page import draw_figures
    from tracking.figures.style import MARK
    from trainers.files import replaced

    spec, place, _, _ = _judged(name, store)
    album = draw_figures(spec, place)
    files = {folder / f"{figure}.svg": picture.svg for figure, picture in album.pictures.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if file.exists() and MARK not in file.read_text(encoding="utf-8", errors="replace"):
                raise RequestError(f"{file} is there and was not drawn by gradsweep: move it, or choose another folder")
        for file, svg in files.items():
            with replaced(file) as new:
                new.write_text(svg, encoding="utf-8")
    except FileExistsError:
        raise RequestError(f"{folder}: can't be written into: it is a file, and must be a folder") from None
    except OSError as error:
        raise RequestError(f"{folder}: can't be written into: {error.strerror or error}") from None
    left_out = dict(album.left_out)
    return {"folder": str(folder), "figures": list(album.pictures), "left_out": left_out, "files": [*map(str, files)]}
