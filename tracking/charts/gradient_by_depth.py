"""How large the gradient is from layer to layer, in networks of different depth: where a sweep varies it."""

from __future__ import annotations

import math
from typing import Any

from tracking.charts.chart import Chart, ChartData, Kind, Trace
from tracking.charts.style import above_zero, axis_key, layout, log_axis, numbered, panels, scale, wrapped
from tracking.figures.data import within
from tracking.figures.gradient_by_depth import MOST, STATISTIC
from tracking.figures.style import NotDrawn
from tracking.tidy import layers_of
from tracking.verdict.tables import P, number

HEIGHT = 190


def draw(data: ChartData) -> Chart:
    """A panel at the start and one at the end per group that differs in depth alone; a line per depth."""
    records = data.records
    if not (shown := records.depths[:MOST]):
        raise NotDrawn("no two complete configurations differ in depth alone")
    depths = sorted({depth for group in shown for depth in group.by_depth})
    ends = records.ends
    names = [wrapped(f"{group.label}, {when}", 44) for group in shown for when in ends.values()]
    domains, titles, height = panels(names, HEIGHT)
    traces: list[Trace] = []
    axes: dict[str, Any] = {}
    texts = []
    named = set()
    for row, group in enumerate(shown):
        for depth, configuration in group.by_depth.items():
            rows = records.rows(configuration)
            layers = [*layers_of(rows.iloc[0])]
            sizes = []
            for place, epoch in enumerate((0, rows["epoch"].max())[: len(ends)], len(ends) * row):
                values = rows.loc[rows["epoch"] == epoch, [f"layer.{layer}.{STATISTIC}" for layer in layers]].apply(
                    within
                )
                medians = values.median(skipna=False)
                share = math.log(depth / depths[0]) / math.log(depths[-1] / depths[0])
                traces.append(
                    {
                        "mode": "lines+markers" if depth == 1 else "lines",
                        "x": [*range(1, depth + 1)],
                        "y": above_zero(medians),
                        "text": layers,
                        "line": {"color": scale(0.15 + 0.7 * share), "width": 1.8},
                        "name": f"{depth} layers" if depth > 1 else "1 layer",
                        "legendgroup": str(depth),
                        "showlegend": depth not in named,
                        "hovertemplate": "%{fullData.name}, %{text}: %{y:.3g}<extra></extra>",
                        "yaxis": numbered("y", place),
                    }
                )
                named.add(depth)
                sizes.append(f"{number(medians.iloc[0], P)} to {number(medians.iloc[-1], P)}")
            of = ", ".join(f"at the {at} {size}" for at, size in zip(ends, sizes, strict=True))
            texts.append(f"{group.label}, {depth} layers: {of}")
    if all(y is None for trace in traces for y in trace["y"]):
        raise NotDrawn(f"the records have no {STATISTIC} of a layer that is finite and above 0")
    for place, domain in enumerate(domains):
        axes[axis_key("y", place)] = log_axis(0.0, domain=domain) | ({"matches": "y"} if place else {})
    x = {"anchor": numbered("y", len(domains) - 1), "title": {"text": "layer, from the input on"}, "zeroline": False}
    more = f" The first {MOST} of {len(records.depths)} groups are shown." if len(records.depths) > MOST else ""
    return Chart(
        traces,
        layout(height, -(-len(depths) // 3), annotations=titles, xaxis=x, **axes),
        "The root mean square of the loss's gradient (without the penalty) in each layer, from the input (left) to the "
        "output: a line per network, in a panel those that differ in depth alone, the median over the seeds. Nothing "
        f"is drawn where it is exactly 0 or not finite.{more}",
        "Curves over the layers of each network, from the first to the last, medians over the seeds. "
        f"{'. '.join(texts)}.",
    )


CHART = Kind("Gradient by layer and depth", draw)
