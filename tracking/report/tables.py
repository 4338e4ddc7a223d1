"""The tables of a report that come from the records: what was measured, and what the numbers hold for."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from tracking.figures.data import FigureData
from tracking.figures.lines import lines
from tracking.figures.style import NotDrawn
from tracking.tidy import MEMBER
from tracking.types import Sweep
from tracking.verdict.tables import PERCENT, SHARE, SPREAD, Table, number

# Heading, metric, whether at the end (else at the start), how it is shown.
MEASURED = (
    ("train accuracy", "train.accuracy", True, PERCENT),
    ("validation accuracy", "validation.accuracy", True, PERCENT),
    ("test accuracy", "test.accuracy", True, PERCENT),
    ("rms of the loss's gradient, start", "gradient.data.rms", False, SPREAD),
    ("vanished, start", "gradient.data.vanished", False, SHARE),
    ("rms of the loss's gradient, end", "gradient.data.rms", True, SPREAD),
    ("vanished, end", "gradient.data.vanished", True, SHARE),
)
MOST = 6  # so many values of a field are named, of more the first and the last
_COMPARED = ("alpha", "r")  # the rest are the conditions


def measured(data: FigureData) -> list[Table]:
    """Accuracies at the end and gradients at both ends of what the figures show: means over the seeds."""
    try:
        chosen = lines(data)
    except NotDrawn:
        return []
    shown = [row for row in MEASURED if row[1] in data.frame]
    rows = []
    for line in chosen:
        ends = data.ends(line.configuration)
        means = [number(float(ends[at_end][m].mean(skipna=False)), shape) for _, m, at_end, shape in shown]
        rows.append((line.label, *means))
    heads = ("configuration", *(f"{row[0]}#" for row in shown))
    seeds = "search's own seeds" if len(data.own) < len(data.frame) else "seeds"
    return [Table(f"Means over the {seeds} (vanished: coordinates with |g| < 1e-7)", heads, tuple(rows))]


def conditions(frame: pd.DataFrame, sweep: Sweep) -> Table:
    """What a sweep's numbers hold for, one condition per row: data, seeds, epochs, engine, versions, commit."""
    rows: list[tuple[str, str]] = []
    if len(frame):
        seeds = sorted(frame["seed"].unique().tolist())
        rows.append(("seeds", f"{len(seeds)}: {_several([str(s) for s in seeds])}"))
        rows.append(("epochs recorded", f"0 to {int(frame['epoch'].max())}"))
        for name in (m for m in MEMBER if m in frame and m not in _COMPARED):
            values = [
                number(v, "g") if isinstance(v, float) else str(v) for v in frame[name].drop_duplicates().tolist()
            ]
            rows.append((name.replace("_", " "), _several(values)))
    rows += [(f"sha256 of {data}", digest) for data, digest in sweep.digests.items()]
    for what, at in (("started", sweep.begun), ("ended", sweep.ended)):
        if at is not None:
            rows.append((what, f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"))
    if sweep.commit:
        rows.append(("git commit", sweep.commit))
    rows += [(package, version) for package, version in sweep.versions.items()]
    return Table("What the numbers hold for", ("condition", "value~"), tuple(rows))


def _several(values: list[str]) -> str:
    return ", ".join(values) if len(values) <= MOST else f"{values[0]}, {values[1]}, … {values[-1]}"
