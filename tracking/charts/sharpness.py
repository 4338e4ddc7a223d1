"""How sharp the loss is over the epochs, with 2 / learning rate beside it, and how noisy its gradient is."""

from __future__ import annotations

from dataclasses import replace

from tracking.charts.bands import Panel, bands_chart
from tracking.charts.chart import Chart, ChartData, Kind
from tracking.charts.style import GREY, LEGEND, above_zero
from tracking.figures.sharpness import CAPTION, EDGE_NAME, PANELS, edges, measured, spoken


def draw(data: ChartData) -> Chart:
    """A panel for the largest eigenvalue, with the edge, and one for the noise scale; a line per arm."""
    lines = measured(data.records)
    panels = [Panel(what, "", [(line, line.course(m)) for line in lines], log=True) for m, what in PANELS.items()]
    epochs = "epoch (0: before the first step)"
    chart = bands_chart(panels, epochs, "epoch %{x}: ", CAPTION + data.records.which_best, spoken(lines))
    dotted = [
        {
            "mode": "lines+markers",
            "x": edge.index.tolist(),
            "y": above_zero(edge),
            "marker": {"size": 4},
            "line": {"dash": "dot", "width": 1.5, "color": shade or GREY},
            "name": EDGE_NAME,
            "legendgroup": EDGE_NAME,
            "showlegend": not place,
            "hovertemplate": f"{EDGE_NAME}, epoch %{{x}}: %{{y:.4g}}<extra></extra>",
            "yaxis": "y",
        }
        for place, (edge, shade) in enumerate(edges(lines))
    ]
    taller = {**chart.layout, "height": chart.layout["height"] + LEGEND}  # a line more in the legend
    return replace(chart, traces=[*chart.traces, *dotted], layout=taller)


CHART = Kind("Sharpness and gradient noise", draw)
