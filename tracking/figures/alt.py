"""What a reader of a figure would see, in words and numbers: for those who hear the page."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from tracking.figures.bands import finals
from tracking.figures.layers import STATISTIC, layer_table
from tracking.figures.lines import lines, said
from tracking.figures.searched import results
from tracking.figures.surface import surface
from tracking.results import Outcome

Outcomes = Mapping[int, Outcome]
Objective = tuple[str, str]


def of_curves(frame: pd.DataFrame, outcomes: Outcomes, objective: Objective) -> str:
    """The accuracies at the end and the gradients at the start."""
    chosen = lines(frame, outcomes, objective)
    said_of = []
    accuracy, start = finals(frame, "validation.accuracy"), finals(frame[frame["epoch"] == 0], "gradient.data.mean_abs")
    for line in chosen:
        end, begin = accuracy.get(line.configuration, np.nan), start.get(line.configuration, np.nan)
        said_of.append(f"{line.label}: accuracy {_share(end)} at the end, gradient {begin:.2g} at the start")
    return f"Curves over the epochs. {'; '.join(said_of)}."


def of_seeds(frame: pd.DataFrame, outcomes: Outcomes, objective: Objective) -> str:
    """The least and the largest value of each row."""
    last = frame[frame["epoch"] == frame.groupby("configuration")["epoch"].transform("max")]
    said_of = []
    for line in lines(frame, outcomes, objective):
        values = last.loc[last["configuration"] == line.configuration, objective[0]]
        said_of.append(f"{line.name} from {values.min():.3g} to {values.max():.3g}")
    return f"A dot for each seed. {objective[0]}: {'; '.join(said_of)}."


def of_layers(frame: pd.DataFrame, outcomes: Outcomes, objective: Objective) -> str:
    """The first and the last layer's gradient at the start and at the end."""
    said_of = []
    for line in lines(frame, outcomes, objective):
        names, table = layer_table(frame, line, STATISTIC)
        if names:
            begin, end = (f"{table[0, e]:.1g} in {names[0]}, {table[-1, e]:.1g} in {names[-1]}" for e in (0, -1))
            said_of.append(f"{line.name} at the start {begin}, at the end {end}")
    return f"Heat maps of the gradient's size by layer and epoch. {'; '.join(said_of)}."


def of_saturation(frame: pd.DataFrame, outcomes: Outcomes, objective: Objective) -> str:
    """The mean over the layers at the start and at the end."""
    own = [c for c in frame.columns if c.endswith(".saturated") and c != "layer.output.saturated"]
    said_of = []
    for line in lines(frame, outcomes, objective):
        rows = frame[frame["configuration"] == line.configuration]
        first, last = (rows.loc[rows["epoch"] == e, own].mean().mean() for e in (0, rows["epoch"].max()))
        said_of.append(f"{line.name} {_share(first)} at the start, {_share(last)} at the end")
    return f"Saturated units by layer; on average over the layers {'; '.join(said_of)}."


def of_surface(frame: pd.DataFrame, outcomes: Outcomes, objective: Objective, free: Collection[str]) -> str:
    """Where the best point lies."""
    found = surface(frame, outcomes, objective, free)
    r = 0.0 if found.x[found.best] == found.zero else 10.0 ** found.x[found.best]
    return (
        f"{len(found.values)} points over alpha and r. The best, {found.values[found.best]:.4g}, is at "
        f"alpha = {10.0 ** found.y[found.best]:.3g}, r = {r:.3g}; {int(found.near.sum())} within its standard error."
    )


def of_importance(importance: Mapping[str, float]) -> str:
    """The shares."""
    return f"Bars: {', '.join(f'{name} {share:.0%}' for name, share in importance.items())}."


def of_parallel(frame: pd.DataFrame, outcomes: Outcomes, objective: Objective, names: Collection[str]) -> str:
    """The best line's values."""
    metric, goal = objective
    found = results(frame, outcomes, metric)
    found = found[found["arm"] == ""].sort_values("value", ascending=goal != "maximize")
    if not len(found):
        return ""
    best = found.iloc[0]
    what = ", ".join(filter(None, (said(name, best[name]) for name in names)))
    return f"{len(found)} lines. The best, {best['value']:.4g}, goes through {what}."


def _share(value: float) -> str:
    return f"{value:.0%}" if np.isfinite(value) else "not known"
