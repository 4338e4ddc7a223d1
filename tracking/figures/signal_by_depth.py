"""How a signal goes through the layers: are two images still told apart, how large it is, how steep the activation.

What is lost of these on the way from the input to the output can't be learned from; what grows explodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.ticker import MaxNLocator

from tracking.figures.album import Drawing, Kind
from tracking.figures.bands import draw_band, log_scale
from tracking.figures.data import MEDIANS, FigureData, Line, moments
from tracking.figures.style import NotDrawn, NotMeasured, legend_below, new_figure
from tracking.verdict.tables import P, number

# What is shown of a layer: the words for it, and whether it is on a log scale.
SHOWN = {
    "signal.correlation": ("correlation of\ntwo images", False),
    "signal.variance": ("second moment of\nthe pre-activation", True),
    "signal.slope": ("mean |f'|", False),
}
CAPTION = (
    "Layer by layer, from the input on: the correlation of two images' pre-activations, which is their mean cosine "
    "(at 1 the network no longer tells images apart); the mean square of the pre-activation, on a log scale; and the "
    f"mean |f'| of the activation, by which a gradient shrinks on its way back. {MEDIANS}; nothing is drawn where a "
    "value is not finite, or is 0 on the log scale."
)
Bands = Sequence[tuple[Line, Mapping[str, pd.DataFrame]]]


def draw(data: FigureData) -> Drawing:
    """A row of panels for each of SHOWN: the first and the last epoch at which it was measured; a line per arm."""
    panels = bands_of(data)
    figure = new_figure(1.75 * len(SHOWN) + 0.7 + 0.19 * len(data.lines))
    grid = figure.subplots(len(SHOWN), len(panels), sharex=True, sharey="row", squeeze=False)
    for column, (when, lines) in zip(grid.T, panels.items(), strict=True):
        for line, bands in lines:
            for axes, (name, (_, log)) in zip(column, SHOWN.items(), strict=True):
                draw_band(axes, line, bands[name], log)
        column[0].set_title(when, loc="left")
        column[-1].set_xlabel("layer, from the input on")
        column[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes, (label, log) in zip(grid[:, 0], SHOWN.values(), strict=True):
        axes.set_ylabel(label)
        if log:
            log_scale(axes)
    legend_below(figure, grid[0, 0])
    return Drawing(figure, CAPTION, words(panels))


def bands_of(data: FigureData) -> dict[str, Bands]:
    """When -> the lines, each with the quartiles over the seeds by depth, of each of SHOWN. Raises NotDrawn."""
    whens = moments(data.lines, lambda line: [c for name in SHOWN for c in line.layers(name).values()])
    if not whens:
        raise NotMeasured("the signal in the layers was not measured")
    if all(len(line.by_depth(name)) < 2 for lines in whens.values() for line, _ in lines for name in SHOWN):
        raise NotDrawn("no network has two layers with an activation")
    return {
        when: [(line, {name: line.quartiles(line.by_depth(name), epoch) for name in SHOWN}) for line, epoch in lines]
        for when, lines in whens.items()
    }


def words(panels: Mapping[str, Bands]) -> str:
    """The alternative text."""
    texts = []
    for when, lines in panels.items():
        for line, bands in lines:
            ends = {
                SHOWN[name][0]: band["q50"].dropna().iloc[[0, -1]]
                for name, band in bands.items()
                if band["q50"].count()
            }
            parts = [
                f"{' '.join(label.split())} from {number(a, P)} to {number(b, P)}" for label, (a, b) in ends.items()
            ]
            texts.append(f"{line.name} {when}: {', '.join(parts) or 'not finite'}")
    return f"Curves from the first layer to the last, medians over the seeds. {'; '.join(texts)}."


FIGURE = Kind("Signal by depth", place=36, draw=draw)
