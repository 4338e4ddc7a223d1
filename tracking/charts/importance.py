"""Which searched fields the result depends on, as bars."""

from __future__ import annotations

from tracking.charts.chart import Chart, ChartData, Kind
from tracking.charts.style import layout, numbers, plain
from tracking.figures.data import symbol
from tracking.figures.style import PALETTE, NotDrawn
from tracking.verdict.tables import SHARE, number


def draw(data: ChartData) -> Chart:
    """A bar per field, the largest on top, with its share."""
    names, metric = [axis.name for axis in data.records.axes], data.records.objective.name
    if len(names) < 2:
        raise NotDrawn(f"only {symbol(names[0])} was searched" if names else "nothing was searched")
    if not (importance := data.records.importance.get(metric)):
        raise NotDrawn("too few searched configurations are complete, or the best do not stand out")
    ordered = dict(sorted(importance.items(), key=lambda item: -item[1]))
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": numbers(ordered.values()),
        "y": [plain(symbol(name)) for name in ordered],
        "text": [number(share, SHARE) for share in ordered.values()],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": PALETTE[0]},
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
    }
    return Chart(
        [bars],
        layout(
            30 * len(ordered) + 40,
            xaxis={"tickformat": ".0%", "range": [0, 1.12], "title": {"text": "share of the importance"}},
            yaxis={"autorange": "reversed", "automargin": True, "type": "category"},
        ),
        f"How much each parameter decides whether a configuration is among the best by {metric}: Optuna's PED-ANOVA "
        "over the complete configurations. It shows how much a parameter matters within the searched range, not which "
        "value is good.",
        f"Bars: {', '.join(f'{name} {number(share, SHARE)}' for name, share in ordered.items())}.",
    )


CHART = Kind("Parameter importance", draw, each_objective=True)
