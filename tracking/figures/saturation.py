"""How many units of each layer are saturated, before the first step and at the end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tracking.figures.layers import layer_names
from tracking.figures.lines import Line, lines
from tracking.figures.style import RC, NotDrawn, legend_below, new_figure
from tracking.results import Outcome


@rc_context(rc=RC)
def saturation_figure(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome] | None = None,
    *,
    objective: tuple[str, str] = ("validation.accuracy", "maximize"),
) -> Figure:
    """Two panels, the first and the last epoch: layers to the right, a point and an interquartile bar a line.

    The output is left out: it has no activation. Raises NotDrawn.
    """
    chosen = lines(frame, outcomes, objective)
    layers = list(dict.fromkeys(name for line in chosen for name in _activated(frame, line)))
    if not layers:
        raise NotDrawn("the records have no saturation of a layer")
    figure = new_figure(4.4 + 0.19 * len(chosen))
    column = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, when in zip(column, ("first", "last"), strict=True):
        for place, line in enumerate(chosen):
            _line(axes, frame, line, layers, when, (place - (len(chosen) - 1) / 2) * min(0.1, 0.6 / len(chosen)))
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel("saturated units")
    column[0].set_title("before the first step", loc="left")
    column[1].set_title("after the last epoch", loc="left")
    column[1].set_xticks(range(len(layers)), layers, rotation=45, ha="right", rotation_mode="anchor")
    column[1].set_xlabel("layer, from the input to the output")
    legend_below(figure, column[0])
    return figure


def _activated(frame: pd.DataFrame, line: Line) -> list[str]:
    own = frame[frame["configuration"] == line.configuration]
    return [n for n in layer_names(own) if n != "output" and f"layer.{n}.saturated" in own]


def _line(axes: Axes, frame: pd.DataFrame, line: Line, layers: list[str], when: str, shift: float) -> None:
    own = frame[frame["configuration"] == line.configuration]
    rows = own[own["epoch"] == (0 if when == "first" else own["epoch"].max())]
    shown = [layer for layer in _activated(frame, line) if np.isfinite(rows[f"layer.{layer}.saturated"]).all()]
    values = rows[[f"layer.{layer}.saturated" for layer in shown]]
    mean, q25, q75 = values.mean(), values.quantile(0.25), values.quantile(0.75)
    x = np.array([layers.index(layer) for layer in shown]) + shift
    axes.plot(x, mean, line.dashes, marker="o", markersize=3.5, color=line.colour, label=line.label, linewidth=1.0)
    axes.vlines(x, q25, q75, color=line.colour, alpha=0.5, linewidth=2.5)
