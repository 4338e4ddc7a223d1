"""How gradient and accuracy go with the number of layers, where a sweep varies it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tracking.charts.bands import area_of
from tracking.charts.chart import Chart, ChartData, Kind, Trace, pointed
from tracking.charts.style import (
    DASHES,
    GREY,
    above_zero,
    axis_key,
    layout,
    log_axis,
    log_axis_across,
    numbered,
    numbers,
    panels,
    plain,
    share_or_number,
    value_axis,
    wrapped,
)
from tracking.figures.depth import ACCURACY, MOST, RATIO, quartiles
from tracking.figures.style import NotDrawn
from tracking.verdict.tables import SHARE, P, number

HEIGHT = 210


def draw(data: ChartData) -> Chart:
    """A panel per measurement: a line for configurations that differ in depth alone, dots for the others."""
    records = data.records
    depths, shown = records.by_depth["depth"], records.depths[:MOST]
    if RATIO not in records.frame or ACCURACY not in records.frame:
        raise NotDrawn(f"the records lack {RATIO} or {ACCURACY}")
    alone = depths[~depths.index.isin([n for line in records.depths for n in line.by_depth.values()])]
    measured = [(RATIO, at, f"gradient, first to last layer,<br>{when}") for at, when in records.ends.items()]
    measured += [(ACCURACY, at, f"validation accuracy, {when}") for at, when in [*records.ends.items()][-1:]]
    domains, titles, height = panels([title for _, _, title in measured], HEIGHT)
    traces: list[Trace] = []
    axes: dict[str, Any] = {}
    ends = {line.label: "" for line in shown}
    for place, (metric, at, title) in enumerate(measured):
        log = metric == RATIO
        on, values = {"yaxis": numbered("y", place)}, above_zero if log else numbers
        for line in shown:
            band = pd.DataFrame({depth: quartiles(records, n, metric, at) for depth, n in line.by_depth.items()}).T
            shared = {"legendgroup": plain(line.label), "name": wrapped(line.label), **on}
            traces.append(area_of(line.colour, band, log) | shared | {"showlegend": False})
            told = f"%{{text}}, %{{x}} layers: {share_or_number(metric, 'y')}<extra></extra>"
            course = {
                "x": band.index.tolist(),
                "y": values(band["q50"]),
                "text": plain(line.label),
                "hovertemplate": told,
            }
            style = {"mode": "lines+markers", "line": {"color": line.colour, "dash": DASHES[line.dashes], "width": 2}}
            traces.append(course | style | shared | {"showlegend": place == 0})
            first, last = (number(band["q50"].loc[depth], P if log else SHARE) for depth in band.index[[0, -1]])
            ends[line.label] += f"; {title.replace('<br>', ' ')} from {first} to {last}"
        if len(alone):
            medians = [float(quartiles(records, n, metric, at)["q50"]) for n in alone.index.tolist()]
            dots = {"mode": "markers", "x": alone.tolist(), "y": values(medians), "marker": {"color": GREY, "size": 7}}
            name = {"name": "other configurations" if shown else "configurations", "legendgroup": "others"}
            traces.append(dots | name | on | pointed(alone.index.tolist()) | {"showlegend": place == 0})
        axis = log_axis(1.0) if log else value_axis(metric)
        axes[axis_key("y", place)] = axis | {"domain": domains[place]}
    low, high = int(depths.min()), int(depths.max())
    below = {"title": {"text": "layers with parameters (log scale)"}, "anchor": numbered("y", len(measured) - 1)}
    texts = [f"{line.label}, {min(line.by_depth)} to {max(line.by_depth)} layers{ends[line.label]}" for line in shown]
    more = f" The first {MOST} of {len(records.depths)} such lines are shown." if len(records.depths) > MOST else ""
    return Chart(
        traces,
        layout(
            height, len(shown) + (len(alone) > 0), annotations=titles, xaxis=log_axis_across(low, high, **below), **axes
        ),
        "The rms of the loss's gradient in the first layer over that in the last, and the accuracy, over the network's "
        "depth. Each line is of configurations that differ in depth alone, each grey dot one that is on no line. Both "
        "are medians over the seeds, shaded areas the interquartile range; nothing is drawn where the gradient is "
        f"exactly 0 or not finite.{more}",
        f"Curves over the depth, {low} to {high} layers, medians over the seeds. {'. '.join(texts) or 'Dots alone'}.",
    )


CHART = Kind("Depth", draw)
