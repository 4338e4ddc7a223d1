"""Optimization history: each result in the order in which they came, and the best so far."""

from __future__ import annotations

from tracking.charts.chart import Chart, ChartData, Kind, pointed
from tracking.charts.style import BEST_COLOUR, GREY, layout, metric_label, numbers, value_axis
from tracking.figures.style import PALETTE, NotDrawn
from tracking.verdict.tables import number


def draw(data: ChartData) -> Chart:
    """A dot per configuration that ended, arms in another colour, crosses where pruned, a step at each new best."""
    objective, metric = data.records.objective, data.records.objective.name
    values = data.values.dropna()
    ended = sorted(
        (n for n in map(int, values.index) if data.configurations[n].order >= 0),
        key=lambda n: data.configurations[n].order,
    )
    place = {n: i for i, n in enumerate(ended, 1)}
    complete = [n for n in ended if data.state(n) == "complete"]
    if not complete:
        raise NotDrawn("no configuration is complete yet")
    so_far = values[complete].cummax() if objective.direction == "maximize" else values[complete].cummin()
    groups = {
        "searched": ([n for n in complete if not data.configurations[n].arm], {"size": 8, "color": PALETTE[0]}),
        "arms": (
            [n for n in complete if data.configurations[n].arm],
            {"size": 9, "color": PALETTE[1], "symbol": "square"},
        ),
        "pruned": (
            [n for n in ended if data.state(n) == "pruned"],
            {"size": 8, "symbol": "x-thin", "line": {"color": GREY, "width": 2}},
        ),
    }
    step = {
        "mode": "lines",
        "line": {"shape": "hv", "color": BEST_COLOUR, "width": 2.2},
        "x": [*(place[n] for n in complete), len(ended)],
        "y": numbers([*so_far, so_far.iloc[-1]]),
        "name": "best so far",
        "hovertemplate": "best so far: %{y}<extra></extra>",
    }
    dots = [
        {
            "mode": "markers",
            "x": [place[n] for n in shown],
            "y": numbers(values[shown]),
            **pointed(shown),
            "marker": look,
            "name": name,
        }
        for name, (shown, look) in groups.items()
        if shown
    ]
    return Chart(
        [step, *dots],
        layout(
            300,
            2,
            xaxis={"title": {"text": "configurations as they ended"}, "zeroline": False},
            yaxis=value_axis(metric, title={"text": metric_label(metric)}),
        ),
        f"The mean over the seeds of {metric} of each configuration in the order in which they ended, and the best of "
        "the complete ones so far. A cross is at the last value of a pruned one.",
        f"{len(complete)} complete of {len(ended)} ended. The best so far is {number(so_far.iloc[0])} after the first "
        f"and {number(so_far.iloc[-1])} at the end, {number(so_far.iloc[len(so_far) // 2])} in the middle.",
    )


CHART = Kind("Optimization history", draw, each_objective=True)
