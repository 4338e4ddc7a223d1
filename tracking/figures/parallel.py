"""Parallel coordinates: every complete configuration as a line through its searched values and its result."""

from __future__ import annotations

import math
import textwrap

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from tracking.figures.data import Axis, FigureData
from tracking.figures.kind import Drawing, Kind
from tracking.figures.lines import described, symbol
from tracking.figures.style import COLOURS, NotDrawn, axis_label, new_figure
from tracking.verdict.tables import number
from trainers.members import alpha_acts

LEAST = 3  # lines
TICKS = 5


def draw(data: FigureData) -> Drawing:
    """An upright axis per searched field and one for the result; the best lines are on top."""
    metric, tried, searched = data.objective[0], data.tried, data.searched.axes
    if not searched:
        raise NotDrawn("nothing was searched")
    if len(tried) < LEAST:
        raise NotDrawn(f"it takes {LEAST} complete searched configurations, and there are {len(tried)}")
    values = tried["value"].to_numpy(dtype=np.float64)
    result = Axis(metric, float(values.min()), float(values.max()))
    heights = [_heights(axis, _searched(tried, axis.name)) for axis in searched]
    heights.append(_heights(result, tried["value"]))
    figure = new_figure(3.6)
    axes = figure.subplots()
    norm = Normalize(result.low, result.high)
    lines = [np.column_stack([np.arange(len(heights)), row]) for row in np.column_stack(heights)]
    axes.add_collection(LineCollection(lines, colors=colormaps[COLOURS](norm(values)), linewidths=1.1, alpha=0.8))
    for place, axis in enumerate((*searched, result)):
        _upright(axes, place, axis, width=max(10, 52 // len(heights)), last=place == len(searched))
    axes.plot(*lines[-1].T, color="#D55E00", linewidth=2.4)
    axes.set_xlim(-0.25, len(heights) - 1 + 0.3)
    axes.set_ylim(-0.03, 1.03)
    axes.axis("off")
    best = tried.iloc[-1]
    through = described({axis.name: best[axis.name] for axis in searched})
    return Drawing(
        figure,
        "One line per complete searched configuration, from its searched values to its result on the right, coloured "
        "by that result (bright is high). The thick line is the best.",
        f"{len(tried)} lines. The best, {number(best['value'])}, goes through {through}.",
    )


def _searched(tried: pd.DataFrame, name: str) -> pd.Series[float]:
    """The values of one field, NaN where it was not searched: alpha beside relu, which rescaling does not change."""
    if name != "alpha":
        return tried[name]
    acts = [alpha_acts(*both) for both in zip(tried["activation"], tried["scaling"], strict=True)]
    return tried[name].where(np.array(acts))


def _heights(axis: Axis, values: pd.Series[float]) -> NDArray[np.float64]:
    """Where on its axis each value lies, 0 to 1; NaN for one outside or not searched: the line is broken there."""
    return np.array([_place(axis, value) for value in values], dtype=np.float64)


def _place(axis: Axis, value: float) -> float:
    if axis.choices:
        return axis.choices.index(value) / max(1, len(axis.choices) - 1) if value in axis.choices else math.nan
    if not axis.low <= value <= axis.high:
        return math.nan
    if axis.low == axis.high:
        return 0.5
    if axis.log:
        return math.log(value / axis.low) / math.log(axis.high / axis.low)
    return (value - axis.low) / (axis.high - axis.low)


def _upright(axes: Axes, place: int, axis: Axis, width: int, last: bool) -> None:
    axes.axvline(place, ymin=0.03 / 1.06, ymax=1.03 / 1.06, color="black", linewidth=0.8)
    label = axis_label(axis.name) if last else symbol(axis.name) + (" (log)" if axis.log else "")
    axes.text(place, 1.07, textwrap.fill(label, width), ha="center", va="bottom", fontweight="bold")
    for height, text in _ticks(axis):
        axes.plot([place - 0.015, place + 0.015], [height, height], color="black", linewidth=0.8)
        axes.annotate(
            text,
            (place, height),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8},
        )


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """(height, text): all choices, decades where there are several, else some values from low to high."""
    if axis.choices:
        return [(_place(axis, c), str(c)) for c in axis.choices]  # type: ignore[arg-type]
    if axis.low == axis.high:
        return [(0.5, f"{axis.low:.3g}")]
    if axis.log and axis.high / axis.low >= 100:
        decades = range(math.ceil(math.log10(axis.low) - 1e-9), math.floor(math.log10(axis.high) + 1e-9) + 1)
        values = [10.0**d for d in decades][:: 1 + len(decades) // 8]
    else:
        values = (np.geomspace if axis.log else np.linspace)(axis.low, axis.high, TICKS).tolist()
    percent = axis.name.endswith("accuracy")
    return [(_place(axis, v), f"{v:.1%}" if percent else f"{v:.3g}") for v in values]


FIGURE = Kind("Parallel coordinates", place=70, draw=draw, each_objective=True)
