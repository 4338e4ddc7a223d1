"""The singular values of the Jacobian of the logits by the input: far from 1, signals and gradients shrink or grow.

Over the depth where a sweep varies it, else over the epochs, else, with one epoch alone, arm by arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.ticker import MaxNLocator

from tracking.figures.album import Drawing, Kind
from tracking.figures.bands import draw_band, log_scale
from tracking.figures.data import MEDIANS, Depths, FigureData, Line, moments
from tracking.figures.style import NotDrawn, NotMeasured, legend_below, new_figure
from tracking.verdict.tables import P, number

VALUES = {"jacobian.largest": "largest", "jacobian.smallest": "smallest"}
MOST = 8  # lines over the depth
DEPTH, EPOCH, ARM = "layers with parameters", "epoch (0: before the first step)", ""
CAPTION = (
    "The largest and the smallest singular value of the Jacobian of the logits by the input, medians over images, on a "
    "log scale: by how much the network stretches a small change of an image at most, and at least. Near 1 it passes "
    f"signals and gradients on as they are. {MEDIANS}; nothing is drawn where a value is exactly 0 or not finite."
)


@dataclass(frozen=True)
class Curve:
    """A line and its quartiles by metric: `q25`, `q50`, `q75` over what is to the right."""

    line: Line | Depths
    bands: Mapping[str, pd.DataFrame]

    def __str__(self) -> str:
        ends = {name: self.bands[metric]["q50"].iloc[[0, -1]].tolist() for metric, name in VALUES.items()}
        texts = (f"{name} {' to '.join(number(end, P) for end in dict.fromkeys(of))}" for name, of in ends.items())
        return f"{self.line.label}: {', '.join(texts)}"


@dataclass(frozen=True)
class Curves:
    """What is drawn: `across` says over what, one of DEPTH, EPOCH and ARM; `panels` are curves by when they were."""

    across: str
    panels: Mapping[str, Sequence[Curve]]

    @property
    def alt(self) -> str:
        """In words."""
        texts = [f"{f'{when}, ' * bool(when)}{'; '.join(map(str, of))}" for when, of in self.panels.items()]
        return f"Singular values, medians over the seeds. {'. '.join(text[0].upper() + text[1:] for text in texts)}."


def draw(data: FigureData) -> Drawing:
    """A row of panels for the largest and one for the smallest."""
    shown = curves(data)
    first = next(iter(shown.panels.values()))
    figure = new_figure(4.5 + 0.19 * len(first))
    grid = figure.subplots(len(VALUES), len(shown.panels), sharex=True, sharey="row", squeeze=False)
    for column, (when, panel) in zip(grid.T, shown.panels.items(), strict=True):
        column[0].set_title(when, loc="left")
        column[-1].set_xlabel(shown.across)
        for axes, metric in zip(column, VALUES, strict=True):
            for curve in panel:
                draw_band(axes, curve.line, curve.bands[metric], log=True)
    for axes in grid[-1]:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if shown.across == ARM:
            axes.set_xticks([])
            axes.margins(x=0.2)
    for axes, name in zip(grid[:, 0], VALUES.values(), strict=True):
        axes.set_ylabel(f"{name}\nsingular value")
        log_scale(axes)
    legend_below(figure, grid[0, 0])
    return Drawing(figure, CAPTION, shown.alt)


def curves(data: FigureData) -> Curves:
    """What there is to draw. Raises NotDrawn."""
    if not all(metric in data.frame and data.frame[metric].notna().any() for metric in VALUES):
        raise NotMeasured("the Jacobian was not measured")
    if panels := _over_depth(data):
        return Curves(DEPTH, panels)
    lines = [line for line in data.lines if line.measured(VALUES)]
    if not lines:
        raise NotDrawn("the Jacobian was not measured of an arm or of the best searched configuration")
    if any(len(line.measured(VALUES)) > 1 for line in lines):
        return Curves(EPOCH, {"": [Curve(line, {m: line.course(m) for m in VALUES}) for line in lines]})
    ((when, ends),) = moments(lines, lambda _: VALUES).items()
    return Curves(
        ARM, {when: [Curve(line, {m: line.quartiles({i: m}, e) for m in VALUES}) for i, (line, e) in enumerate(ends)]}
    )


def _over_depth(data: FigureData) -> dict[str, list[Curve]]:
    """At the first and at the last epoch; empty where no two configurations differ in depth alone."""
    try:
        groups = data.depths[:MOST]
    except NotDrawn:
        return {}
    members = {
        n: line
        for group in groups
        for n in group.by_depth.values()
        if (line := Line(data.rows(n), "", "", "", "")).measured(VALUES)
    }

    def curve(group: Depths, place: int) -> Curve:
        known = {depth: members[n] for depth, n in group.by_depth.items() if n in members}
        at = {depth: line.measured(VALUES)[-place] for depth, line in known.items()}
        return Curve(group, {m: pd.concat([of.quartiles({d: m}, at[d]) for d, of in known.items()]) for m in VALUES})

    shown = [group for group in groups if not members.keys().isdisjoint(group.by_depth.values())]
    whens = moments([*members.values()], lambda _: VALUES)
    return {when: [curve(group, place) for group in shown] for place, when in enumerate(whens)}


FIGURE = Kind("Singular values of the Jacobian", place=37, draw=draw)
