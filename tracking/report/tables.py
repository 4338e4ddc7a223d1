"""The tables of a report that come from the records: what was measured, and what the numbers hold for."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd

from tracking.figures.data import FigureData
from tracking.figures.style import NotDrawn
from tracking.tidy import MEMBER
from tracking.types import Sweep
from tracking.verdict.tables import PERCENT, SHARE, SPREAD, Table, number

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


def measured(data: FigureData) -> list[Table]:
    """Accuracies at the end and gradients at both ends of what the figures show: means over the seeds."""
    try:
        chosen = data.lines
    except NotDrawn:
        return []
    shown = {f"{head}#": column for head, column in MEASURED.items() if column[0] in data.frame}
    rows = []
    for line in chosen:
        ends = {"start": line.start, "end": line.end}
        means = [number(ends[at][metric].mean(skipna=False), shape) for metric, at, shape in shown.values()]
        rows.append((line.label, *means))
    seeds = "search's own seeds" if len(data.own) < len(data.frame) else "seeds"
    return [
        Table(f"Means over the {seeds} (vanished: coordinates with |g| < 1e-7)", ("configuration", *shown), tuple(rows))
    ]


def conditions(frame: pd.DataFrame, sweep: Sweep) -> Table:
    """What a sweep's numbers hold for, one condition per row: data, seeds, epochs, engine, versions, commit."""
    rows: list[tuple[str, str]] = []
    if len(frame):
        seeds = sorted(frame["seed"].unique().tolist())
        rows.append(("seeds", f"{len(seeds)}: {_several(seeds)}"))
        rows.append(("epochs recorded", f"0 to {int(frame['epoch'].max())}"))
        for name in (m for m in MEMBER if m in frame and m not in _COMPARED):
            rows.append((name.replace("_", " "), _several(frame[name].unique().tolist())))
    rows += [(f"sha256 of {data}", digest) for data, digest in sweep.digests.items()]
    times = {"started": sweep.begun, "ended": sweep.ended}
    rows += [(what, f"{datetime.fromtimestamp(t / 1000, UTC):%Y-%m-%d %H:%M} UTC") for what, t in times.items() if t]
    rows += [("git commit", sweep.commit)] if sweep.commit else []
    rows += sweep.versions.items()
    return Table("What the numbers hold for", ("condition", "value~"), tuple(rows))


def _several(values: list[object]) -> str:
    texts = [number(value, "g") if isinstance(value, float) else str(value) for value in values]
    return ", ".join(texts) if len(texts) <= MOST else f"{texts[0]}, {texts[1]}, … {texts[-1]}"
