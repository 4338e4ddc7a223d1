"""How large the gradient's coordinates and the activations of a layer are, epoch by epoch: a ridge for each."""

from __future__ import annotations

from typing import Any

from tracking.charts.chart import Chart, ChartData, Kind, Trace
from tracking.charts.style import GREY, axis_key, colour, faint, layout, numbered, numbers, panels, wrapped
from tracking.figures.ridges import HEIGHT, MIDDLES, MOST_LINES, Ridges, caption, extent, ridges, spoken
from trainers.measurements.histogram import EXPONENTS

# what the pointer tells of each of MIDDLES
DECADES = [f"below 1e{EXPONENTS.start}", *(f"1e{e} to 1e{e + 1}" for e in EXPONENTS), f"at least 1e{EXPONENTS.stop}"]
WHAT = {"activation": "activations", "gradient": "the gradient's coordinates"}


def draw(data: ChartData) -> Chart:
    """A panel per line and layer, one below the other; epochs go down, and later ones are in front."""
    rows = ridges(data.records)
    shown = [ridge for of_line in rows[:MOST_LINES] for ridge in of_line]
    most = max(len(ridge.epochs) for ridge in shown)
    names = [wrapped(f"{ridge.line.name}, {ridge.layer}") for ridge in shown]
    domains, titles, height = panels(names, 20 * most + 30)
    low, high = extent(rows[:MOST_LINES])
    traces: list[Trace] = []
    axes: dict[str, Any] = {}
    for place, ridge in enumerate(shown):
        traces += [t | {"yaxis": numbered("y", place)} for t in _panel(ridge, low - 1.5, not place)]
        epochs = [str(epoch) for epoch in ridge.epochs]
        axes[axis_key("y", place)] = {
            "domain": domains[place],
            "range": [len(epochs) - 0.8, -HEIGHT],
            "tickvals": [*range(len(epochs))],
            "ticktext": epochs,
            "showgrid": False,
            "zeroline": False,
        }
    decades = [d for d in range(low + 2, high + 1) if d % 2 == 0]  # apart from 0
    axes["xaxis"] = {
        "anchor": numbered("y", len(shown) - 1),
        "range": [low - 2.3, high + 0.3],
        "tickvals": [low - 1.5, *decades],
        "ticktext": ["0", *(f"1e{d}" if d else "1" for d in decades)],
        "title": {"text": "absolute value (log scale), by epoch"},
        "zeroline": False,
    }
    return Chart(
        traces,
        layout(height, 1, annotations=titles, barmode="overlay", **axes),
        caption(rows, data.records.which_best),
        spoken(rows),
    )


def _panel(ridge: Ridges, zero: float, first: bool) -> list[Trace]:
    """Of each epoch two ridges, and the bars of what is exactly 0."""
    traces: list[Trace] = []
    x = [float(MIDDLES[0]), *MIDDLES.tolist(), float(MIDDLES[-1])]
    for place, epoch in enumerate(ridge.epochs):
        for of, what in WHAT.items():
            exactly_0, *shares = ridge.shares[of][place].tolist()
            shade = colour(ridge.line) if of == "gradient" else GREY
            shared = {"legendgroup": of, "name": what, "showlegend": False}
            tops = numbers(place - HEIGHT * share for share in shares)
            known = [i for i, share in enumerate(shares) if share > 0]
            area = {
                "mode": "lines",
                "x": x,
                "y": [place, *tops, place],
                "fill": "toself",
                "fillcolor": faint(shade, 0.6),
                "line": {"color": shade, "width": 1},
                "hoverinfo": "skip",
                "showlegend": first and not place,
            }
            dots = {
                "mode": "markers",
                "x": [float(MIDDLES[i]) for i in known],
                "y": [tops[i] for i in known],
                "marker": {"color": shade, "size": 3},
                "customdata": [f"{shares[i]:.1%} of {what}, {DECADES[i]}" for i in known],
                "hovertemplate": f"epoch {epoch}: %{{customdata}}<extra></extra>",
            }
            bar = {
                "type": "bar",
                "x": [zero + (0.3 if of == "gradient" else -0.3)],
                "y": numbers([-0.9 * exactly_0]),
                "base": [place],
                "width": [0.6],
                "marker": {"color": faint(shade, 0.6)},
                "hovertemplate": f"epoch {epoch}: {exactly_0:.1%} of {what} are exactly 0<extra></extra>",
            }
            traces += [shared | area, shared | dots, *([shared | bar] if exactly_0 > 0 else [])]
    return traces


CHART = Kind("Gradients and activations by size", draw)
