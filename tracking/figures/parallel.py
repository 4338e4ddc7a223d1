"""Parallel coordinates: every complete configuration as a line through its searched values and its result."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from tracking.figures.album import Drawing, Kind
from tracking.figures.data import Axis, FigureData, described, symbol, text_of
from tracking.figures.style import COLOURS, NotDrawn, axis_label, new_figure
from tracking.verdict.tables import number

LEAST = 3  # lines
TICKS = 5


def draw(data: FigureData) -> Drawing:
    """An upright axis per searched field and one for the result; the best lines are on top."""
    tried, searched = data.tried, data.axes
    if not searched:
        raise NotDrawn("nothing was searched")
    if len(tried) < LEAST:
        raise NotDrawn(f"it takes {LEAST} complete searched configurations, and there are {len(tried)}")
    values = tried["value"]
    result = Axis(data.objective.name, float(values.min()), float(values.max()))
    heights = [
        *(heights_of(axis, tried[axis.name].where(~tried.index.isin(axis.idle)).tolist()) for axis in searched),
        heights_of(result, values),
    ]
    figure, narrow = new_figure(3.6), len(heights) > 5
    axes = figure.subplots()
    colours = colormaps[COLOURS](Normalize(result.low, result.high)(values))
    lines = [np.column_stack([np.arange(len(heights)), row]) for row in np.column_stack(heights)]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.1, alpha=0.8))
    for place, axis in enumerate((*searched, result)):
        label = axis_label(axis.name) if axis is result else symbol(axis.name) + " (log)" * axis.log
        _upright(axes, place, axis, textwrap.fill(label, max(10, 52 // len(heights)), break_long_words=False), narrow)
    axes.plot(*lines[-1].T, color="#D55E00", linewidth=2.4)
    axes.set_xlim(-0.25, len(heights) - 1 + 0.3)
    axes.set_ylim(-0.03, 1.03)
    axes.axis("off")
    best = tried.iloc[-1]
    through = described({axis.name: best[axis.name] for axis in searched if best.name not in axis.idle})
    return Drawing(
        figure,
        "One line per complete searched configuration, from its searched values to its result on the right, coloured "
        f"by that result (bright is high). The thick line is the best.{data.which_best}",
        f"{len(tried)} lines. The best, {number(best['value'])}, goes through {through}.",
    )


def heights_of(axis: Axis, values: Sequence[Any] | pd.Series[float]) -> NDArray[np.float64]:
    """Where on its axis each value lies, 0 to 1; NaN for one outside or not searched: the line is broken there."""
    if axis.choices:
        places = {choice: place / max(1, len(axis.choices) - 1) for place, choice in enumerate(axis.choices)}
        return np.array([places.get(value, math.nan) for value in values])
    inside = np.array([value if axis.low <= value <= axis.high else math.nan for value in values], dtype=np.float64)
    if axis.low == axis.high:
        return np.where(np.isnan(inside), math.nan, 0.5)
    if axis.log:
        return np.log(inside / axis.low) / math.log(axis.high / axis.low)
    return (inside - axis.low) / (axis.high - axis.low)


def _upright(axes: Axes, place: int, axis: Axis, label: str, narrow: bool) -> None:
    size = 8.0 if narrow else 10.0
    axes.axvline(place, ymin=0.03 / 1.06, ymax=1.03 / 1.06, color="black", linewidth=0.8)
    axes.text(place, 1.07, label, ha="center", va="bottom", fontweight="bold", fontsize=size)
    values = ticks_of(axis)
    box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
    style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": min(size, 8.5), "bbox": box}
    for value, height in zip(values, heights_of(axis, values).tolist(), strict=True):
        axes.plot([place - 0.015, place + 0.015], [height, height], color="black", linewidth=0.8)
        text = format(value, ".1%") if axis.name.endswith("accuracy") else text_of(value)
        axes.annotate(text.replace("_", "_\n") if narrow else text, (place, height), (4, 0), **style)


def ticks_of(axis: Axis) -> Sequence[str | float]:
    """All choices, decades where there are several, else some values from low to high."""
    if axis.choices:
        return axis.choices
    if axis.low == axis.high:
        return [axis.low]
    if axis.log and axis.high / axis.low >= 100:
        decades = range(math.ceil(math.log10(axis.low) - 1e-9), math.floor(math.log10(axis.high) + 1e-9) + 1)
        return [10.0**d for d in decades][:: 1 + len(decades) // 8]
    ticks = (np.geomspace if axis.log else np.linspace)(axis.low, axis.high, TICKS).tolist()
    return sorted({*map(round, ticks)}) if axis.integer else list(ticks)


FIGURE = Kind("Parallel coordinates", place=70, draw=draw, each_objective=True)
