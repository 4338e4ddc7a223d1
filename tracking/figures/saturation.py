"""How many units of each layer are saturated (of relu: inactive), before the first step and at the end."""

from __future__ import annotations

import textwrap

from matplotlib.ticker import MaxNLocator

from tracking.figures.album import Drawing, Kind
from tracking.figures.data import MEDIANS, FigureData, of_columns
from tracking.figures.style import NotDrawn, legend_below, new_figure, percent
from tracking.verdict.tables import SHARE, number
from tracking.verdict.units import words

MOST_NAMED = 16


def draw(data: FigureData) -> Drawing:
    """A panel at the start and one at the end: layers to the right, per line a point and an interquartile bar.

    The output is left out: it has no activation. Where networks differ, or are deep, layers go by their depth.
    """
    chosen = data.lines
    columns = [{k: c for k, c in line.layers("saturated").items() if k != "output"} for line in chosen]
    layers = max(map(list, columns), key=len)
    by_depth = len(layers) > MOST_NAMED or any(layers[: len(of_line)] != list(of_line) for of_line in columns)
    if not layers:
        raise NotDrawn("the records have no saturation of a layer")
    figure = new_figure(0.6 + 1.9 * len(data.ends) + 0.19 * len(chosen))
    column = figure.subplots(len(data.ends), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    ends = []
    for place, (line, of_line) in enumerate(zip(chosen, columns, strict=True)):
        shift = (place - (len(chosen) - 1) / 2) * min(0.1, 0.6 / len(chosen))
        shares = []
        for axes, rows in zip(column, (line.start, line.end), strict=False):
            band = of_columns(rows, dict(enumerate(of_line.values(), 1))).dropna()
            x = band.index + shift
            style = {"color": line.colour, "marker": "o", "markersize": 3.5, "linewidth": 1}
            axes.plot(x, band["q50"], line.dashes, label=line.label, **style)
            axes.vlines(x, band["q25"], band["q75"], color=line.colour, alpha=0.5, linewidth=2.5)
            shares.append(number(float(band["q50"].mean()), SHARE))
        ends.append(
            f"{line.name} {', '.join(f'{share} at the {at}' for at, share in zip(data.ends, shares, strict=True))}"
        )
    called = words(line.rows["activation"].iloc[0] for line in chosen).saturated
    for axes, title in zip(column, data.ends.values(), strict=True):
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(percent())
        axes.set_ylabel(textwrap.fill(called, 28))
        axes.set_title(title, loc="left")
    if by_depth:
        column[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        column[-1].set_xticks(range(1, len(layers) + 1), layers, rotation=45, ha="right", rotation_mode="anchor")
    column[-1].set_xlabel("layer, from the input to the output")
    legend_below(figure, column[0])
    return Drawing(
        figure,
        "The share of a layer's units (times images) in the flat part of their activation, |f'| < 0.01 sup |f'|, "
        f"{' and '.join(data.ends.values())}. {MEDIANS.replace('Lines', 'Points').replace('shaded areas', 'bars')}.",
        f"{called.capitalize()} by layer, medians over the seeds; on average over the layers {'; '.join(ends)}.",
    )


FIGURE = Kind("Saturation by layer", place=40, draw=draw)
