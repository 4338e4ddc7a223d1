"""Every seed's result: how much of a difference is noise."""

from __future__ import annotations

import textwrap

import numpy as np

from tracking.figures.data import FigureData, within
from tracking.figures.kind import Drawing, Kind
from tracking.figures.lines import lines
from tracking.figures.style import NotDrawn, axis_label, new_figure, percent
from tracking.verdict.tables import number

FRESH_COLOUR = "#555555"


def draw(data: FigureData) -> Drawing:
    """A row per line: a dot for each seed's value after the last epoch, a bar at their mean.

    Below them in grey what was trained again on fresh seeds.
    """
    metric = data.objective[0]
    rows = [(line.configuration, line.name, line.colour) for line in lines(data)]
    recorded = set(data.frame["configuration"].tolist())
    again = [o for o in data.outcomes.values() if o.confirms is not None and o.number in recorded]
    rows += [(o.number, f"{textwrap.fill(str(o.confirms), 24)}\nfresh seeds", FRESH_COLOUR) for o in again]
    if metric not in data.frame:
        raise NotDrawn(f"the records have no {metric}")
    figure = new_figure(0.8 + sum(max(0.38, 0.16 * len(name.splitlines())) for _, name, _ in rows))
    axes = figure.subplots()
    ranges = []
    for place, (configuration, name, colour) in enumerate(rows):
        values = data.ends(configuration)[1].sort_values("seed")[metric]
        finite = within(values).dropna().to_numpy()
        # Spread by rank within the row, so that equal values are seen side by side.
        spread = np.linspace(-0.26, 0.26, len(finite)) if len(finite) > 1 else np.zeros(len(finite))
        axes.plot(finite, place + spread, "o", markersize=3.5, color=colour, alpha=0.65, markeredgewidth=0)
        if len(finite) == len(values):
            axes.vlines(finite.mean(), place - 0.36, place + 0.36, color=colour, linewidth=2.2)
        ends = f"from {number(finite.min(), '.3g')} to {number(finite.max(), '.3g')}" if len(finite) else "not finite"
        spoken = " ".join(name.replace("\nfresh", " on fresh").split())
        ranges.append(f"{spoken} {ends}")
    axes.set_yticks(range(len(rows)), [name for _, name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"{axis_label(metric)} after the last epoch", loc="right")
    if metric.endswith("accuracy"):
        axes.xaxis.set_major_formatter(percent(0 if np.ptp(axes.get_xlim()) > 0.1 else 1))
    return Drawing(
        figure,
        f"Each dot is the {metric} of one seed after its last epoch; each bar is the mean over the seeds. Where the "
        "dots of two rows overlap widely, their difference may be noise. Dots are spread within a row only so that "
        "all can be seen.",
        f"One dot per seed. {metric}: {'; '.join(ranges)}.",
    )


FIGURE = Kind("Every seed", place=20, draw=draw)
