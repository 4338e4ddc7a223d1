"""The objective over alpha and r: every complete point with its values, and where pruned ones were."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.tri import LinearTriInterpolator, Triangulation

from tracking.charts.chart import Chart, ChartData, Kind, Trace, pointed
from tracking.charts.style import BEST_COLOUR, GREY, layout, metric_label, numbers
from tracking.figures.surface import LEAST, PAPER, surface
from tracking.verdict.tables import count, number

SCALES = (0.01, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 100, 1000)  # ticks of alpha
GRID = 80  # steps of the interpolation in each direction


def draw(data: ChartData) -> Chart:
    """Dots on log scales, coloured by their mean over the seeds, with linear interpolation between them."""
    points, metric = surface(data.records), data.records.objective.name
    best = points[points["best"]]
    percent = {"tickformat": ".0%"} if metric.endswith("accuracy") else {}
    bar: dict[str, Any] = {
        "orientation": "h",
        "y": 1,
        "yanchor": "bottom",
        "thickness": 12,
        "ypad": 4,
        "len": 0.9,
        "title": {"text": f"{metric_label(metric)},<br>mean over the seeds", "side": "top"},
        **percent,
    }
    values = numbers(points["value"])
    coloraxis = {"colorscale": "Viridis", "colorbar": bar}
    shared = {"coloraxis": "coloraxis"}
    traces: list[Trace] = [t | shared for t in _between(points)]
    traces.append(
        {
            **_at(points),
            "marker": {"color": values, "size": 10, "line": {"color": "#ffffff", "width": 1}, **shared},
            **pointed(points.index.tolist()),
            "showlegend": False,
        }
    )
    firsts = data.records.firsts
    pruned = firsts[[data.state(int(n)) == "pruned" for n in firsts.index]]
    pruned = pruned[(pruned["alpha"] > 0)]
    zero = 10.0 ** float(points["x"].min()) if (points["r"] == 0).any() else None
    pruned = pruned[(pruned["r"] > 0) | (zero is not None)]
    if len(pruned):
        x = np.log10(pruned["r"].where(pruned["r"] > 0, zero))
        cross = {"symbol": "x-thin", "size": 9, "line": {"color": GREY, "width": 2}}
        where = _at(pruned.assign(x=x, y=np.log10(pruned["alpha"])))
        traces.append({**where, "marker": cross, "name": "pruned", **pointed(pruned.index.tolist())})
    ring = {"hoverinfo": "skip", "showlegend": True}
    near = {"symbol": "circle-open", "size": 16, "line": {"width": 1.5}, "color": GREY}
    traces.append(
        {**_at(points[points["near"]]), **ring, "marker": near, "name": "at most a standard error worse than the best"}
    )
    diamond = {"symbol": "diamond-open", "size": 22, "line": {"width": 2.5}, "color": BEST_COLOUR}
    traces.append({**_at(best), **ring, "marker": diamond, "name": "the best"})
    star = {"symbol": "star", "size": 13, "color": "#ffffff", "line": {"color": "#000000", "width": 1}}
    paper = {"mode": "markers", "x": [PAPER[1]], "y": [PAPER[0]], "hovertemplate": "α = 2, r = 0.01<extra></extra>"}
    traces.append({**paper, "marker": star, "name": "the paper's point: α = 2, r = 0.01"})
    lines = {}
    if zero is not None:
        edge = {"type": "line", "x0": zero * 10**0.5, "x1": zero * 10**0.5, "yref": "paper", "y0": 0, "y1": 1}
        lines["shapes"] = [edge | {"line": {"dash": "dot", "width": 1, "color": GREY}}]
    others = ", ".join(a.name for a in data.records.axes if a.name not in ("alpha", "r"))
    also = f" The dots also differ in {others}: the pointer tells." * bool(others)
    place = ", ".join(f"{name} = {number(best[name].iloc[0], '.3g')}" for name in ("alpha", "r"))
    decades = [10.0**d for d in range(math.ceil(points["x"].min()) - 1, math.floor(points["x"].max()) + 2)]
    decades = [d for d in decades if zero is None or d > zero * 5]
    log = {"type": "log", "automargin": True}
    x_axis = log | {
        "tickvals": [*decades, *([zero] if zero else [])],
        "ticktext": [f"{d:g}" for d in decades] + ["0"] * (zero is not None),
        "title": {"text": "r, the strength of the penalty (log scale)"},
    }
    y_axis = log | {
        "tickvals": SCALES,
        "ticktext": [f"{scale:g}" for scale in SCALES],
        "title": {"text": "α, the scale of the activation (log scale)"},
    }
    below = {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"}
    return Chart(
        traces,
        layout(420, 5, xaxis=x_axis, yaxis=y_axis, coloraxis=coloraxis, **lines) | {"legend": below},
        f"The mean over the seeds of {metric} over alpha and r: one dot per complete configuration, with linear "
        "interpolation between them. The diamond is the best, rings mark those at most one standard error worse, "
        "crosses where configurations were pruned, and the star is the paper's recommendation."
        f"{data.records.which_best}{also}",
        f"{len(points)} points over alpha and r, {count(len(pruned), 'pruned one')}. The best, "
        f"{number(best['value'].iloc[0])}, is at {place}; {int(points['near'].sum())} are at most its standard error "
        "worse.",
    )


def _at(points: pd.DataFrame) -> Trace:
    return {"mode": "markers", "x": numbers(10.0 ** points["x"]), "y": numbers(10.0 ** points["y"])}


def _between(points: pd.DataFrame) -> list[Trace]:
    """The interpolation on a grid; nothing where the points are few or on one straight line."""
    inside = points[points["r"] > 0]
    places = inside[["x", "y"]]
    if len(places.drop_duplicates()) < LEAST or np.linalg.matrix_rank(places - places.mean(), rtol=1e-6) < 2:
        return []
    x, y = (np.linspace(places[axis].min(), places[axis].max(), GRID) for axis in ("x", "y"))
    between = LinearTriInterpolator(Triangulation(inside["x"], inside["y"]), inside["value"])(*np.meshgrid(x, y))
    return [
        {
            "type": "heatmap",
            "x": numbers(10.0**x),
            "y": numbers(10.0**y),
            "z": [numbers(row, 3) for row in between.filled(math.nan).tolist()],
            "zsmooth": "best",
            "opacity": 0.55,
            "hoverinfo": "skip",
        }
    ]


CHART = Kind("Response surface", draw, each_objective=True)
