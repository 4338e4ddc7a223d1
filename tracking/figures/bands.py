"""A line and its band, the median over the seeds and the interquartile range, over whatever is to the right."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from tracking.figures.data import Depths, Line

FEW = 16  # points of a line, which are marked


def draw_band(axes: Axes, line: Line | Depths, band: pd.DataFrame, log: bool = False, few: int = FEW) -> None:
    """Draw `band`, rows of `over_seeds` at their index, with a mark at each point where they are `few` at most.

    On a log scale there is no place for a 0.
    """
    shown = band.where(band > 0) if log else band
    marker = "o" if len(shown) <= few else ""
    axes.plot(shown["q50"], line.dashes, marker=marker, markersize=3.5, color=line.colour, label=line.label)
    # A quartile of 0 next to a median above it is at the lower edge.
    low = band["q25"].where(band["q25"] > 0, shown["q50"].min() / 10) if log else band["q25"]
    if len(shown) == 1:  # an area of no width
        axes.vlines(shown.index, low, band["q75"], color=line.colour, alpha=0.5, linewidth=2.5)
    else:
        known = shown["q50"].notna()
        axes.fill_between(shown.index, low, band["q75"], where=known, color=line.colour, alpha=0.18, linewidth=0)


def log_scale(axes: Axes) -> None:
    """An upright log scale, where a line has something above 0."""
    if any(np.nanmax(line.get_ydata(), initial=0.0) > 0 for line in axes.lines):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
