"""A sweep's report as one HTML file that asks nothing of anybody: no request; charts, their library and style within.

    >>> text = page(verdict, draw(data), tables, conditions(frame, sweep))

The verdict comes first, then what it rests on. Whatever a user has written is escaped by jinja2, and what of it is in a
chart is data. The page's own Content-Security-Policy forbids the browser to load anything, and to run any script but
those of this folder, by their hashes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from tracking.charts.chart import Chart
from tracking.charts.charts import Charts
from tracking.figures.data import FigureData, text_of
from tracking.figures.style import NotDrawn
from tracking.tidy import MEMBER
from tracking.types import Sweep
from tracking.verdict.sections import rankings, sections
from tracking.verdict.tables import PERCENT, SHARE, SPREAD, Table, number
from tracking.verdict.types import Verdict

_HERE = Path(__file__).parent
_LIBRARY = _HERE / "vendor" / "plotly" / "plotly-cartesian.min.js"
_SCRIPTS = (_HERE / "vendor" / "tablesort" / "tablesort.min.js", _HERE / "page.js")
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; style-src 'unsafe-inline'"
_STATUS = {"killed": "stopped"}  # the ledger's word -> the reader's
_CODE = re.compile(r"`([^`]+)`")
# Heading -> metric, at the start or the end, how it is shown.
MEASURED = {
    "train accuracy": ("train.accuracy", "end", PERCENT),
    "validation accuracy": ("validation.accuracy", "end", PERCENT),
    "test accuracy": ("test.accuracy", "end", PERCENT),
    "rms of the loss's gradient, start": ("gradient.data.rms", "start", SPREAD),
    "vanished, start": ("gradient.data.vanished", "start", SHARE),
    "rms of the loss's gradient, end": ("gradient.data.rms", "end", SPREAD),
    "vanished, end": ("gradient.data.vanished", "end", SHARE),
}
MOST = 6  # so many values of a field are named, of more the first and the last
_COMPARED = ("alpha", "r")  # the rest are the conditions


def page(
    verdict: Verdict,
    charts: Charts,
    tables: Sequence[Table],
    conditions: Table,
    *,
    question: str = "",
    spec: str = "",
    status: str = "",
    version: str = "",
) -> str:
    """The whole file as text.

    `tables` are results below the figures and the rankings; `spec` is YAML; `status` is that of the ledger's sweep.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"code": _with_code, "data": _data, "json": _json}
    library, *scripts = (path.read_text(encoding="utf-8") for path in (_LIBRARY, *_SCRIPTS))
    return environment.get_template("page.html").render(
        verdict=verdict,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        lost=[f"{amount} {state}" for state in ("diverged", "failed") if (amount := verdict.states.get(state))],
        sections=sections(verdict),
        charts=charts,
        tables=[*rankings(verdict), *tables],
        conditions=conditions,
        question=question,
        spec=spec,
        status=_STATUS.get(status, status),
        policy=f"{_POLICY}; script-src {' '.join(map(_hash, (library, *scripts)))}",
        library=base64.b64encode(gzip.compress(library.encode(), mtime=0)).decode("ascii"),
        scripts=[Markup(script) for script in scripts],
        version=version,
        now=f"{datetime.now(UTC):%Y-%m-%d at %H:%M} UTC",
    )


def measured(data: FigureData) -> list[Table]:
    """Accuracies at the end and gradients at both ends of what the figures show, over the seeds.

    Sizes are medians, shares means: one seed may be the whole mean of a size.
    """
    try:
        chosen = data.lines
    except NotDrawn:
        return []
    shown = {f"{head}#": column for head, column in MEASURED.items() if column[0] in data.frame}
    if "end" not in data.ends:  # what is said of the end would be said of the start again
        shown = {head: column for head, column in shown.items() if "end" not in head}

    def text(values: pd.Series[float], shape: str) -> str:
        return number((values.median if shape == SPREAD else values.mean)(skipna=False), shape)

    rows = tuple(
        (line.label, *(text(getattr(line, at)[m], shape) for m, at, shape in shown.values())) for line in chosen
    )
    seeds = "search's own seeds" if len(data.own) < len(data.frame) else "seeds"
    title = f"Over the {seeds} medians of rms, means of the others (vanished: coordinates with |g| < 1e-7)"
    return [Table(title, ("configuration", *shown), rows)]


def conditions(frame: pd.DataFrame, sweep: Sweep) -> Table:
    """What a sweep's numbers hold for, one condition per row: data, seeds, epochs, engine, versions, commit.

    What its users have noted on it comes first.
    """
    noted = (("note", sweep.remark), ("tags", ", ".join(sweep.tags)))
    rows = [(what, text) for what, text in noted if text]
    if len(frame):
        seeds = sorted(frame["seed"].unique().tolist())
        rows.append(("seeds", f"{len(seeds)}: {_several(seeds)}"))
        last = int(frame["epoch"].max())
        rows.append(("epochs recorded", f"0 to {last}" if last else "0, the initial values alone"))
        for name in (m for m in MEMBER if m in frame and m not in _COMPARED):
            values = [value for value in frame[name].unique().tolist() if value != ""]  # where nothing is measured
            rows += [(name.replace("_", " "), _several(values))] if values else []
    rows += [(f"sha256 of {data}", digest) for data, digest in sweep.digests.items()]
    times = {"started": sweep.begun, "ended": sweep.ended}
    rows += [(what, f"{datetime.fromtimestamp(t / 1000, UTC):%Y-%m-%d %H:%M} UTC") for what, t in times.items() if t]
    rows += [("from", line)] if (line := sweep.settings.get("from")) else []
    rows += [("git commit", sweep.commit)] if sweep.commit else []
    rows += sweep.versions.items()
    return Table("What the numbers hold for", ("condition", "value~"), tuple(rows))


def _several(values: list[object]) -> str:
    texts = [number(value, "g") if isinstance(value, float) and value == value else text_of(value) for value in values]
    return ", ".join(texts) if len(texts) <= MOST else f"{texts[0]}, {texts[1]}, … {texts[-1]}"


def _with_code(text: str) -> Markup:
    """Text with names between backticks set as code; the rest is escaped."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _data(chart: Chart) -> Markup:
    """A chart as its library takes it."""
    return _json({"data": chart.traces, "layout": chart.layout})


def _json(what: object) -> Markup:
    """JSON in which no text can end the element that it is in."""
    text = json.dumps(what, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _hash(script: str) -> str:
    """A script's source expression in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'"
