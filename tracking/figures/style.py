"""How every figure looks: one palette, one width, and files that are small.

The palette is Okabe and Ito's, which colour-blind readers can tell apart. The width is that of a column: on a phone
it is scaled by 0.7 and its letters are still 9 px and more, in print it is a column of a page.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

WIDTH = 5.0  # inches
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# From the fourth on every other line is broken: where two lie on each other, both are seen.
DASHES = ("-", "-", "-", "--", "-", "--", ":", "-.")
BEST = ("#000000", "--")  # colour and dashes of the best searched configuration
MISSING_COLOUR = "#d9d9d9"
COLOURS = "viridis"  # of a scale
MARK = "Drawn by gradsweep"  # in every SVG: what has it may be drawn anew
RC: dict[Any, Any] = {  # matplotlib's type is a list of all names
    "font.size": 10.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    # Letters stay letters: a quarter of the size, and a reader can search for them.
    "svg.fonttype": "none",
    # The same figure is the same file.
    "svg.hashsalt": "gradsweep",
}
_STATISTICS = {"mean_abs": "mean |g|", "rms": "rms of g", "max_abs": "max |g|", "vanished": "|g| < 1e-7"}


class NotDrawn(ValueError):
    """This figure does not apply to this sweep: a clause that says why, without a capital or a full stop."""


class NotMeasured(NotDrawn):
    """What it shows is only recorded where a spec asks for it, and this one does not: that goes without saying."""


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure (inches) that belongs to no window."""
    return Figure(figsize=(width, height), layout="constrained")


def legend_below(figure: Figure, axes: Axes) -> None:
    """The legend of one panel under all of them, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 1 if max(map(len, labels), default=0) > 34 else 2
    labels = [textwrap.fill(label, 60) for label in labels]
    figure.set_figheight(figure.get_figheight() + 0.15 * sum(label.count("\n") for label in labels))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def axis_label(metric: str) -> str:
    """What a metric is called on an axis, with its unit."""
    kind, _, statistic = metric.rpartition(".")
    if metric.endswith("accuracy"):
        return f"{kind} accuracy"
    if kind in ("gradient.data", "gradient.total"):
        of = "g: loss" if kind == "gradient.data" else "g: loss + penalty"
        return f"{_STATISTICS.get(statistic, statistic)}\n({of})"
    return f"{kind} loss (nats)" if metric.endswith("loss") else metric


def depth_ticks(axis: Axis, depths: Sequence[int]) -> None:
    """The ticks of a log scale of ascending depths: of two whose numbers would touch, the first."""
    apart, shown = math.log(max(2.0, depths[-1] / depths[0])) / 14, list(depths[:1])
    for depth in depths[1:]:
        shown += [depth] if math.log(depth / shown[-1]) >= apart else []
    axis.set_major_locator(FixedLocator(shown))
    axis.set_major_formatter("{x:.0f}")
    axis.set_minor_locator(NullLocator())


def percent(decimals: int | None = 0) -> PercentFormatter:
    """The ticks of an axis of shares."""
    return PercentFormatter(1.0, decimals=decimals)


def svg(figure: Figure) -> str:
    """The figure as SVG."""
    text = io.StringIO()
    with rc_context(rc=RC):
        figure.savefig(text, format="svg", metadata={"Date": None, "Source": MARK})
    return text.getvalue()


def write(figure: Figure, file: Path) -> None:
    """Write an .svg, .png or .pdf, by the file's ending. Raises ValueError for another one, and OSError."""
    with rc_context(rc=RC):
        figure.savefig(file, dpi=120, metadata={"Date": None} if file.suffix == ".svg" else None)
