"""How large the gradient is in each layer over the epochs: a heat map on a log scale for each line.

Where it fades from the output towards the input, depth is what makes it vanish; where it is dark everywhere at once,
saturation is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tracking.figures.data import FigureData
from tracking.figures.kind import Drawing, Kind
from tracking.figures.lines import Line, lines
from tracking.figures.style import COLOURS, MISSING_COLOUR, NotDrawn, new_figure
from tracking.tidy import layers_of
from tracking.verdict.tables import number

STATISTIC = "gradient.data.rms"
ZERO_COLOUR = "#ffffff"
FAINTEST = 0.005  # of the cells may lie below the scale, so that a few that are next to 0 do not take all of it


def draw(data: FigureData) -> Drawing:
    """A panel per line: epochs to the right, layers from the input (top) to the output, the median over the seeds."""
    panels = [(line, *_medians(data.rows(line.configuration))) for line in lines(data)]
    panels = [panel for panel in panels if panel[1]]
    sizes = [medians[np.isfinite(medians) & (medians > 0)] for _, _, medians in panels]
    positive = np.concatenate(sizes) if sizes else np.array([])
    if not len(positive):
        raise NotDrawn(f"the records have no {STATISTIC} of a layer that is finite and above 0")
    top, least = float(positive.max()), float(np.quantile(positive, FAINTEST)) / 1.0001
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(rows * (0.5 + 0.15 * max(len(names) for _, names, _ in panels)) + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    norm = LogNorm(least, top)
    for axes, (line, names, medians) in zip(grid.flat, panels, strict=False):
        image = _panel(axes, line, names, medians, norm)
    for axes in grid.flat[max(0, len(panels) - columns) : len(panels)]:
        axes.set_xlabel("epoch")
    clipped = positive.min() < least or any((medians == 0).any() for _, _, medians in panels)
    extend = "min" if clipped else "neither"
    bar = figure.colorbar(image, ax=grid, location="bottom", shrink=0.8, aspect=40, extend=extend)
    if top < 1000 * least:
        # Else matplotlib labels every step of a short scale, one over the other.
        multiples = (1, 2, 5) if top < 30 * least else (1, 3)
        steps = [m * 10.0**d for d in range(-40, 40) for m in multiples if least <= m * 10.0**d <= top]
        bar.set_ticks(steps, labels=[f"{step:g}" for step in steps])
        bar.minorticks_off()
    bar.set_label("rms of the loss's gradient in the layer (log scale)")
    return Drawing(
        figure,
        "The root mean square of the loss's gradient (without the penalty) over the parameters of each layer, from "
        "the input (top) to the output, over the epochs: the median over the seeds, on one log scale. White is exactly "
        "0 or below the scale; grey is not finite.",
        f"Heat maps of the gradient's size by layer and epoch. {'; '.join(_ends(*panel) for panel in panels)}.",
    )


def _medians(own: pd.DataFrame) -> tuple[list[str], NDArray[np.float64]]:
    """(layers from the input to the output, medians over the seeds): float64 (layers, epochs).

    A diverged member's are NaN, and then so is the median.
    """
    names = [name for name in layers_of(own.iloc[0]) if f"layer.{name}.{STATISTIC}" in own]
    columns = [f"layer.{name}.{STATISTIC}" for name in names]
    by_epoch = [rows[columns].to_numpy(dtype=np.float64) for _, rows in own.groupby("epoch")]
    return names, np.stack([np.median(values, axis=0) for values in by_epoch], axis=1)


def _panel(axes: Axes, line: Line, names: Sequence[str], medians: NDArray[np.float64], norm: LogNorm) -> AxesImage:
    colours = colormaps[COLOURS].with_extremes(bad=MISSING_COLOUR, under=ZERO_COLOUR)
    # LogNorm masks what is not positive; 0 is to be seen as below the scale, only what is not finite as missing.
    below = np.where(medians <= 0, float(norm.vmin or 0.0) / 10, medians)
    extent = (-0.5, medians.shape[1] - 0.5, len(names) - 0.5, -0.5)
    shown = np.ma.masked_invalid(below)
    image = axes.imshow(shown, cmap=colours, norm=norm, aspect="auto", interpolation="nearest", extent=extent)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.grid(False)
    axes.set_title(line.label if len(line.label) < 28 else line.name, loc="left", fontsize=9)
    axes.spines["left"].set(color=line.colour, linewidth=3.5)
    return image


def _ends(line: Line, names: Sequence[str], medians: NDArray[np.float64]) -> str:
    start, end = (
        f"{number(medians[0, e], '.1g')} in {names[0]} and {number(medians[-1, e], '.1g')} in {names[-1]}"
        for e in (0, -1)
    )
    return f"{line.name} at the start {start}, at the end {end}"


FIGURE = Kind("Gradient by layer", place=30, draw=draw)
