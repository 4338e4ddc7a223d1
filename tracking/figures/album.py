"""All figures of a sweep; one that does not apply says why not."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from tracking.figures.data import FigureData, Searched
from tracking.figures.kind import Kind
from tracking.figures.style import NotDrawn, svg
from tracking.results import Outcome

ACCURACY = ("validation.accuracy", "maximize")


@dataclass(frozen=True)
class Picture:
    """One figure with its words; `name` is a file's without its ending."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """The figure as SVG."""
        return svg(self.figure)


@dataclass(frozen=True)
class LeftOut:
    """A figure that does not apply, and why: a clause."""

    title: str
    why: str


@dataclass(frozen=True)
class Album:
    """The figures of a sweep, in the order in which they are read."""

    pictures: tuple[Picture, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def figures(self) -> dict[str, Figure]:
        """By name."""
        return {picture.name: picture.figure for picture in self.pictures}


def draw(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome],
    objectives: Sequence[tuple[str, str]] = (ACCURACY,),
    searched: Searched | None = None,
) -> Album:
    """Draw what applies to a tidy table; `objectives` are (metric, maximize | minimize)."""
    pictures, left_out = [], []
    for place, objective in enumerate(objectives):
        for name, kind in kinds().items():
            if place and not kind.each_objective:
                continue
            metric = objective[0] if kind.each_objective and len(objectives) > 1 else ""
            title = f"{kind.title}: {metric}" if metric else kind.title
            try:
                drawing = kind(FigureData(frame, outcomes, objective, searched or Searched()))
            except NotDrawn as why:
                left_out.append(LeftOut(title, str(why)))
            else:
                full_name = f"{name}-{metric.replace('.', '-')}" if metric else name
                pictures.append(Picture(full_name, title, drawing.caption, drawing.alt, drawing.figure))
    return Album(tuple(pictures), tuple(left_out))


def kinds() -> dict[str, Kind]:
    """Every kind of figure by name, in the order in which they are read: the modules beside this one with a FIGURE."""
    path = importlib.import_module(str(__package__)).__path__
    modules = {m.name: importlib.import_module(f"{__package__}.{m.name}") for m in pkgutil.iter_modules(path)}
    marked = {name.replace("_", "-"): vars(module).get("FIGURE") for name, module in modules.items()}
    known = [(name, kind) for name, kind in marked.items() if isinstance(kind, Kind)]
    return dict(sorted(known, key=lambda item: item[1].place))
