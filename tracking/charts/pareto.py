"""Pareto front: which configurations no other beats in all objectives at once."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from tracking.charts.chart import Chart, ChartData, Kind, Trace, pointed
from tracking.charts.style import (
    BEST_COLOUR,
    axis_key,
    layout,
    metric_label,
    numbered,
    numbers,
    panels,
    value_axis,
)
from tracking.figures.style import PALETTE, NotDrawn
from tracking.verdict.tables import count, number

HEIGHT = 300
MOST = 4  # objectives, of which each pair has a panel


def draw(data: ChartData) -> Chart:
    """A panel for each pair of objectives: a dot per complete configuration, those of the front in colour."""
    objectives = list(data.objectives)
    if len(objectives) < 2:
        raise NotDrawn("there is one objective")
    table, front = data.records.pareto()
    if not len(front):
        raise NotDrawn("no configuration is complete in all objectives yet")
    others, on = table[~table.index.isin(front.index)], " on fresh seeds" * bool(data.records.again)
    pairs = [*combinations(objectives[:MOST], 2)]
    ways = {
        o.name: f"{metric_label(o.name)} ({'higher' if o.direction == 'maximize' else 'lower'} is better)"
        for o in objectives
    }
    domains, titles, height = panels([ways[up.name].replace(" (", "<br>(") for _, up in pairs], HEIGHT, gap=46)
    traces: list[Trace] = []
    axes: dict[str, Any] = {}
    for place, (across, up) in enumerate(pairs):
        kinds = (("others", others, PALETTE[0], 7), (f"Pareto front{on}", front, BEST_COLOUR, 11))
        for name, of_kind, shade, size in kinds:
            is_front, shown = of_kind is front, of_kind.sort_values(across.name)
            traces.append(
                {
                    "mode": "lines+markers" if is_front and len(objectives) == 2 else "markers",
                    "x": numbers(shown[across.name]),
                    "y": numbers(shown[up.name]),
                    **pointed(shown.index.tolist()),
                    "marker": {"color": shade, "size": size},
                    "line": {"color": shade, "width": 1.2, "dash": "dot"},
                    "name": name,
                    "legendgroup": name,
                    "showlegend": place == 0,
                    "xaxis": numbered("x", place),
                    "yaxis": numbered("y", place),
                }
            )
        x = value_axis(across.name, title={"text": ways[across.name]}, anchor=numbered("y", place))
        axes[axis_key("x", place)] = x
        axes[axis_key("y", place)] = value_axis(up.name, domain=domains[place], anchor=numbered("x", place))
    best = "; ".join(
        f"{data.records.outcomes[int(str(n))].name}: {', '.join(f'{name} {number(v)}' for name, v in row.items())}"
        for n, row in front.head(5).to_dict("index").items()
    )
    more = f" The first {MOST} of {len(objectives)} objectives are shown." * (len(objectives) > MOST)
    return Chart(
        traces,
        layout(height + 10, 1, annotations=titles, **axes),
        "Means over the seeds of the objectives. No configuration is at least as good in all of them as one of the "
        f"front{on} and better in one; differences may be noise.{more}",
        f"{count(len(table), 'dot')}, {len(front)} on the front{on}: {best}.",
    )


CHART = Kind("Pareto front", draw)
