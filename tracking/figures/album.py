"""All figures of a sweep with what they show in words; one that does not apply says why not.

>>> found = album(load("alpha-r"), outcomes("alpha-r"), [("validation.accuracy", "maximize")], searched)
>>> [picture.name for picture in found.pictures]
['accuracy-and-gradients', 'seeds', 'layers', 'saturation', 'surface', 'importance', 'parallel']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from tracking.figures import alt
from tracking.figures.importance import importance_figure
from tracking.figures.layers import layers_figure
from tracking.figures.paper import paper_figure
from tracking.figures.parallel import parallel_figure
from tracking.figures.saturation import saturation_figure
from tracking.figures.searched import Searched
from tracking.figures.seeds import seeds_figure
from tracking.figures.style import NotDrawn, svg
from tracking.figures.surface import surface_figure
from tracking.results import Outcome


@dataclass(frozen=True)
class Picture:
    """One figure: `name` is a file's without its ending, `alt` says in words what a reader would see."""

    name: str
    title: str
    caption: str
    alt: str
    svg: str


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


@dataclass(frozen=True)
class _Plan:
    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]
    alt: Callable[[], str]


def album(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome],
    objectives: Sequence[tuple[str, str]],
    searched: Searched,
) -> Album:
    """Draw what applies. Of several objectives each has its own response surface, importance and coordinates."""
    pictures, left_out = [], []
    for plan in _plans(frame, outcomes, objectives, searched):
        try:
            drawn = svg(plan.draw())
        except NotDrawn as why:
            left_out.append(LeftOut(plan.title, str(why)))
        else:
            pictures.append(Picture(plan.name, plan.title, plan.caption, plan.alt(), drawn))
    return Album(tuple(pictures), tuple(left_out))


def _plans(
    frame: pd.DataFrame, outcomes: Mapping[int, Outcome], objectives: Sequence[tuple[str, str]], searched: Searched
) -> list[_Plan]:
    first = objectives[0]
    plans = [
        _Plan(
            "accuracy-and-gradients",
            "Accuracy and gradients",
            "Accuracy above, below it the mean absolute coordinate of the gradient on a log scale: of the loss alone, "
            f"and with the penalty where there is one. {_band(frame)} Epoch 0 is the state before the first step.",
            lambda: paper_figure(frame, outcomes, objective=first),
            lambda: alt.of_curves(frame, outcomes, first),
        ),
        _Plan(
            "seeds",
            "Every seed",
            f"Each dot is one seed's {first[0]} after its last epoch, each bar the mean over the seeds. Where the "
            "dots of two rows overlap widely, their difference may be noise. Within a row dots are spread in the order "
            "of the seeds only to be seen.",
            lambda: seeds_figure(frame, outcomes, objective=first),
            lambda: alt.of_seeds(frame, outcomes, first),
        ),
        _Plan(
            "layers",
            "Gradient by layer",
            "The root mean square of the loss's gradient (without the penalty) over the parameters of each layer: from "
            "the input (top) to the output, over the epochs, the median over the seeds, on one log scale. White is "
            "exactly 0 or below the scale, grey is not finite.",
            lambda: layers_figure(frame, outcomes, objective=first),
            lambda: alt.of_layers(frame, outcomes, first),
        ),
        _Plan(
            "saturation",
            "Saturation by layer",
            "The share of a layer's units (times images) in the flat part of their activation, |f'| < 0.01 sup |f'|: "
            "before the first step and after the last epoch. Points are means over the seeds, bars the "
            "interquartile range.",
            lambda: saturation_figure(frame, outcomes, objective=first),
            lambda: alt.of_saturation(frame, outcomes, first),
        ),
    ]
    for objective in objectives:
        plans += _of_search(frame, outcomes, objective, searched, many=len(objectives) > 1)
    return plans


def _of_search(
    frame: pd.DataFrame, outcomes: Mapping[int, Outcome], objective: tuple[str, str], searched: Searched, many: bool
) -> list[_Plan]:
    metric = objective[0]
    end, of = (f"-{metric.replace('.', '-')}", f": {metric}") if many else ("", "")
    names = [axis.name for axis in searched.axes]
    others = [name for name in names if name not in ("alpha", "r")]
    also = f" The dots differ in {', '.join(others)} too, which is not shown." if others else ""
    return [
        _Plan(
            f"surface{end}",
            f"Response surface{of}",
            f"The mean over the seeds of {metric} over alpha and r, a dot a complete configuration, with linear "
            "interpolation between them. Circled are those within one standard error of the best, the diamond is the "
            f"best of all, the star is where the paper's recommendation lies.{also}",
            lambda: surface_figure(frame, outcomes, objective=objective, free=names),
            lambda: alt.of_surface(frame, outcomes, objective, names),
        ),
        _Plan(
            f"importance{end}",
            f"Parameter importance{of}",
            f"How much it decides whether a configuration is among the best by {metric}: Optuna's PED-ANOVA over the "
            "complete configurations. It says how much a parameter matters within the searched range, not which value "
            "is good.",
            lambda: importance_figure(searched, metric),
            lambda: alt.of_importance(searched.importance[metric]),
        ),
        _Plan(
            f"parallel{end}",
            f"Parallel coordinates{of}",
            "A line a complete searched configuration, from its searched values to its result on the right, in the "
            "colour of that result (bright is high); the thick line is the best.",
            lambda: parallel_figure(frame, outcomes, searched, objective=objective),
            lambda: alt.of_parallel(frame, outcomes, objective, names),
        ),
    ]


def _band(frame: pd.DataFrame) -> str:
    seeds = frame.groupby("configuration")["seed"].nunique() if len(frame) else pd.Series([0])
    least, most = int(seeds.min()), int(seeds.max())
    if most == 1:
        return "Lines are of the one seed that there is, so there is no band."
    count = f"{most}" if least == most else f"{least} to {most}"
    return (
        f"Lines are means over {count} seeds, shaded areas the interquartile range: a line beside its area is drawn "
        "there by a few seeds."
    )
