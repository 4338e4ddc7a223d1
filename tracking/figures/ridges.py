"""How large the gradient's coordinates and the activations of a layer are, epoch by epoch: a ridge for each.

A ridge that walks to the left is a gradient that vanishes; where only some coordinates do, it becomes broad.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from tracking.figures.album import Drawing, Kind
from tracking.figures.data import FigureData, Line
from tracking.figures.style import NotMeasured, new_figure
from tracking.verdict.tables import SHARE, number
from trainers.measurements.histogram import BINS, EXPONENTS

KINDS = ("activation", "gradient")  # in the order in which they are drawn: the gradient is in front
MOST_LINES, MOST_EPOCHS = 6, 8
VANISHED = -7  # the decade below which a coordinate of the gradient counts as that
HEIGHT = 1.7  # of a share of 1, where epochs are 1 apart
FAINTEST = 0.005  # a decade in which no ridge has more is not shown at the ends
GREY, OPACITY = "#b0b0b0", 0.7
# log10 |value| in the middle of each bin but `zero`
MIDDLES = np.arange(EXPONENTS.start - 1, EXPONENTS.stop + 1) + 0.5
ABOUT = (
    "The coordinates of the loss's gradient, in colour, and the activations, in grey, of the first, the middle and the "
    "last layer with parameters, by decade of their absolute value: a ridge per measured epoch, whose height at a "
    "decade is its share, the mean over the seeds. The last layer's activations are its outputs. The bar at 0 is the "
    "share that is exactly 0. What is below 1e-12 or at least 1e4 is in the decade next to that."
)


@dataclass(frozen=True)
class Ridges:
    """One layer of a line: the mean shares of each of KINDS, (epochs, BINS)."""

    line: Line
    layer: str
    epochs: list[int]
    shares: Mapping[str, NDArray[np.float64]]

    def __str__(self) -> str:
        """How much of the gradient has vanished, at the first and at the last epoch."""
        ends = self.shares["gradient"][[0, -1], : BINS.index(f"e{VANISHED}")].sum(1)
        return f"{' to '.join(dict.fromkeys(number(float(end), SHARE) for end in ends))} in {self.layer}"


def ridges(data: FigureData) -> list[list[Ridges]]:
    """A row per line, of the chosen layers. Raises NotDrawn."""
    rows = [of_line for line in data.lines if (of_line := _of_line(line))]
    if not rows:
        raise NotMeasured("the histograms of gradients and activations were not measured")
    return rows


def spoken(rows: Sequence[Sequence[Ridges]]) -> str:
    """The alternative text."""
    texts = (f"{of_line[0].line.name}: {', '.join(map(str, of_line))}" for of_line in rows)
    below = f"coordinates of the gradient below 1e{VANISHED}"
    return f"Ridges by epoch. The share of {below}, from the first to the last of them: {'; '.join(texts)}."


def caption(rows: Sequence[Sequence[Ridges]], which_best: str) -> str:
    """What is shown, and what is left out."""
    more = f" The first {MOST_LINES} of {len(rows)} are shown." if len(rows) > MOST_LINES else ""
    return f"{ABOUT}{more}{which_best}"


def extent(rows: Sequence[Sequence[Ridges]]) -> tuple[int, int]:
    """log10 of the smallest and the largest |value| that is shown."""
    every = np.concatenate([shares for of_line in rows for ridge in of_line for shares in ridge.shares.values()])
    used = MIDDLES[every[:, 1:].max(0) > FAINTEST]
    low, high = (used.min(), used.max()) if len(used) else (MIDDLES[0], MIDDLES[-1])
    return math.floor(low), math.ceil(high)


def draw(data: FigureData) -> Drawing:
    """A row of panels per line, a panel per layer; epochs go down, and later ones are in front."""
    every = ridges(data)
    rows = every[:MOST_LINES]
    heights = [0.75 + 0.16 * max(len(ridge.epochs) for ridge in of_line) for of_line in rows]
    figure = new_figure(0.8 + sum(heights))
    grid = figure.subplots(len(rows), max(map(len, rows)), sharex=True, squeeze=False, height_ratios=heights)
    low, high = extent(rows)
    zero = low - 1.5
    decades = [d for d in range(low + 2, high + 1) if d % (4 if high - low > 6 else 2) == 0]  # apart from 0
    for of_axes, of_line in zip(grid, rows, strict=True):
        for axes, ridge in zip(of_axes, of_line, strict=False):
            _panel(axes, ridge, zero)
            axes.set_xticks([zero, *decades], ["0", *(f"1e{d}" if d else "1" for d in decades)], fontsize=8)
            axes.set_xlim(zero - 0.8, high + 0.3)
        for axes in of_axes[len(of_line) :]:
            axes.set_visible(False)
        name = of_line[0].line.name
        of_axes[0].set_ylabel(f"{name if len(name) < 20 else f'{name[:18]}…'}\nepoch", fontsize=9)
    grid[-1, len(rows[-1]) // 2].set_xlabel("absolute value (log scale)")
    shades = [Patch(facecolor=rows[0][0].line.colour, alpha=OPACITY), Patch(facecolor=GREY, alpha=OPACITY)]
    figure.legend(shades, ["the gradient's coordinates", "activations"], loc="outside lower left", ncols=2)
    return Drawing(figure, caption(every, data.which_best), spoken(rows))


def _of_line(line: Line) -> list[Ridges]:
    layers = [*line.layers(f"histogram.gradient.{BINS[0]}")]
    chosen = dict.fromkeys(layers[place] for place in (0, (len(layers) - 1) // 2, -1)) if layers else {}
    return [ridge for layer in chosen if (ridge := _of_layer(line, layer)).epochs]


def _of_layer(line: Line, layer: str) -> Ridges:
    columns = {of: [f"layer.{layer}.histogram.{of}.{name}" for name in BINS] for of in KINDS}
    by_epoch = line.rows[sum(columns.values(), [])].groupby(line.rows["epoch"])
    # not where a seed has none, or nothing was measured
    means = by_epoch.mean().where(by_epoch.count().eq(by_epoch.size(), axis=0)).dropna()
    shown = np.unique(np.linspace(0, len(means) - 1, min(len(means), MOST_EPOCHS)).round().astype(int))
    means = means.iloc[shown]
    shares = {of: means[names].to_numpy() for of, names in columns.items()}
    return Ridges(line, layer, means.index.tolist(), shares)


def _panel(axes: Axes, ridge: Ridges, zero: float) -> None:
    for of, colour, shift in zip(KINDS, (GREY, ridge.line.colour), (-0.3, 0.3), strict=True):
        for place, shares in enumerate(ridge.shares[of]):
            style: dict[str, Any] = {"facecolor": colour, "alpha": OPACITY, "edgecolor": "white", "linewidth": 0.6}
            style["zorder"] = 2 + place
            axes.fill_between(MIDDLES, place - HEIGHT * shares[1:], place, **style)
            axes.bar(zero + shift, -0.9 * shares[0], 0.6, bottom=place, **style)  # so that none hides another
    axes.set_yticks(range(len(ridge.epochs)), [f"{epoch}" for epoch in ridge.epochs], fontsize=8)
    axes.set_ylim(len(ridge.epochs) - 0.8, -HEIGHT)
    axes.grid(axis="y", visible=False)
    axes.set_title(ridge.layer, loc="left", fontsize=9)


FIGURE = Kind("Gradients and activations by size", place=39, draw=draw)
