"""How many units of each layer are saturated, before the first step and at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tracking.figures.data import FigureData
from tracking.figures.kind import Drawing, Kind
from tracking.figures.lines import Line, lines
from tracking.figures.style import NotDrawn, legend_below, new_figure, percent
from tracking.tidy import layers_of
from tracking.verdict.tables import SHARE, number


def draw(data: FigureData) -> Drawing:
    """Two panels, the first and the last epoch: layers to the right, per line a point and an interquartile bar.

    The output is left out: it has no activation.
    """
    chosen = lines(data)
    layers = list(dict.fromkeys(name for line in chosen for name in _activated(data.rows(line.configuration))))
    if not layers:
        raise NotDrawn("the records have no saturation of a layer")
    figure = new_figure(4.4 + 0.19 * len(chosen))
    column = figure.subplots(2, 1, sharex=True, sharey=True)
    shares: dict[str, list[str]] = {}
    for place, line in enumerate(chosen):
        shift = (place - (len(chosen) - 1) / 2) * min(0.1, 0.6 / len(chosen))
        for axes, rows in zip(column, data.ends(line.configuration), strict=True):
            _line(axes, rows, line, layers, shift)
            means = rows[[_column(name) for name in _activated(rows)]].mean()
            shares.setdefault(line.name, []).append(number(float(means.mean()), SHARE))
    for axes, title in zip(column, ("before the first step", "after the last epoch"), strict=True):
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(percent())
        axes.set_ylabel("saturated units")
        axes.set_title(title, loc="left")
    column[1].set_xticks(range(len(layers)), layers, rotation=45, ha="right", rotation_mode="anchor")
    column[1].set_xlabel("layer, from the input to the output")
    legend_below(figure, column[0])
    ends = "; ".join(f"{name} {start} at the start, {end} at the end" for name, (start, end) in shares.items())
    return Drawing(
        figure,
        "The share of a layer's units (times images) in the flat part of their activation, |f'| < 0.01 sup |f'|, "
        "before the first step and after the last epoch. Points are means over the seeds, bars the interquartile "
        "range.",
        f"Saturated units by layer; on average over the layers {ends}.",
    )


def _column(layer: str) -> str:
    return f"layer.{layer}.saturated"


def _activated(rows: pd.DataFrame) -> list[str]:
    names = layers_of(rows.iloc[0]) if len(rows) else ()
    return [name for name in names if name != "output" and _column(name) in rows]


def _line(axes: Axes, rows: pd.DataFrame, line: Line, layers: Sequence[str], shift: float) -> None:
    shown = [layer for layer in _activated(rows) if np.isfinite(rows[_column(layer)]).all()]
    values = rows[[_column(layer) for layer in shown]]
    x = np.array([layers.index(layer) for layer in shown]) + shift
    axes.plot(
        x, values.mean(), line.dashes, marker="o", markersize=3.5, color=line.colour, label=line.label, linewidth=1
    )
    axes.vlines(x, values.quantile(0.25), values.quantile(0.75), color=line.colour, alpha=0.5, linewidth=2.5)


FIGURE = Kind("Saturation by layer", place=40, draw=draw)
