"""How large the gradient is in each layer over the epochs: a heat map on a log scale for each line.

Where it fades from the output towards the input, depth is what makes it vanish; where it is dark everywhere at once,
saturation is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tracking.figures.lines import Line, lines
from tracking.figures.style import COLOURS, MISSING_COLOUR, RC, NotDrawn, new_figure
from tracking.results import Outcome
from trainers.regimes import network

STATISTIC = "gradient.data.rms"
ZERO_COLOUR = "#ffffff"
FAINTEST = 0.005  # of the cells may lie below the scale, so that a few that are next to 0 do not take all of it


@rc_context(rc=RC)
def layers_figure(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome] | None = None,
    *,
    statistic: str = STATISTIC,
    objective: tuple[str, str] = ("validation.accuracy", "maximize"),
) -> Figure:
    """A panel a line: epochs to the right, layers from the input (top) to the output, the median over the seeds.

    White is exactly 0 or below the scale, grey is not finite. Raises NotDrawn.
    """
    found = [(line, *layer_table(frame, line, statistic)) for line in lines(frame, outcomes, objective)]
    found = [(line, names, table) for line, names, table in found if names]
    sizes = [table[np.isfinite(table) & (table > 0)] for _, _, table in found]
    positive = np.concatenate(sizes) if sizes else np.array([])
    if not len(positive):
        raise NotDrawn(f"the records have no {statistic} of a layer that is finite and above 0")
    top = float(positive.max())
    least = float(np.quantile(positive, FAINTEST)) / 1.0001
    norm = LogNorm(least, top)
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    depth = max(len(names) for _, names, _ in found)
    figure = new_figure(rows * (0.5 + 0.15 * depth) + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    for axes, (line, names, table) in zip(grid.flat, found, strict=False):
        image = _panel(axes, line, names, table, norm)
    for axes in grid.flat[max(0, len(found) - columns) : len(found)]:
        axes.set_xlabel("epoch")
    clipped = positive.min() < least or any((table == 0).any() for _, _, table in found)
    bar = figure.colorbar(
        image, ax=grid, location="bottom", shrink=0.8, aspect=40, extend="min" if clipped else "neither"
    )
    if top < 30 * least:
        # Else matplotlib names every step of a short scale.
        steps = [m * 10.0**d for d in range(-40, 40) for m in (1, 2, 5) if least <= m * 10.0**d <= top]
        bar.set_ticks(steps, labels=[f"{step:g}" for step in steps])
        bar.minorticks_off()
    bar.set_label("rms of the loss's gradient in the layer (log scale)")
    return figure


def layer_table(frame: pd.DataFrame, line: Line, statistic: str) -> tuple[list[str], NDArray[np.float64]]:
    """(layers from the input to the output, medians over the seeds): float64 (layers, epochs).

    A diverged member's are NaN, and then so is the median.
    """
    own = frame[frame["configuration"] == line.configuration]
    names = [name for name in layer_names(own) if f"layer.{name}.{statistic}" in own]
    columns = [f"layer.{name}.{statistic}" for name in names]
    by_epoch = [rows[columns].to_numpy(dtype=np.float64) for _, rows in own.groupby("epoch")]
    return names, np.stack([np.median(values, axis=0) for values in by_epoch], axis=1)


def layer_names(own: pd.DataFrame) -> list[str]:
    """The layers with parameters of one configuration's network, from the input to the output."""
    first = own.iloc[0]
    reading = {"separable": first["convolution"] == "separable", "dense_bias": bool(first["dense_bias"])}
    return [layer.name for layer in network(str(first["regime"]), **reading)]


def _panel(axes: Axes, line: Line, names: Sequence[str], table: NDArray[np.float64], norm: LogNorm) -> AxesImage:
    colours = colormaps[COLOURS].with_extremes(bad=MISSING_COLOUR, under=ZERO_COLOUR)
    # LogNorm masks what is not positive; 0 is to be seen as below the scale, only what is not finite as missing.
    below = np.where(table <= 0, float(norm.vmin or 0.0) / 10, table)
    image = axes.imshow(
        np.ma.masked_invalid(below),
        cmap=colours,
        norm=norm,
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, table.shape[1] - 0.5, len(names) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.grid(False)
    axes.set_title(line.label if len(line.label) < 28 else line.name, loc="left", fontsize=9)
    axes.spines["left"].set(color=line.colour, linewidth=3.5)
    return image
