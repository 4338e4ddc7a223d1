"""How often narrow relu networks are dead before the first step, by width and depth, against Lu et al.'s bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from docs.build.studies.page import Frame, Records
from tracking.figures.album import Drawing
from tracking.figures.style import PALETTE, legend_below, new_figure, percent
from tracking.verdict.tables import Section, Table
from trainers.theory.born_dead import born_dead_bounds

SMALL = ("seeds=4", "search.space.units=[2, 3]", "search.space.dense=[1, 4]")
ERRORS = 3  # standard errors that a share may be off by chance
TITLES = {"standardized": "standardized images", "unit": "pixels in [0, 1]"}


def parts(records: Records) -> Iterator[Drawing | Section]:
    """What was found: shares beside bounds, and their figure."""
    shares: Frame = records.members.groupby(["units", "dense", "input"])["signal.born_dead"].mean().unstack()
    seeds = records.members["seed"].nunique()
    bounds: Frame = pd.DataFrame({at: born_dead_bounds(*at) for at in shares.index}, index=["lower", "upper"]).T
    yield _section(shares, bounds, seeds)
    figure = new_figure(3.9, 7.5)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (name, title) in zip(panels, TITLES.items(), strict=True):
        for colour, width in zip(PALETTE, sorted({units for units, _ in shares.index}), strict=False):
            own, bound = shares.loc[width][name], bounds.loc[width]
            axes.plot(own.index, own, "o", color=colour, markersize=4.5, label=f"{width} units")
            axes.plot(bound.index, bound["upper"], "-", color=colour, linewidth=1.2)
            axes.plot(bound.index, bound["lower"], "--", color=colour, linewidth=1.2)
        axes.set_title(title)
        axes.set_xlabel("hidden layers")
        axes.yaxis.set_major_formatter(percent())
    panels[0].set_ylabel("networks that are born dead")
    legend_below(figure, panels[0])
    yield Drawing(
        figure,
        f"The share of {seeds} networks in which a layer is 0 on every image before the first step. Solid: Lu et al.'s "
        "upper bound; dashed: their lower bound, for a single input.",
        f"Shares over the depth for {len(shares.index.levels[0])} widths, and the bounds.",
    )


def _section(shares: Frame, bounds: Frame, seeds: int) -> Section:
    sentences = []
    for name, title in TITLES.items():
        above = below = 0
        for at, share in shares[name].items():
            low, high = bounds.loc[at]
            above += share > high + ERRORS * math.sqrt(high * (1 - high) / seeds)
            below += share < low - ERRORS * math.sqrt(low * (1 - low) / seeds)
        sentences.append(
            f"With {title}, {above} of {len(shares)} shares are above the upper bound and {below} below the lower one "
            f"by more than {ERRORS} standard errors of {seeds} networks."
        )
    rows = tuple(
        (
            str(width),
            str(depth),
            *(f"{shares.loc[(width, depth), name]:.3f}" for name in TITLES),
            f"{low:.3f}",
            f"{high:.3f}",
        )
        for (width, depth), (low, high) in zip(shares.index, bounds.to_numpy(), strict=True)
    )
    columns = ("units#", "hidden layers#", *(f"{title}#" for title in TITLES.values()), "lower bound#", "upper bound#")
    return Section("How many are born dead", tuple(sentences), (Table("Shares, and the bounds", columns, rows),))
