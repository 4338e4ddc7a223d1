"""Every seed's result: how much of a difference is noise."""

from __future__ import annotations

from typing import Any

from tracking.charts.chart import Chart, ChartData, Kind, Trace
from tracking.charts.style import (
    GREY,
    colour,
    layout,
    metric_label,
    numbers,
    plain,
    share_or_number,
    value_axis,
    wrapped,
)
from tracking.figures.data import Line, within
from tracking.figures.style import NotDrawn
from tracking.results import per_seed
from tracking.verdict.tables import span


def draw(data: ChartData) -> Chart:
    """A row per line, and in grey what was trained again on fresh seeds: a dot per seed, a bar at their median."""
    records = data.records
    objective, metric = records.objective, records.objective.name
    rows = [(line, line.name, colour(line)) for line in records.lines]
    if objective.metric not in records.frame:
        raise NotDrawn(f"the records have no {objective.metric}")
    for o in records.outcomes.values():
        if o.confirms and len(again := records.rows(o.number)):
            rows.append((Line(again, o.confirms, "", GREY, "-"), f"{o.confirms} on fresh seeds", GREY))
    traces: list[Trace] = []
    ranges = []
    for place, (line, name, shade) in enumerate(rows):
        values = within(per_seed(line.rows, objective).sort_index()).droplevel("configuration")
        finite = values.dropna()
        on: dict[str, Any] = {"marker": {"color": shade}, "name": plain(name), "text": plain(name)}
        value = share_or_number(metric, "x")
        dots = {
            "mode": "markers",
            "x": numbers(finite),
            # Spread by rank within the row, so that equal values are seen side by side.
            "y": [place + 0.5 * ((i + 0.5) / len(finite) - 0.5) for i in range(len(finite))],
            "customdata": finite.index.tolist(),
            "hovertemplate": f"%{{text}}<br>seed %{{customdata}}: {value}<extra></extra>",
        }
        traces.append(on | dots | {"marker": {"color": shade, "size": 7, "opacity": 0.7}})
        if len(finite) == len(values):
            median = numbers([finite.median()])[0]
            bar = {
                "mode": "lines",
                "x": [median, median],
                "y": [place - 0.36, place + 0.36],
                "line": {"color": shade, "width": 3},
            }
            traces.append(on | bar | {"hovertemplate": f"%{{text}}<br>median {value}<extra></extra>"})
        ends = f"from {span(finite.min(), finite.max(), '.3g')}" if len(finite) else "not finite"
        ranges.append(f"{name} {ends}")
    names = [wrapped(name, 18) for _, name, _ in rows]
    y = {"tickvals": [*range(len(rows))], "ticktext": names, "range": [len(rows) - 0.5, -0.5], "automargin": True}
    x = value_axis(metric, title={"text": metric_label(metric)})
    return Chart(
        traces,
        layout(40 + 44 * len(rows), xaxis=x, yaxis=y | {"zeroline": False}),
        f"Each dot is the {metric} of one seed, each bar the median over the seeds. Where the dots of two rows overlap "
        "widely, their difference may be noise. Dots are spread within a row only so that all can be seen.",
        f"One dot per seed. {metric}: {'; '.join(ranges)}.",
    )


CHART = Kind("Every seed", draw)
