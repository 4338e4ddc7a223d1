"""All charts of a sweep, in the order in which they are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tracking.charts import (
    curves,
    depth,
    distribution,
    gradient_against_lag,
    gradient_by_depth,
    history,
    importance,
    jacobian,
    layers,
    parallel,
    pareto,
    ridges,
    saturation,
    seeds,
    sharpness,
    signal_by_depth,
    slices,
    surface,
    timeline,
)
from tracking.charts.chart import Chart, ChartData, Kind
from tracking.figures.style import NotDrawn, NotMeasured

KINDS: Mapping[str, Kind] = {
    "curves": curves.CHART,
    "seeds": seeds.CHART,
    "pareto": pareto.CHART,
    "layers": layers.CHART,
    "distribution": distribution.CHART,
    "gradient-by-depth": gradient_by_depth.CHART,
    "depth": depth.CHART,
    "gradient-against-lag": gradient_against_lag.CHART,
    "signal-by-depth": signal_by_depth.CHART,
    "jacobian": jacobian.CHART,
    "sharpness": sharpness.CHART,
    "ridges": ridges.CHART,
    "saturation": saturation.CHART,
    "surface": surface.CHART,
    "importance": importance.CHART,
    "parallel": parallel.CHART,
    "slices": slices.CHART,
    "history": history.CHART,
    "timeline": timeline.CHART,
}


@dataclass(frozen=True)
class Charts:
    """The charts of a sweep by name, in the order in which they are read; and why others do not apply, by title.

    `told` is what the pointer tells of a configuration, by its number.
    """

    charts: Mapping[str, Chart]
    left_out: Mapping[str, str]
    told: Mapping[int, str] = field(default_factory=dict)


def draw(data: ChartData) -> Charts:
    """What applies to a sweep."""
    charts, left_out = {}, {}
    for name, kind in KINDS.items():
        for objective in data.objectives if kind.each_objective else data.objectives[:1]:
            own, title = name, kind.title
            if kind.each_objective and len(data.objectives) > 1:
                own, title = f"{name}-{re.sub('[. ]', '-', objective.name)}", f"{title}: {objective.name}"
            try:
                seen = replace(data, records=replace(data.records, objective=objective))
                charts[own] = replace(kind.draw(seen), title=title)
            except NotMeasured:
                pass
            except NotDrawn as why:
                left_out[title] = str(why)
    return Charts(charts, left_out, data.told if charts else {})
