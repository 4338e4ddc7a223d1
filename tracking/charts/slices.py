"""Slices: the result over each searched field by itself."""

from __future__ import annotations

from typing import Any

from tracking.charts.chart import Chart, ChartData, Kind, Trace, pointed
from tracking.charts.style import (
    GREY,
    axis_key,
    layout,
    log_axis_across,
    numbered,
    numbers,
    panels,
    plain,
    value_axis,
)
from tracking.figures.data import symbol, text_of
from tracking.figures.style import PALETTE, NotDrawn
from tracking.verdict.tables import count

HEIGHT = 170


def draw(data: ChartData) -> Chart:
    """A panel per field: a dot per searched configuration, a cross for a pruned one; not where the field is idle."""
    axes, metric, firsts = data.records.axes, data.records.objective.name, data.records.firsts
    if not axes:
        raise NotDrawn("nothing was searched")
    values = data.values.dropna()
    values = values[[firsts["arm"][n] == "" for n in values.index]]
    groups = {state: [int(n) for n in values.index if data.state(int(n)) == state] for state in ("complete", "pruned")}
    if not any(groups.values()):
        raise NotDrawn("no searched configuration has a result yet")
    titles = [f"over {plain(symbol(axis.name))}{' (log scale)' * axis.log}" for axis in axes]
    domains, labels, height = panels(titles, HEIGHT, gap=34)
    looks = {"complete": {"size": 8, "color": PALETTE[0], "opacity": 0.8}}
    looks["pruned"] = {"symbol": "x-thin", "size": 8, "line": {"color": GREY, "width": 2}}
    traces: list[Trace] = []
    of_layout: dict[str, Any] = {}
    for place, axis in enumerate(axes):
        for state, configurations in groups.items():
            shown = [n for n in configurations if n not in axis.idle]
            if not shown:
                continue
            at = firsts.loc[shown, axis.name].tolist()
            traces.append(
                {
                    "mode": "markers",
                    "x": [plain(text_of(v)) for v in at] if axis.choices else numbers(at),
                    "y": numbers(values[shown]),
                    **pointed(shown),
                    "marker": looks[state],
                    "name": state,
                    "legendgroup": state,
                    "showlegend": place == 0,
                    "xaxis": numbered("x", place),
                    "yaxis": numbered("y", place),
                }
            )
        x: dict[str, Any] = {"anchor": numbered("y", place), "zeroline": False}
        if axis.choices:
            order = [plain(text_of(choice)) for choice in axis.choices]
            x |= {"type": "category", "categoryorder": "array", "categoryarray": order}
        elif axis.log:
            x = log_axis_across(axis.low, axis.high, **x)
        elif axis.integer:
            x["tickformat"] = "d"
            x |= {"dtick": 1} if axis.high - axis.low < 12 else {}
        of_layout[axis_key("x", place)] = x
        y = value_axis(metric, domain=domains[place], anchor=numbered("x", place))
        of_layout[axis_key("y", place)] = y | ({"matches": "y"} if place else {})
    return Chart(
        traces,
        layout(height, 1, annotations=labels, **of_layout),
        f"The mean over the seeds of {metric} over each searched field, whatever the others were: a dot per complete "
        "configuration, a cross at the last value of a pruned one. One without the field is not shown.",
        f"{count(len(groups['complete']), 'complete configuration')} and {len(groups['pruned'])} pruned, over "
        f"{', '.join(symbol(a.name) for a in axes)}.",
    )


CHART = Kind("Slices", draw, each_objective=True)
