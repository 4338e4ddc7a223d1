"""Every seed's result: how much of a difference is noise."""

from __future__ import annotations

import textwrap

import numpy as np

from tracking.figures.album import Drawing, Kind
from tracking.figures.data import FigureData, Line, within
from tracking.figures.style import NotDrawn, axis_label, new_figure, percent
from tracking.results import per_seed
from tracking.verdict.tables import span
from trainers.objectives import LAST

FRESH_COLOUR = "#555555"


def draw(data: FigureData) -> Drawing:
    """A row per line: a dot for each seed's value of the objective, a bar at their median.

    Below them in grey what was trained again on fresh seeds.
    """
    objective, rows = data.objective, [*data.lines]
    metric = objective.name
    for o in data.outcomes.values():
        if o.confirms and len(again := data.rows(o.number)):
            rows.append(Line(again, f"{textwrap.fill(o.confirms, 24)}\nfresh seeds", "", FRESH_COLOUR, "-"))
    if objective.metric not in data.frame:
        raise NotDrawn(f"the records have no {objective.metric}")
    figure = new_figure(0.8 + sum(max(0.38, 0.16 * len(line.name.splitlines())) for line in rows))
    axes = figure.subplots()
    ranges = []
    for place, line in enumerate(rows):
        values = within(per_seed(line.rows, objective).sort_index())
        finite = values.dropna()
        # Spread by rank within the row, so that equal values are seen side by side.
        spread = np.linspace(-0.26, 0.26, len(finite)) if len(finite) > 1 else np.zeros(len(finite))
        axes.plot(finite, place + spread, "o", markersize=3.5, color=line.colour, alpha=0.65, markeredgewidth=0)
        if len(finite) == len(values):
            axes.vlines(finite.median(), place - 0.36, place + 0.36, color=line.colour, linewidth=2.2)
        spoken = " ".join(line.name.replace("\nfresh", " on fresh").split())
        ends = f"from {span(finite.min(), finite.max(), '.3g')}" if len(finite) else "not finite"
        ranges.append(f"{spoken} {ends}")
    axes.set_yticks(range(len(rows)), [line.name for line in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    is_last = objective.epoch == LAST and "end" in data.ends
    axes.set_xlabel(textwrap.fill(axis_label(metric) + " after the last epoch" * is_last, 50), loc="right")
    if metric.endswith("accuracy"):
        axes.xaxis.set_major_formatter(percent(0 if np.ptp(axes.get_xlim()) > 0.1 else 1))
    return Drawing(
        figure,
        f"Each dot is the {metric} of one seed{' after its last epoch' * is_last}; each bar is the median over "
        "the seeds. Where the dots of two rows overlap widely, their difference may be noise. Dots are spread within a "
        "row only so that all can be seen.",
        f"One dot per seed. {metric}: {'; '.join(ranges)}.",
    )


FIGURE = Kind("Every seed", place=20, draw=draw)
