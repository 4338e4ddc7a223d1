"""How sharp the loss is over the epochs, with 2 / learning rate beside it, and how noisy its gradient is.

Where the largest eigenvalue is above 2 / learning rate, plain gradient descent on the whole loss is unstable; where
batches are far smaller than the noise scale, their gradients are mostly noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.ticker import MaxNLocator

from tracking.figures.album import Drawing, Kind
from tracking.figures.bands import draw_band, log_scale
from tracking.figures.data import MEDIANS, FigureData, Line
from tracking.figures.style import NotMeasured, legend_below, new_figure
from tracking.verdict.tables import P, number

LARGEST, EDGE, NOISE = "sharpness.largest", "sharpness.edge", "sharpness.noise_scale"
PANELS = {LARGEST: "largest eigenvalue of the Hessian", NOISE: "gradient noise scale (images)"}
EDGE_NAME = "2 / learning rate"
SPOKEN = {LARGEST: "largest eigenvalue", EDGE: EDGE_NAME, NOISE: "noise scale"}
CAPTION = (
    "Above, the largest eigenvalue of the Hessian of the loss, without the penalty, over the probe images. Where it is "
    f"above {EDGE_NAME}, the dotted line, plain gradient descent is unstable; momentum and Adam have other edges. "
    "Below, the gradient noise scale: the batch size at which the gradient's noise is as large as the gradient. It is "
    f"not drawn where the probe images are too few to tell. Both scales are logarithmic. {MEDIANS}."
)


def draw(data: FigureData) -> Drawing:
    """A panel for the largest eigenvalue, with the edge, and one for the noise scale; a line per arm."""
    lines = measured(data)
    figure = new_figure(4.6 + 0.19 * (len(lines) + 1))
    column = figure.subplots(len(PANELS), 1, sharex=True)
    for axes, (metric, label) in zip(column, PANELS.items(), strict=True):
        for line in lines:
            draw_band(axes, line, line.course(metric), log=True)
        axes.set_ylabel(label.replace(" of", "\nof").replace(" (", "\n("))
    for place, (edge, shade) in enumerate(edges(lines)):
        column[0].plot(edge, ":o", color=shade or "black", markersize=2, label="" if place else EDGE_NAME)
    for axes in column:
        log_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    column[-1].set_xlabel("epoch (0: before the first step)")
    legend_below(figure, column[0])
    return Drawing(figure, CAPTION + data.which_best, spoken(lines))


def measured(data: FigureData) -> list[Line]:
    """The lines whose sharpness was measured. Raises NotDrawn."""
    lines = [line for line in data.lines if line.measured([LARGEST])]
    if not lines:
        raise NotMeasured("sharpness was not measured")
    return lines


def edges(lines: Sequence[Line]) -> list[tuple[pd.Series[float], str]]:
    """2 / learning rate by epoch, and the colour of its line; one without a colour where it is the same for all."""
    of_lines = [(line.course(EDGE)["q50"], line.colour) for line in lines]
    longest = max((edge for edge, _ in of_lines), key=len)
    same = all(edge.equals(longest.reindex(edge.index)) for edge, _ in of_lines)
    return [(longest, "")] if same else of_lines


def spoken(lines: Sequence[Line]) -> str:
    """The alternative text."""
    texts = []
    for line in lines:
        courses = {what: line.course(metric)["q50"].iloc[[0, -1]] for metric, what in SPOKEN.items()}
        ends = (f"{what} {' to '.join(dict.fromkeys(number(v, P) for v in of))}" for what, of in courses.items())
        texts.append(f"{line.name}: {', '.join(ends)}")
    lead = "Curves over the epochs, from the first measured one to the last, medians over the seeds"
    return f"{lead}. {'; '.join(texts)}."


FIGURE = Kind("Sharpness and gradient noise", place=38, draw=draw)
