"""Parallel coordinates: every complete configuration as a line through its searched values and its result."""

from __future__ import annotations

import math

import numpy as np

from tracking.charts.chart import Chart, ChartData, Kind, Trace, pointed
from tracking.charts.style import BEST_COLOUR, layout, numbers, plain, scale, wrapped
from tracking.figures.data import Axis, described, symbol, text_of
from tracking.figures.parallel import LEAST, heights_of, ticks_of
from tracking.figures.style import NotDrawn, axis_label
from tracking.verdict.tables import number

MOST = 200  # lines


def draw(data: ChartData) -> Chart:
    """An upright axis per searched field and one for the result; the best lines are on top."""
    tried, searched = data.records.tried.iloc[-MOST:], data.records.axes
    if not searched:
        raise NotDrawn("nothing was searched")
    if len(tried) < LEAST:
        raise NotDrawn(f"it takes {LEAST} complete searched configurations, and there are {len(tried)}")
    values = tried["value"]
    result = Axis(data.records.objective.name, float(values.min()), float(values.max()))
    heights = [
        *(heights_of(axis, tried[axis.name].where(~tried.index.isin(axis.idle)).tolist()) for axis in searched),
        heights_of(result, values),
    ]
    rows = np.column_stack(heights)
    # Bright yellow is not seen on white, nor dark violet on black.
    shades = [scale(0.15 + 0.75 * share) if math.isfinite(share) else scale(0.5) for share in rows[:, -1].tolist()]
    traces: list[Trace] = []
    for place, (configuration, row) in enumerate(zip(tried.index.tolist(), rows.tolist(), strict=True)):
        best = place == len(rows) - 1
        traces.append(
            {
                "mode": "lines+markers",
                "y": numbers(row),
                "line": {"color": BEST_COLOUR if best else shades[place], "width": 4 if best else 1.4},
                "marker": {"size": 7 if best else 4},
                **pointed([configuration] * len(row)),
            }
        )
    marks = []
    for place, axis in enumerate((*searched, result)):
        ticks = ticks_of(axis)
        for value, height in zip(ticks, heights_of(axis, ticks).tolist(), strict=True):
            text = format(value, ".1%") if axis.name.endswith("accuracy") else text_of(value)
            where = {"x": place, "y": height, "xanchor": "left", "xshift": 3}
            marks.append({**where, "text": plain(text), "showarrow": False, "font": {"size": 10}})
    names = [plain(symbol(a.name) + " (log)" * a.log).replace(" ", "<br>") for a in searched]
    names.append(wrapped(axis_label(result.name), 16))
    best_row = tried.iloc[-1]
    through = described({axis.name: best_row[axis.name] for axis in searched if best_row.name not in axis.idle})
    x = {"tickvals": [*range(len(names))], "ticktext": names, "side": "top", "range": [-0.15, 1.12 * len(names) - 1]}
    left_out = len(data.records.tried) - len(tried)
    return Chart(
        traces,
        layout(
            360,
            xaxis=x | {"gridwidth": 2, "zeroline": False, "automargin": True, "tickangle": 0},
            yaxis={"visible": False, "range": [-0.04, 1.04]},
            annotations=marks,
            margin={"l": 30, "r": 14, "t": 62, "b": 10},
        ),
        "One line per complete searched configuration, from its searched values to its result on the right, coloured "
        f"by that result (bright is high). The thick line is the best.{data.records.which_best}"
        + f" The {left_out} worst are left out, to keep the page light."
        * bool(left_out),
        f"{len(tried)} lines. The best, {number(best_row['value'])}, goes through {through}.",
    )


CHART = Kind("Parallel coordinates", draw, each_objective=True)
