"""The paper's figures: accuracies above, summary statistics of the gradient's coordinate values below.

Solid lines are means over the seeds, shaded areas the interquartile range, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from tracking.figures.data import FigureData
from tracking.figures.kind import Drawing, Kind
from tracking.figures.lines import Line, lines
from tracking.figures.style import NotDrawn, axis_label, legend_below, new_figure, percent
from tracking.verdict.tables import SHARE, P, number

ACCURACY = "validation.accuracy"
DATA, TOTAL = "gradient.data.mean_abs", "gradient.total.mean_abs"


def draw(data: FigureData) -> Drawing:
    """A line for each arm, and one for the best searched configuration; a panel for each metric.

    The gradient with the penalty is left out where no line has a penalty: it is the same.
    """
    chosen = lines(data)
    penalized = any((data.rows(line.configuration)["r"] > 0).any() for line in chosen)
    panels = [m for m in (ACCURACY, DATA, *([TOTAL] if penalized else [])) if m in data.frame]
    if not panels:
        raise NotDrawn(f"the records have neither {ACCURACY} nor {DATA}")
    figure = new_figure(2.0 * len(panels) + 0.4 + 0.19 * len(chosen))
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, metric in zip(column, panels, strict=True):
        _panel(axes, data, chosen, metric)
    column[-1].set_xlabel("epoch (0: before the first step)")
    legend_below(figure, column[0])
    return Drawing(
        figure,
        "Accuracy, and below it the mean absolute coordinate of the gradient on a log scale: of the loss alone, and "
        f"with the penalty where there is one. {_seeds(data, chosen)} Epoch 0 is the state before the first step.",
        f"Curves over the epochs. {'; '.join(_ends(data, line) for line in chosen)}.",
    )


def _panel(axes: Axes, data: FigureData, chosen: Sequence[Line], metric: str) -> None:
    means, edges = [], []
    for line in chosen:
        band = data.band(line.configuration, metric)
        epochs, mean = band.index.to_numpy(), band["mean"].to_numpy()
        # A single epoch would be a line of no length.
        marker = "o" if len(band) == 1 else ""
        axes.plot(epochs, mean, line.dashes, marker=marker, markersize=4, color=line.colour, label=line.label)
        axes.fill_between(epochs, band["q25"], band["q75"], color=line.colour, alpha=0.18, linewidth=0)
        means.append(mean)
        edges.append(band[["q25", "q75"]].to_numpy().ravel())
    axes.set_ylabel(axis_label(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if metric == ACCURACY:
        axes.yaxis.set_major_formatter(percent())
    else:
        _log_axis(axes, np.concatenate(means), np.concatenate(edges))


def _log_axis(axes: Axes, means: NDArray[np.float64], edges: NDArray[np.float64]) -> None:
    """A log scale over all means and at most a decade of the bands below them; linear where nothing is above 0.

    A quartile may be 0, or next to it, where a single seed decides the mean.
    """
    means, edges = means[means > 0], edges[edges > 0]
    if not len(means):
        return
    bottom = max(means.min() / 10, min(edges.min(initial=means.min()), means.min()))
    axes.set_yscale("log")
    # Room, so that one value alone is an axis too.
    axes.set_ylim(bottom / 2, max(means.max(), edges.max(initial=0.0)) * 2)
    axes.yaxis.set_major_locator(LogLocator(numticks=7))


def _ends(data: FigureData, line: Line) -> str:
    means = {m: data.band(line.configuration, m)["mean"] for m in (ACCURACY, DATA) if m in data.frame}
    ends = [f"accuracy {number(float(means[ACCURACY].iloc[-1]), SHARE)} at the end"] if ACCURACY in means else []
    ends += [f"gradient {number(float(means[DATA].iloc[0]), P)} at the start"] if DATA in means else []
    return f"{line.label}: {', '.join(ends)}"


def _seeds(data: FigureData, chosen: Sequence[Line]) -> str:
    seeds = [data.rows(line.configuration)["seed"].nunique() for line in chosen]
    least, most = min(seeds), max(seeds)
    if most == 1:
        return "Lines show the only seed, so there is no band."
    count = f"{most}" if least == most else f"{least} to {most}"
    return (
        f"Lines are means over {count} seeds and shaded areas the interquartile range; where a line leaves its area, a "
        "few seeds dominate the mean."
    )


FIGURE = Kind("Accuracy and gradients", place=10, draw=draw)
