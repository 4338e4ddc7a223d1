"""Which searched fields the result depends on, as bars."""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tracking.figures.lines import symbol
from tracking.figures.searched import Searched
from tracking.figures.style import PALETTE, RC, NotDrawn, new_figure


@rc_context(rc=RC)
def importance_figure(searched: Searched, metric: str) -> Figure:
    """A bar a field, the largest on top, with its share. Raises NotDrawn where there is nothing to compare."""
    if len(searched.axes) < 2:
        names = [symbol(axis.name) for axis in searched.axes]
        raise NotDrawn(f"only {names[0]} was searched" if names else "nothing was searched")
    if not searched.importance.get(metric):
        raise NotDrawn("too few searched configurations are complete, or the best do not stand out")
    ordered = sorted(searched.importance[metric].items(), key=lambda item: -item[1])
    figure = new_figure(0.7 + 0.32 * len(ordered))
    axes = figure.subplots()
    bars = axes.barh([symbol(name) for name, _ in ordered], [share for _, share in ordered], color=PALETTE[0])
    axes.bar_label(bars, labels=[f"{share:.0%}" for _, share in ordered], padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("share of the importance")
    return figure
