"""How gradient and accuracy go with the number of layers, where a sweep varies it."""

from __future__ import annotations

import pandas as pd

from tracking.figures.album import Drawing, Kind
from tracking.figures.bands import draw_band, log_scale
from tracking.figures.data import FigureData, over_seeds
from tracking.figures.style import NotDrawn, depth_ticks, legend_below, new_figure, percent
from tracking.verdict.tables import SHARE, P, number

RATIO, ACCURACY = "gradient.first_to_last", "validation.accuracy"
MOST = 8  # lines
OTHERS = "#999999"


def draw(data: FigureData) -> Drawing:
    """A panel per measurement: a line for configurations that differ in depth alone, dots for others."""
    depths, shown = data.by_depth["depth"], data.depths[:MOST]
    alone = depths[~depths.index.isin([n for line in data.depths for n in line.by_depth.values()])]
    if RATIO not in data.frame or ACCURACY not in data.frame:
        raise NotDrawn(f"the records lack {RATIO} or {ACCURACY}")
    panels = [(RATIO, at, f"first to last layer\n{when}") for at, when in data.ends.items()]
    panels += [(ACCURACY, at, f"validation accuracy\n{when}") for at, when in [*data.ends.items()][-1:]]
    figure = new_figure(2.0 * len(panels) + 0.19 * len(shown))
    column = figure.subplots(len(panels), 1, sharex=True)
    ends = {line.label: "" for line in shown}
    for axes, (metric, at, label) in zip(column, panels, strict=True):
        ratio = metric == RATIO
        for line in shown:
            band = pd.DataFrame({depth: quartiles(data, n, metric, at) for depth, n in line.by_depth.items()}).T
            draw_band(axes, line, band, log=ratio)
            first, last = (number(band["q50"].loc[depth], P if ratio else SHARE) for depth in band.index[[0, -1]])
            ends[line.label] += f"; {' '.join(label.split())} from {first} to {last}"
        dots = pd.Series({n: quartiles(data, n, metric, at)["q50"] for n in alone.index}, dtype=float)
        if len(dots):
            label_of = "other configurations" if shown else "configurations"
            style = {"color": OTHERS, "markersize": 3.5, "label": label_of, "zorder": 1}
            axes.plot(alone, dots.where(dots > 0) if ratio else dots, "o", **style)
        axes.set_ylabel(label)
        if not ratio:
            axes.yaxis.set_major_formatter(percent())
            continue
        log_scale(axes)
        if axes.get_yscale() == "log":
            axes.axhline(1.0, color="black", linewidth=0.7, linestyle=":")
    column[-1].set_xscale("log")
    depth_ticks(column[-1].xaxis, sorted(set(depths)))
    column[-1].set_xlabel("layers with parameters (log scale)")
    legend_below(figure, column[0])
    more = f" The first {MOST} of {len(data.depths)} such lines are shown." if len(data.depths) > MOST else ""
    texts = [f"{line.label}, {min(line.by_depth)} to {max(line.by_depth)} layers{ends[line.label]}" for line in shown]
    return Drawing(
        figure,
        "The rms of the loss's gradient in the first layer over that in the last, and the accuracy, over the network's "
        "depth. Each line is of configurations that differ in depth alone, each dot one that is on no line. Both are "
        "medians over the seeds, shaded areas the interquartile range; nothing is drawn where the gradient is exactly "
        f"0 or not finite. On the dotted line the gradient is the same in both layers.{more}",
        f"Curves over the depth, {min(depths)} to {max(depths)} layers, medians over the seeds. "
        f"{'. '.join(texts) or 'Dots alone'}.",
    )


def quartiles(data: FigureData, number: int, metric: str, at: str) -> pd.Series[float]:
    """`over_seeds` of one configuration."""
    rows = data.rows(number)
    values = rows[metric][rows["epoch"] == (0 if at == "start" else rows["epoch"].max())]
    return over_seeds(values, [0] * len(values)).iloc[0]


FIGURE = Kind("Depth", place=32, draw=draw)
