"""The objective over alpha and r, with the paper's point and the region that is as good as the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.tri import Triangulation
from numpy.typing import NDArray

from tracking.figures.data import FigureData
from tracking.figures.kind import Drawing, Kind
from tracking.figures.style import COLOURS, NotDrawn, axis_label, legend_below, new_figure, percent
from tracking.tidy import MEMBER
from tracking.verdict.tables import number

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


def draw(data: FigureData) -> Drawing:
    """A dot for each complete configuration, coloured by its mean; between them linear interpolation.

    A ring marks each configuration whose mean is within one standard error of the best one's. The other fields that
    were searched may differ from dot to dot.
    """
    points, metric = surface(data), data.objective[0]
    figure = new_figure(4.6)
    axes = figure.subplots()
    shown: dict[str, Any] = {"cmap": COLOURS, "vmin": points.values.min(), "vmax": points.values.max()}
    if triangles := _triangles(points):
        axes.tricontourf(triangles, points.values[points.x != points.zero], levels=14, alpha=0.55, **shown)
    dots = axes.scatter(
        points.x, points.y, c=points.values, s=26, edgecolors="white", linewidths=0.5, zorder=3, **shown
    )
    ring: dict[str, Any] = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.3, "zorder": 4}
    axes.scatter(
        points.x[points.near], points.y[points.near], s=80, label="within a standard error of the best", **ring
    )
    # Open and larger than the star, which may lie on it.
    best = {**ring, "marker": "D", "edgecolors": "#D55E00", "linewidths": 2.2, "zorder": 5}
    axes.scatter(points.x[points.best], points.y[points.best], s=150, label="the best", **best)
    star = {**ring, "marker": "*", "facecolors": "white", "linewidths": 1.0, "zorder": 6}
    axes.scatter(np.log10(PAPER[1]), np.log10(PAPER[0]), s=120, label="the paper's point: α = 2, r = 0.01", **star)
    # Else the surface's edge is the panel's, and cuts through the dots there.
    axes.use_sticky_edges = False
    _ticks(axes, points)
    bar = figure.colorbar(dots, ax=axes, location="top", aspect=40, shrink=0.9)
    bar.set_label(f"{axis_label(metric)}, mean over the seeds")
    if metric.endswith("accuracy"):
        bar.ax.xaxis.set_major_formatter(percent(None))
    legend_below(figure, axes)
    others = ", ".join(a.name for a in data.searched.axes if a.name not in ("alpha", "r"))
    also = f" The dots also differ in {others}, which is not shown." if others else ""
    r = 0.0 if points.x[points.best] == points.zero else 10.0 ** points.x[points.best]
    place = f"alpha = {number(10.0 ** points.y[points.best], '.3g')}, r = {number(r, '.3g')}"
    return Drawing(
        figure,
        f"The mean over the seeds of {metric} over alpha and r: one dot per complete configuration, with linear "
        "interpolation between them. The diamond is the best, circles mark those within one standard error of it, and "
        f"the star is the paper's recommendation.{also}",
        f"{len(points.values)} points over alpha and r. The best, {number(points.values[points.best])}, is at {place}; "
        f"{int(points.near.sum())} within its standard error.",
    )


def surface(data: FigureData) -> Surface:
    """The points of the figure. Raises NotDrawn where alpha and r were not both varied."""
    free = {"alpha", "r", *(axis.name for axis in data.searched.axes)}
    results = _alike(data.results, [f for f in MEMBER if f not in free and f not in ("engine", "epochs")])
    if len(results) < LEAST:
        raise NotDrawn(
            f"it takes {LEAST} complete configurations that differ in alpha and r, and there are {len(results)}"
        )
    if results["alpha"].nunique() < 2 or results["r"].nunique() < 2:
        raise NotDrawn("alpha and r were not both varied among the complete configurations")
    values = results["value"].to_numpy(dtype=np.float64)
    best = int(values.argmax() if data.objective[1] == "maximize" else values.argmin())
    of_best = data.ends(int(str(results.index[best])))[1][data.objective[0]]
    error = float(of_best.std(ddof=1) / np.sqrt(len(of_best))) if len(of_best) > 1 else 0.0
    r = results["r"].to_numpy(dtype=np.float64)
    zero = min(float(np.log10(r[r > 0].min())), np.log10(PAPER[1])) - 1.0 if (r == 0).any() else None
    return Surface(
        x=np.log10(r, where=r > 0, out=np.full(len(r), np.nan if zero is None else zero)),
        y=np.log10(results["alpha"].to_numpy(dtype=np.float64)),
        values=values,
        near=np.abs(values - values[best]) <= error,
        best=best,
        zero=zero,
    )


def _alike(results: pd.DataFrame, fields: list[str]) -> pd.DataFrame:
    """The largest part of a table of results that is the same in all of these fields."""
    fixed = [field for field in fields if field in results]
    if not len(results) or not fixed:
        return results
    group = results.groupby(fixed, dropna=False, sort=False).ngroup()
    return results[group == group.value_counts(sort=False).idxmax()]


def _triangles(points: Surface) -> Triangulation | None:
    """Between the points on the log scale; none where they are few, or all on one straight line."""
    inside = points.x != points.zero
    x, y = points.x[inside], points.y[inside]
    if len(set(zip(x.tolist(), y.tolist(), strict=True))) < LEAST:
        return None
    spread = np.linalg.svd(np.column_stack([x - x.mean(), y - y.mean()]), compute_uv=False)
    return Triangulation(x, y) if spread[-1] > 1e-6 * spread[0] else None


def _ticks(axes: Axes, points: Surface) -> None:
    """Decades as powers of ten, and 0 apart from them."""
    paper = np.log10(PAPER[1])
    low = np.floor(min(points.x[points.x != points.zero].min(), paper))
    decades = np.arange(low, max(np.ceil(points.x.max()), paper) + 1).tolist()
    zero = [] if points.zero is None else [points.zero]
    axes.xaxis.set_major_locator(FixedLocator([*zero, *decades]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: "0" if x in zero else f"{10.0**x:g}"))
    if zero:
        axes.axvline(zero[0] + 0.5, color="black", linewidth=0.7, linestyle=":")
    axes.yaxis.set_major_locator(FixedLocator(np.log10([0.01, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 100, 1000]).tolist()))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{10.0**y:.3g}"))
    axes.set_xlabel("r, the strength of the penalty (log scale)")
    axes.set_ylabel("α, the scale of the activation (log scale)")
    axes.margins(0.06)


FIGURE = Kind("Response surface", place=50, draw=draw, each_objective=True)
