"""Every seed's result: how much of a difference is noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tracking.figures.bands import within
from tracking.figures.lines import lines
from tracking.figures.paper import axis_label
from tracking.figures.style import RC, NotDrawn, new_figure
from tracking.results import Outcome

FRESH_COLOUR = "#555555"


@rc_context(rc=RC)
def seeds_figure(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome] | None = None,
    *,
    objective: tuple[str, str] = ("validation.accuracy", "maximize"),
) -> Figure:
    """A row a line: a dot for each seed's value after the last epoch, a bar at their mean. Raises NotDrawn.

    Below them in grey what was trained again on fresh seeds.
    """
    metric = objective[0]
    chosen = [(line.configuration, line.name, line.colour) for line in lines(frame, outcomes, objective)]
    recorded = set(frame["configuration"].tolist())
    chosen += [
        (o.number, f"{o.confirms}\nfresh seeds", FRESH_COLOUR)
        for o in (outcomes or {}).values()
        if o.confirms is not None and o.number in recorded
    ]
    if metric not in frame:
        raise NotDrawn(f"there is no {metric} in the records")
    figure = new_figure(0.8 + 0.38 * len(chosen))
    axes = figure.subplots()
    for place, (number, _, colour) in enumerate(chosen):
        rows = frame[frame["configuration"] == number]
        values = rows.loc[rows["epoch"] == rows["epoch"].max()].sort_values("seed")[metric]
        finite = within(values).dropna().to_numpy()
        # Spread by rank within the row, so that equal values are seen side by side.
        spread = np.linspace(-0.26, 0.26, len(finite)) if len(finite) > 1 else np.zeros(len(finite))
        axes.plot(finite, place + spread, "o", markersize=3.5, color=colour, alpha=0.65, markeredgewidth=0)
        if len(finite) == len(values):
            axes.vlines(finite.mean(), place - 0.36, place + 0.36, color=colour, linewidth=2.2)
    axes.set_yticks(range(len(chosen)), [name for _, name, _ in chosen])
    axes.set_ylim(len(chosen) - 0.5, -0.5)
    axes.set_xlabel(f"{axis_label(metric)} after the last epoch, a dot a seed")
    if metric.endswith("accuracy"):
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if np.ptp(axes.get_xlim()) > 0.1 else 1))
    return figure
