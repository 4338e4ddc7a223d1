"""What a figure is, and all figures of a sweep: one file each in this folder, with a `FIGURE` that names it.

The file's name is the figure's. It is in every report, among MLflow's artifacts and in `sweeps.report(NAME).figures`;
docs/architecture.md shows how to add one.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from tracking.figures.data import Axis, FigureData
from tracking.figures.style import RC, NotDrawn, NotMeasured, svg
from tracking.results import Outcome
from trainers.objectives import Objective


@dataclass(frozen=True)
class Drawing:
    """A figure, its caption, and its alternative text: what a reader would see, for those who hear the page."""

    figure: Figure
    caption: str
    alt: str
    title: str = ""

    @cached_property
    def svg(self) -> str:
        """The figure as SVG."""
        return svg(self.figure)


@dataclass(frozen=True)
class Kind:
    """A kind of figure; calling it draws one in the style of all.

    `draw` raises NotDrawn where the figure does not apply. Figures are read in the order of their `place`. With
    `each_objective` there is one for each of a sweep's objectives, else one for the first.
    """

    title: str
    place: int
    draw: Callable[[FigureData], Drawing]
    each_objective: bool = False

    def __call__(self, data: FigureData) -> Drawing:
        """Draw it. Raises NotDrawn."""
        with rc_context(rc=RC):
            return self.draw(data)


@dataclass(frozen=True)
class Album:
    """The figures of a sweep by name, in the order in which they are read; and why others do not apply, by title."""

    pictures: Mapping[str, Drawing]
    left_out: Mapping[str, str]


def draw(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome],
    objectives: Sequence[Objective] = (Objective(),),
    axes: Sequence[Axis] = (),
    importance: Mapping[str, Mapping[str, float]] | None = None,
) -> Album:
    """Draw what applies to a tidy table, for the sweep's objectives; the rest is FigureData's."""
    pictures, left_out = {}, {}
    for place, objective in enumerate(objectives):
        data = FigureData(frame, outcomes, objective, axes, importance or {}, objectives)
        for name, kind in _kinds().items():
            if place and not kind.each_objective:
                continue
            title = kind.title
            if kind.each_objective and len(objectives) > 1:
                name, title = f"{name}-{re.sub('[. ]', '-', objective.name)}", f"{title}: {objective.name}"
            try:
                pictures[name] = replace(kind(data), title=title)
            except NotMeasured:
                pass
            except NotDrawn as why:
                left_out[title] = str(why)
    return Album(pictures, left_out)


def _kinds() -> dict[str, Kind]:
    """Every kind of figure by name, in the order in which they are read: the modules beside this one with a FIGURE."""
    path = importlib.import_module(str(__package__)).__path__
    modules = {m.name: importlib.import_module(f"{__package__}.{m.name}") for m in pkgutil.iter_modules(path)}
    marked = {name.replace("_", "-"): vars(module).get("FIGURE") for name, module in modules.items()}
    known = [(name, kind) for name, kind in marked.items() if isinstance(kind, Kind)]
    return dict(sorted(known, key=lambda item: item[1].place))
