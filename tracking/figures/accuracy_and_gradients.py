"""The paper's figures: accuracies above, summary statistics of the gradient's coordinate values below.

Shaded areas are the interquartile range, as in the paper. Lines are medians and not, as there, means: of a gradient's
sizes one seed may be the whole mean, far above the area.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tracking.figures.album import Drawing, Kind
from tracking.figures.bands import draw_band, log_scale
from tracking.figures.data import MEDIANS, FigureData, Line
from tracking.figures.style import NotDrawn, axis_label, legend_below, new_figure, percent
from tracking.verdict.tables import SHARE, P, number

ACCURACY = "validation.accuracy"
DATA, TOTAL = "gradient.data.mean_abs", "gradient.total.mean_abs"


def draw(data: FigureData) -> Drawing:
    """A line for each arm, and one for the best searched configuration; a panel for each metric.

    The gradient with the penalty is left out where no line has a penalty: it is the same.
    """
    chosen = data.lines
    if "end" not in data.ends:
        raise NotDrawn("only epoch 0 has been recorded")
    penalized = any((line.rows["r"] > 0).any() for line in chosen)
    panels = [m for m in (ACCURACY, DATA, *([TOTAL] if penalized else [])) if m in data.frame]
    if not panels:
        raise NotDrawn(f"the records have neither {ACCURACY} nor {DATA}")
    figure = new_figure(2.0 * len(panels) + 0.4 + 0.19 * len(chosen))
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, metric in zip(column, panels, strict=True):
        _panel(axes, chosen, metric)
    column[-1].set_xlabel("epoch (0: before the first step)")
    legend_below(figure, column[0])
    ends = []
    for line in chosen:
        accuracy, gradient = (line.band(m)["q50"] if m in panels else None for m in (ACCURACY, DATA))
        parts = [] if accuracy is None else [f"accuracy {number(accuracy.iloc[-1], SHARE)} at the end"]
        parts += [] if gradient is None else [f"gradient {number(gradient.iloc[0], P)} at the start"]
        ends.append(f"{line.label}: {', '.join(parts)}")
    return Drawing(
        figure,
        "Accuracy, and below it the mean absolute coordinate of the gradient on a log scale: of the loss alone, and "
        f"with the penalty where there is one. {seeds_of(chosen)} Epoch 0 is the state before the first step."
        + data.which_best,
        f"Curves over the epochs, medians over the seeds. {'; '.join(ends)}.",
    )


def _panel(axes: Axes, chosen: Sequence[Line], metric: str) -> None:
    bands = [line.band(metric) for line in chosen]
    # Linear where nothing is above 0.
    positive = pd.concat(bands).where(lambda values: values > 0)
    lowest = positive["q50"].min()
    log = metric != ACCURACY and lowest > 0
    for line, band in zip(chosen, bands, strict=True):
        draw_band(axes, line, band, log, few=1)
    axes.set_ylabel(axis_label(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if metric == ACCURACY:
        axes.yaxis.set_major_formatter(percent())
    elif log:
        log_scale(axes)
        # All lines and at most a decade of the bands below them: a quartile may be 0, or next to it. And room, so that
        # one value alone is an axis too.
        axes.set_ylim(max(lowest / 10, positive.min().min()) / 2, positive.max().max() * 2)


def seeds_of(chosen: Sequence[Line]) -> str:
    """For a caption: what lines and areas are, of how many seeds."""
    seeds = [line.rows["seed"].nunique() for line in chosen]
    least, most = min(seeds), max(seeds)
    if most == 1:
        return "Lines show the only seed, so there is no band."
    count = f"{most}" if least == most else f"{least} to {most}"
    return f"{MEDIANS.replace('the seeds', f'{count} seeds')}; a gradient of exactly 0 is not drawn."


FIGURE = Kind("Accuracy and gradients", place=10, draw=draw)
