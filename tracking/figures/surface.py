"""The objective over alpha and r, with the paper's point and the region that is as good as the best."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.tri import Triangulation

from tracking.figures.album import Drawing, Kind
from tracking.figures.data import FigureData
from tracking.figures.style import COLOURS, NotDrawn, axis_label, legend_below, new_figure, percent
from tracking.results import per_seed
from tracking.tidy import MEMBER
from tracking.verdict.tables import number

PAPER = (2.0, 0.01)  # alpha, r
LEAST = 4  # points


def draw(data: FigureData) -> Drawing:
    """A dot for each complete configuration, coloured by its mean; between them linear interpolation.

    A ring marks each configuration whose mean is at most one standard error worse than the best one's. The other
    fields that were searched may differ from dot to dot.
    """
    points, metric = surface(data), data.objective.name
    values, near, best = points["value"], points[points["near"]], points[points["best"]]
    figure = new_figure(4.6)
    axes = figure.subplots()
    shown: dict[str, Any] = {"cmap": COLOURS, "vmin": values.min(), "vmax": values.max()}
    inside = points[points["r"] > 0]
    places = inside[["x", "y"]]
    # Else they are few, or all on one straight line: there is nothing between them.
    if len(places.drop_duplicates()) >= LEAST and np.linalg.matrix_rank(places - places.mean(), rtol=1e-6) == 2:
        triangles = Triangulation(inside["x"], inside["y"])
        axes.tricontourf(triangles, inside["value"], levels=14, alpha=0.55, **shown)
    dots = axes.scatter(points["x"], points["y"], c=values, s=26, edgecolors="white", linewidths=0.5, zorder=3, **shown)
    ring: dict[str, Any] = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.3, "zorder": 4}
    axes.scatter(near["x"], near["y"], s=80, label="at most a standard error worse than the best", **ring)
    # Open and larger than the star, which may lie on it.
    diamond = {**ring, "marker": "D", "edgecolors": "#D55E00", "linewidths": 2.2, "zorder": 5}
    axes.scatter(best["x"], best["y"], s=150, label="the best", **diamond)
    star = {**ring, "marker": "*", "facecolors": "white", "linewidths": 1.0, "zorder": 6}
    axes.scatter(np.log10(PAPER[1]), np.log10(PAPER[0]), s=120, label="the paper's point: α = 2, r = 0.01", **star)
    # Else the surface's edge is the panel's, and cuts through the dots there.
    axes.use_sticky_edges = False
    _ticks(axes, points)
    bar = figure.colorbar(dots, ax=axes, location="top", aspect=40, shrink=0.9)
    bar.set_label(textwrap.fill(f"{axis_label(metric)}, mean over the seeds", 52))
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    if metric.endswith("accuracy"):
        bar.ax.xaxis.set_major_formatter(percent(None))
    legend_below(figure, axes)
    others = ", ".join(a.name for a in data.axes if a.name not in ("alpha", "r"))
    also = f" The dots also differ in {others}, which is not shown." * bool(others)
    place = ", ".join(f"{name} = {number(best[name].iloc[0], '.3g')}" for name in ("alpha", "r"))
    return Drawing(
        figure,
        f"The mean over the seeds of {metric} over alpha and r: one dot per complete configuration, with linear "
        "interpolation between them. The diamond is the best, circles mark those that are at most one standard error "
        f"worse, and the star is the paper's recommendation.{data.which_best}{also}",
        f"{len(points)} points over alpha and r. The best, {number(best['value'].iloc[0])}, is at {place}; "
        f"at most its standard error worse, itself included: {len(near)}.",
    )


def surface(data: FigureData) -> pd.DataFrame:
    """The results as points: `x` is log10 of r, with 0 a decade left of the others, `y` log10 of alpha.

    One is `best`, and some are `near` it. Raises NotDrawn where alpha and r were not both varied.
    """
    free = {"alpha", "r", "engine", "epochs", *(axis.name for axis in data.axes)}
    results = data.results
    # The largest part of them that is the same in all other fields.
    if len(results) and (fixed := [name for name in MEMBER if name not in free and name in results]):
        group = results.groupby(fixed, dropna=False, sort=False).ngroup()
        results = results[group == group.value_counts(sort=False).idxmax()]
    if len(results) < LEAST:
        raise NotDrawn(
            f"it takes {LEAST} complete configurations that differ in alpha and r, and there are {len(results)}"
        )
    if results["alpha"].nunique() < 2 or results["r"].nunique() < 2:
        raise NotDrawn("alpha and r were not both varied among the complete configurations")
    values, r = results["value"], results["r"]
    best = data.best(results.index.tolist())
    assert best is not None
    seeds = per_seed(data.rows(best), data.objective)
    error = seeds.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else 0.0
    zero = min(float(np.log10(r[r > 0].min())), np.log10(PAPER[1])) - 1.0
    return results.assign(
        x=np.log10(r.where(r > 0, 10.0**zero)),
        y=np.log10(results["alpha"]),
        best=results.index == best,
        near=(values[best] - values) * (1 if data.objective.direction == "maximize" else -1) <= error,
    )


def _ticks(axes: Axes, points: pd.DataFrame) -> None:
    """Decades as powers of ten, and 0 apart from them."""
    paper = np.log10(PAPER[1])
    zero = points["x"][points["r"] == 0].unique().tolist()
    low = np.floor(min(points["x"][points["r"] > 0].min(), paper))
    decades = np.arange(low, max(np.ceil(points["x"].max()), paper) + 1).tolist()
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
