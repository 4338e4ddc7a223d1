"""Several objectives against each other, with the Pareto front: what can't be improved in one but at another's cost."""

from __future__ import annotations

import itertools
import textwrap

from matplotlib.axes import Axes

from tracking.figures.album import Drawing, Kind
from tracking.figures.data import FigureData
from tracking.figures.style import BEST, NotDrawn, axis_label, legend_below, new_figure, percent
from tracking.verdict.tables import number

MOST = 3  # panels
OTHERS = "#999999"


def draw(data: FigureData) -> Drawing:
    """A panel for each two objectives: a dot for each complete configuration, the arms in their colours, the front."""
    objectives = data.objectives
    if len(objectives) < 2:
        raise NotDrawn("there is one objective")
    own, front = data.pareto()
    if not len(front):
        raise NotDrawn("no configuration is complete in all objectives yet")
    pairs = list(itertools.combinations(objectives, 2))[:MOST]
    figure = new_figure(3.0 * len(pairs) + 1.0)
    column = figure.subplots(len(pairs), 1, squeeze=False)[:, 0]
    for axes, (first, second) in zip(column, pairs, strict=True):
        axes.plot(own[first.name], own[second.name], "o", color=OTHERS, markersize=4, label="configurations")
        for line in data.lines:
            at = own[own.index.isin(line.rows["configuration"])]
            axes.plot(at[first.name], at[second.name], "o", color=line.colour, markersize=6, label=line.name)
        ordered = front.sort_values(first.name)
        name = "Pareto front, on fresh seeds" if data.again else "Pareto front"
        style = {"color": BEST[0], "markersize": 11, "markerfacecolor": "none", "linewidth": 0.8, "label": name}
        # Of more than two objectives the front is no line.
        axes.plot(ordered[first.name], ordered[second.name], "o:" if len(objectives) == 2 else "o", **style)
        _labelled(axes, first.name, second.name)
    legend_below(figure, column[0])
    names = [data.outcomes[n].name for n in front.index]
    points = ("; ".join(map(number, row)) for row in front.to_numpy().tolist())
    on = " on fresh seeds" if data.again else ""
    more = f" The first {MOST} pairs of objectives are shown." if len(objectives) > MOST else ""
    return Drawing(
        figure,
        f"Means over the seeds of {' and '.join(o.name for o in objectives)}: one dot per complete configuration. Open "
        f"circles mark the Pareto front{on}: no other configuration is as good in every objective and better in one. "
        f"Differences may be noise.{more}",
        f"{len(own)} dots. On the front{on}: {', '.join(f'{n} ({p})' for n, p in zip(names, points, strict=True))}.",
    )


def _labelled(axes: Axes, first: str, second: str) -> None:
    axes.set_xlabel(textwrap.fill(axis_label(first), 50))
    axes.set_ylabel(textwrap.fill(axis_label(second), 30))
    for axis, name in ((axes.xaxis, first), (axes.yaxis, second)):
        if name.endswith("accuracy"):
            axis.set_major_formatter(percent(None))


FIGURE = Kind("Pareto front", place=55, draw=draw)
