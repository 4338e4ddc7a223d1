"""How large the gradient by a recurrent network's hidden state is, step by step back from the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.ticker import MaxNLocator

from tracking.figures.album import Drawing, Kind
from tracking.figures.bands import draw_band, log_scale
from tracking.figures.data import MEDIANS, FigureData, Line, moments
from tracking.figures.style import NotDrawn, NotMeasured, legend_below, new_figure
from tracking.verdict.tables import P, number

STATISTIC = "gradient.hidden.rms"
CAPTION = (
    "The root mean square, over images and units, of the gradient of an image's loss by the hidden state, so many "
    "steps before the last one, on a log scale. Where the line is straight the gradient vanishes, or explodes, "
    "exponentially with the lag; where it is level the gradient reaches the first step. "
    f"{MEDIANS}; nothing is drawn where the gradient is exactly 0 or not finite."
)
Bands = Sequence[tuple[Line, pd.DataFrame]]


def draw(data: FigureData) -> Drawing:
    """A panel for the first and one for the last epoch; a line per arm."""
    panels = bands_of(data)
    figure = new_figure(2.6 + 0.19 * len(data.lines))
    row = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (when, bands) in zip(row, panels.items(), strict=True):
        for line, band in bands:
            draw_band(axes, line, band, log=True)
        axes.set_title(when, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("steps back from the last")
    log_scale(row[0])
    row[0].set_ylabel("rms of the loss's gradient\nby the hidden state")
    legend_below(figure, row[0])
    return Drawing(figure, CAPTION, words(panels))


def bands_of(data: FigureData) -> dict[str, Bands]:
    """When -> the lines, each with the quartiles over the seeds by lag. Raises NotDrawn."""
    whens = moments(data.lines, lambda line: line.by_lag(STATISTIC).values())
    if not whens:
        raise NotMeasured("the gradient by a hidden state was not measured")
    panels: dict[str, Bands] = {
        when: [(line, line.quartiles(line.by_lag(STATISTIC), epoch)) for line, epoch in lines]
        for when, lines in whens.items()
    }
    if not any((band["q50"] > 0).any() for bands in panels.values() for _, band in bands):
        raise NotDrawn("the gradient by the hidden state is nowhere finite and above 0")
    return panels


def words(panels: Mapping[str, Bands]) -> str:
    """The alternative text."""
    texts = []
    for when, bands in panels.items():
        for line, band in bands:
            first, last = (number(band["q50"].iloc[i], P) for i in (0, -1))
            texts.append(f"{line.name} {when}: {first} at the last step, {last} {band.index[-1]} steps back")
    return f"Curves over the steps back from the last, medians over the seeds. {'; '.join(texts)}."


FIGURE = Kind("Gradient against lag", place=34, draw=draw)
