"""The objective over alpha and r, with the paper's point and the region that is as good as the best."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter
from matplotlib.tri import Triangulation
from numpy.typing import NDArray

from tracking.figures.paper import axis_label
from tracking.figures.searched import alike, results
from tracking.figures.style import COLOURS, RC, NotDrawn, legend_below, new_figure
from tracking.results import Outcome

PAPER = (2.0, 0.01)  # alpha, r
LEAST = 4  # points


@dataclass(frozen=True)
class Surface:
    """The points: `x` is log10 of r, with 0 a decade left of the others, `y` log10 of alpha; `near` the best ones."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    values: NDArray[np.float64]
    near: NDArray[np.bool_]
    best: int
    zero: float | None


@rc_context(rc=RC)
def surface_figure(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome] | None = None,
    *,
    objective: tuple[str, str] = ("validation.accuracy", "maximize"),
    free: Collection[str] = (),
) -> Figure:
    """A dot for each complete configuration, coloured by its mean; between them linear interpolation.

    A ring marks each configuration whose mean is within one standard error of the best one's. `free` are the other
    fields that were searched: they may differ from dot to dot. Raises NotDrawn where alpha and r were not both varied.
    """
    found = surface(frame, outcomes, objective, free)
    figure = new_figure(4.6)
    axes = figure.subplots()
    shown: dict[str, Any] = {"cmap": COLOURS, "vmin": found.values.min(), "vmax": found.values.max()}
    if triangles := _triangles(found):
        axes.tricontourf(triangles, found.values[found.x != found.zero], levels=14, alpha=0.55, **shown)
    dots = axes.scatter(found.x, found.y, c=found.values, s=26, edgecolors="white", linewidths=0.5, zorder=3, **shown)
    near: dict[str, Any] = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.3, "zorder": 4}
    axes.scatter(found.x[found.near], found.y[found.near], s=80, label="within a standard error of the best", **near)
    # Open and larger than the star, which may lie on it.
    best: dict[str, Any] = {
        "marker": "D",
        "facecolors": "none",
        "edgecolors": "#D55E00",
        "linewidths": 2.2,
        "zorder": 5,
    }
    axes.scatter(found.x[found.best], found.y[found.best], s=150, label="the best", **best)
    paper: dict[str, Any] = {
        "marker": "*",
        "facecolors": "white",
        "edgecolors": "black",
        "linewidths": 1.0,
        "zorder": 6,
    }
    axes.scatter(np.log10(PAPER[1]), np.log10(PAPER[0]), s=120, label="the paper's point: α = 2, r = 0.01", **paper)
    # Else the surface's edge is the panel's, and cuts through the dots there.
    axes.use_sticky_edges = False
    _ticks(axes, found)
    bar = figure.colorbar(dots, ax=axes, location="top", aspect=40, shrink=0.9)
    bar.set_label(f"{axis_label(objective[0])}, mean over the seeds")
    if objective[0].endswith("accuracy"):
        bar.ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    legend_below(figure, axes)
    return figure


def surface(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome] | None,
    objective: tuple[str, str],
    free: Collection[str] = (),
) -> Surface:
    """The points of the figure. Raises NotDrawn."""
    metric, goal = objective
    found = alike(results(frame, outcomes, metric), {"alpha", "r", *free})
    if len(found) < LEAST:
        raise NotDrawn(
            f"it takes {LEAST} complete configurations that differ in alpha and r, and there are {len(found)}"
        )
    if found["alpha"].nunique() < 2 or found["r"].nunique() < 2:
        raise NotDrawn("alpha and r were not both varied among the complete configurations")
    values = found["value"].to_numpy(dtype=np.float64)
    place = int(values.argmax() if goal == "maximize" else values.argmin())
    gap = np.abs(values - values[place])
    positive = found.loc[found["r"] > 0, "r"]
    least = min(float(np.log10(positive.min())), np.log10(PAPER[1]))
    zero = least - 1.0 if (found["r"] == 0).any() else None
    with np.errstate(divide="ignore"):
        x = np.log10(found["r"].to_numpy(dtype=np.float64))
    return Surface(
        x=np.where(np.isfinite(x), x, zero if zero is not None else np.nan),
        y=np.log10(found["alpha"].to_numpy(dtype=np.float64)),
        values=values,
        near=gap <= _standard_error(frame, int(str(found.index[place])), metric),
        best=place,
        zero=zero,
    )


def _standard_error(frame: pd.DataFrame, configuration: int, metric: str) -> float:
    own = frame[frame["configuration"] == configuration]
    values = own.loc[own["epoch"] == own["epoch"].max(), metric]
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _triangles(found: Surface) -> Triangulation | None:
    """Between the points on the log scale; none where they are few, or all on one straight line."""
    inside = found.x != found.zero
    x, y = found.x[inside], found.y[inside]
    if len(set(zip(x.tolist(), y.tolist(), strict=True))) < LEAST:
        return None
    spread = np.linalg.svd(np.column_stack([x - x.mean(), y - y.mean()]), compute_uv=False)
    return Triangulation(x, y) if spread[-1] > 1e-6 * spread[0] else None


def _ticks(axes: Axes, found: Surface) -> None:
    """Decades as powers of ten, and 0 apart from them."""
    low, high = np.floor(min(found.x[found.x != found.zero].min(), np.log10(PAPER[1]))), np.ceil(found.x.max())
    decades = [d for d in np.arange(low, max(high, np.log10(PAPER[1])) + 1)]
    zero = [] if found.zero is None else [found.zero]
    axes.xaxis.set_major_locator(FixedLocator([*zero, *decades]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if x in zero else f"{10.0**x:g}"))
    if zero:
        axes.axvline(zero[0] + 0.5, color="black", linewidth=0.7, linestyle=":")
    axes.yaxis.set_major_locator(FixedLocator([a for a in np.log10([0.01, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 100, 1000])]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{10.0**y:.3g}"))
    axes.set_xlabel("r, the strength of the penalty (log scale)")
    axes.set_ylabel("α, the scale of the activation (log scale)")
    axes.margins(0.06)
