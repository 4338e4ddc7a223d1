"""How large the gradient is in each layer over the epochs: a heat map on a log scale for each line.

Of initial values alone, where there are no epochs, a curve for each line.

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

from tracking.figures.album import Drawing, Kind
from tracking.figures.bands import draw_band, log_scale
from tracking.figures.data import MEDIANS, FigureData, Line
from tracking.figures.style import COLOURS, MISSING_COLOUR, NotDrawn, legend_below, new_figure
from tracking.verdict.tables import P, number

STATISTIC = "gradient.data.rms"
NOTHING = f"the records have no {STATISTIC} of a layer that is finite and above 0"
CAPTION = (  # of the curves
    "The root mean square of the loss's gradient (without the penalty) over the parameters of each layer, from the "
    f"input on, at the initial values. {MEDIANS}; nothing is drawn where the gradient is exactly 0 or not finite."
)
ZERO_COLOUR = "#ffffff"
MOST_TICKS = 6  # of the colour bar: of more the numbers may touch
MOST_NAMED = 20  # layers of a panel
FAINTEST = 0.005  # of the cells may lie below the scale, so that a few that are next to 0 do not take all of it


def draw(data: FigureData) -> Drawing:
    """A panel per line: epochs to the right, layers from the input (top) to the output, the median over the seeds."""
    if "end" not in data.ends:
        return _curves(data)
    panels = [(line, medians) for line in data.lines if len(medians := _medians(line))]
    cells = np.concatenate([np.empty(0), *(medians.to_numpy().ravel() for _, medians in panels)])
    positive = cells[np.isfinite(cells) & (cells > 0)]
    if not len(positive):
        raise NotDrawn(NOTHING)
    top, least = float(positive.max()), float(np.quantile(positive, FAINTEST)) / 1.0001
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    counts = [min(MOST_NAMED, len(medians)) for _, medians in panels]
    heights = [0.5 + 0.15 * max(counts[i : i + columns]) for i in range(0, len(panels), columns)]
    figure = new_figure(sum(heights) + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
    norm = LogNorm(least, top)
    for axes, (line, medians) in zip(grid.flat, panels, strict=False):
        image = _panel(axes, line, medians, norm)
    for axes in grid.flat[len(panels) - columns : len(panels)]:
        axes.set_xlabel("epoch")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    extend = "min" if (cells == 0).any() else "neither"
    bar = figure.colorbar(image, ax=grid, location="bottom", shrink=0.8, aspect=40, extend=extend)
    bar.set_ticks(steps := _steps(least, top), labels=[f"{step:g}" for step in steps])
    bar.minorticks_off()
    bar.set_label("rms of the loss's gradient in the layer (log scale)")
    ends = []
    for line, medians in panels:
        sizes = medians.to_numpy()
        first, last = (
            " and ".join(f"{number(sizes[layer, epoch], '.1g')} in {medians.index[layer]}" for layer in (0, -1))
            for epoch in (0, -1)
        )
        ends.append(f"{line.name} at the start {first}, at the end {last}")
    return Drawing(
        figure,
        "The root mean square of the loss's gradient (without the penalty) over the parameters of each layer, from "
        "the input (top) to the output, over the epochs: the median over the seeds, on one log scale. White is exactly "
        "0, grey is not finite; what is smaller than the scale has its darkest colour.",
        f"Heat maps of the gradient's size by layer and epoch, medians over the seeds. {'; '.join(ends)}.",
    )


def _curves(data: FigureData) -> Drawing:
    """Before the first step: layers to the right, the quartiles over the seeds."""
    bands = profiles(data)
    figure = new_figure(2.6 + 0.19 * len(bands))
    axes = figure.subplots()
    for line, band in bands:
        draw_band(axes, line, band, log=True)
    log_scale(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("layer, from the input on")
    axes.set_ylabel("rms of the loss's gradient\nbefore the first step")
    legend_below(figure, axes)
    return Drawing(figure, CAPTION, words(bands))


def profiles(data: FigureData) -> list[tuple[Line, pd.DataFrame]]:
    """The lines, each with the quartiles over the seeds by depth. Raises NotDrawn."""
    columns = [(line, line.by_depth(STATISTIC)) for line in data.lines]
    bands = [(line, line.quartiles(of_line, 0)) for line, of_line in columns if of_line]
    if not any((band["q50"] > 0).any() for _, band in bands):
        raise NotDrawn(NOTHING)
    return bands


def words(bands: Sequence[tuple[Line, pd.DataFrame]]) -> str:
    """The alternative text of the curves."""
    ends = [f"{line.name} {' to '.join(number(band['q50'].iloc[i], P) for i in (0, -1))}" for line, band in bands]
    return f"Curves of the gradient's size from the first layer to the last, medians over the seeds: {'; '.join(ends)}."


def _medians(line: Line) -> pd.DataFrame:
    """Medians over the seeds: a row per layer, from the input on, a column per epoch; NaN where a seed's is."""
    columns = {column: layer for layer, column in line.layers(STATISTIC).items()}
    return line.rows.groupby("epoch")[list(columns)].median(skipna=False).rename(columns=columns).T


def _steps(least: float, top: float) -> list[float]:
    """The numbers of the scale: 1, 2, 5 or 1, 3 in each decade, or every so many decades; both ends if none."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        inside = [m * 10.0**d for d in range(-46, 40) for m in steps if least <= m * 10.0**d <= top]
        if len(inside) <= MOST_TICKS:
            return inside if len(inside) > 1 else [float(f"{end:.3g}") for end in (least, top)]
    return inside[:: -(-len(inside) // MOST_TICKS)]


def _panel(axes: Axes, line: Line, medians: pd.DataFrame, norm: LogNorm) -> AxesImage:
    colours = colormaps[COLOURS].with_extremes(bad=MISSING_COLOUR, under=ZERO_COLOUR)
    # LogNorm masks what is not positive: 0 is to be seen as below the scale, only what is not finite as missing.
    least = float(norm.vmin or 0.0)
    shown = np.ma.masked_invalid(medians.clip(lower=least).mask(medians <= 0, least / 10))
    layers, epochs = medians.shape
    extent = (-0.5, epochs - 0.5, layers - 0.5, -0.5)
    image = axes.imshow(shown, cmap=colours, norm=norm, aspect="auto", interpolation="nearest", extent=extent)
    named = range(0, layers, -(-layers // MOST_NAMED))
    axes.set_yticks(named, medians.index[named], fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.grid(False)
    axes.set_title(line.label if len(line.label) < 28 else line.name, loc="left", fontsize=9)
    axes.spines["left"].set(color=line.colour, linewidth=3.5)
    return image


FIGURE = Kind("Gradient by layer", place=30, draw=draw)
