"""The paper's figures: accuracies above, summary statistics of the gradient's coordinate values below.

    >>> write(paper_figure(load("figure-1")), Path("figure-1.svg"))

Solid lines are means over the seeds, shaded areas the interquartile range, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from tracking.figures.bands import band
from tracking.figures.lines import Line, lines
from tracking.figures.style import RC, NotDrawn, legend_below, new_figure
from tracking.results import Outcome

GRADIENTS = ("gradient.data.mean_abs", "gradient.total.mean_abs")
_STATISTICS = {"mean_abs": "mean |g|", "rms": "rms of g", "max_abs": "max |g|", "vanished": "|g| < 1e-7"}


@rc_context(rc=RC)
def paper_figure(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome] | None = None,
    *,
    accuracy: str = "validation.accuracy",
    gradients: Sequence[str] = GRADIENTS,
    objective: tuple[str, str] = ("validation.accuracy", "maximize"),
    title: str = "",
) -> Figure:
    """A line for each arm, and one for the best searched configuration by `objective`; a panel for each metric.

    The gradient with the penalty is left out where no line has a penalty: it is the same. Raises NotDrawn.
    """
    chosen = lines(frame, outcomes, objective)
    panels = [metric for metric in (accuracy, *_shown(frame, chosen, gradients)) if metric in frame]
    if not panels:
        raise NotDrawn(f"there is neither {accuracy} nor {' nor '.join(gradients)} in the records")
    figure = new_figure(2.0 * len(panels) + 0.4 + 0.19 * len(chosen))
    column = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, metric in zip(column, panels, strict=True):
        _panel(axes, frame, chosen, metric)
    column[-1].set_xlabel("epoch (0: before the first step)")
    if title:
        column[0].set_title(title, loc="left", fontweight="bold")
    legend_below(figure, column[0])
    return figure


def _shown(frame: pd.DataFrame, chosen: Sequence[Line], gradients: Sequence[str]) -> list[str]:
    own = frame[frame["configuration"].isin([line.configuration for line in chosen])]
    penalized = bool((own["r"] > 0).any())
    twins = {m.replace(".data.", ".total.") for m in gradients if ".data." in m}
    return [m for m in gradients if penalized or m not in twins]


def _panel(axes: Axes, frame: pd.DataFrame, chosen: Sequence[Line], metric: str) -> None:
    means, edges = [], []
    for line in chosen:
        found = band(frame, line.configuration, metric)
        epochs, mean = found.index.to_numpy(), found["mean"].to_numpy()
        # A single epoch would be a line of no length.
        marker = "o" if len(found) == 1 else ""
        axes.plot(epochs, mean, line.dashes, marker=marker, markersize=4, color=line.colour, label=line.label)
        axes.fill_between(epochs, found["q25"], found["q75"], color=line.colour, alpha=0.18, linewidth=0)
        means.append(mean)
        edges.append(found[["q25", "q75"]].to_numpy().ravel())
    axes.set_ylabel(axis_label(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if is_size(metric):
        _log_axis(axes, np.concatenate(means), np.concatenate(edges))
    elif metric.endswith("accuracy"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def is_size(metric: str) -> bool:
    """Whether a metric is a size that spans decades."""
    return metric.endswith((".mean_abs", ".rms", ".max_abs", "first_to_last"))


def _log_axis(axes: Axes, means: NDArray[np.float64], edges: NDArray[np.float64]) -> None:
    """A log scale over all means and at most a decade of the bands below them; linear where nothing is above 0.

    A quartile may be 0, or next to it, where a single seed decides the mean.
    """
    means, edges = means[means > 0], edges[edges > 0]
    if not len(means):
        return
    bottom = max(means.min() / 10, min(edges.min(initial=means.min()), means.min()))
    axes.set_yscale("log")
    # Room, so that one value alone is an axis too.
    axes.set_ylim(bottom / 2, max(means.max(), edges.max(initial=0.0)) * 2)
    axes.yaxis.set_major_locator(LogLocator(numticks=7))


def axis_label(metric: str) -> str:
    """What a metric is called on an axis, with its unit."""
    kind, _, statistic = metric.rpartition(".")
    if metric.endswith("accuracy"):
        return f"{kind} accuracy"
    if kind in ("gradient.data", "gradient.total"):
        of = "g: loss" if kind == "gradient.data" else "g: loss + penalty"
        return f"{_STATISTICS.get(statistic, statistic)}\n({of})"
    if metric.endswith("loss"):
        return f"{kind} loss (nats)"
    return metric
