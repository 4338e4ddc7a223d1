"""Which searched fields the result depends on, as bars."""

from __future__ import annotations

from tracking.figures.album import Drawing, Kind
from tracking.figures.data import FigureData, symbol
from tracking.figures.style import PALETTE, NotDrawn, new_figure, percent
from tracking.verdict.tables import SHARE, number


def draw(data: FigureData) -> Drawing:
    """A bar per field, the largest on top, with its share."""
    names, metric = [axis.name for axis in data.axes], data.objective.name
    if len(names) < 2:
        raise NotDrawn(f"only {symbol(names[0])} was searched" if names else "nothing was searched")
    if not (importance := data.importance.get(metric)):
        raise NotDrawn("too few searched configurations are complete, or the best do not stand out")
    ordered = dict(sorted(importance.items(), key=lambda item: -item[1]))
    shares = {name: number(share, SHARE) for name, share in ordered.items()}
    figure = new_figure(0.7 + 0.32 * len(ordered))
    axes = figure.subplots()
    bars = axes.barh(list(map(symbol, ordered)), list(ordered.values()), color=PALETTE[0])
    axes.bar_label(bars, labels=list(shares.values()), padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    axes.xaxis.set_major_formatter(percent())
    axes.set_xlabel("share of the importance")
    return Drawing(
        figure,
        f"How much each parameter decides whether a configuration is among the best by {metric}: Optuna's PED-ANOVA "
        "over the complete configurations. It shows how much a parameter matters within the searched range, not which "
        "value is good.",
        f"Bars: {', '.join(map(' '.join, shares.items()))}.",
    )


FIGURE = Kind("Parameter importance", place=60, draw=draw, each_objective=True)
