"""How large the gradient is from layer to layer, in networks of different depth: where a sweep varies it."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.ticker import MaxNLocator

from tracking.figures.album import Drawing, Kind
from tracking.figures.data import FigureData, within
from tracking.figures.style import COLOURS, NotDrawn, depth_ticks, new_figure
from tracking.tidy import layers_of
from tracking.verdict.tables import P, number

STATISTIC = "gradient.data.rms"
MOST = 6  # groups


def draw(data: FigureData) -> Drawing:
    """A row of panels, at the start and at the end, for each group that differs in depth alone; a line per depth."""
    if not (shown := data.depths[:MOST]):
        raise NotDrawn("no two complete configurations differ in depth alone")
    depths = sorted({depth for group in shown for depth in group.by_depth})
    # Bright yellow on white is not seen.
    norm, colours = LogNorm(depths[0], depths[-1]), ListedColormap(colormaps[COLOURS](np.linspace(0, 0.88, 256)))
    figure = new_figure(1.0 + 1.75 * len(shown))
    grid = figure.subplots(len(shown), len(data.ends), sharex=True, sharey=True, squeeze=False)
    texts, drawn = [], False
    for row, group in zip(grid, shown, strict=True):
        for depth, configuration in group.by_depth.items():
            rows = data.rows(configuration)
            columns = [f"layer.{layer}.{STATISTIC}" for layer in layers_of(rows.iloc[0])]
            ends = []
            for axes, epoch in zip(row, (0, rows["epoch"].max()), strict=False):
                values = rows.loc[rows["epoch"] == epoch, columns].apply(within)
                medians = values.median(skipna=False)
                drawn |= bool((medians > 0).any())
                axes.plot(range(1, depth + 1), medians.where(medians > 0), color=colours(norm(depth)))
                ends.append(f"{number(medians.iloc[0], P)} to {number(medians.iloc[-1], P)}")
            of = ", ".join(f"at the {at} {end}" for at, end in zip(data.ends, ends, strict=True))
            texts.append(f"{group.label}, {depth} layers: {of}")
    if not drawn:
        raise NotDrawn(f"the records have no {STATISTIC} of a layer that is finite and above 0")
    grid[0, 0].set_yscale("log")
    grid[0, 0].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    for axes, group in zip(grid[:, 0], shown, strict=True):
        axes.set_title(group.label, loc="left", fontsize=9)
    # In two lines where one would be longer than the figure is high.
    figure.supylabel(f"rms of the loss's gradient{' ' if len(shown) > 1 else chr(10)}in the layer", fontsize=10)
    for axes, when in zip(grid[-1], data.ends.values(), strict=True):
        axes.set_xlabel(f"layer,\n{when}")
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=grid, location="bottom", shrink=0.8, aspect=40, pad=0.01)
    depth_ticks(bar.ax.xaxis, depths)
    bar.set_label("layers of the network (log scale)")
    more = f" The first {MOST} of {len(data.depths)} groups are shown." if len(data.depths) > MOST else ""
    return Drawing(
        figure,
        "The root mean square of the loss's gradient (without the penalty) over the parameters of each layer, from "
        "the input on: a line for each network, coloured by its depth, and a row of panels for each group of "
        "configurations that differ in depth alone. Lines are medians over the seeds, broken where the gradient is "
        f"exactly 0 or not finite.{more}",
        f"Curves of the gradient's size from the first layer to the last, medians over the seeds. {'; '.join(texts)}.",
    )


FIGURE = Kind("Gradient by layer and depth", place=31, draw=draw)
