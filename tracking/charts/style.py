"""How the charts look whatever they show, and how numbers and texts go into them.

The page's style sheet has the colours of text, ground and grid; the colours here are seen on a light and a dark ground.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib import colormaps

from tracking.figures.data import Depths, Line
from tracking.figures.style import BEST, COLOURS, axis_label

GREY = "#8b949e"  # of what is not an arm and not the best
BEST_COLOUR = "#a371f7"  # the figures' black is not seen on a dark ground
STATES = {"complete": "#009E73", "running": "#56B4E9", "pruned": GREY, "diverged": "#D55E00", "failed": "#CC79A7"}
DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
DIGITS = 4  # of a number: more than a pixel can show
TITLE = (10, 16)  # pixels above a panel for its title: besides its lines, and for each
LEGEND = 18  # pixels of a line of the legend
LAYOUT: Mapping[str, Any] = {
    "margin": {"l": 62, "r": 14, "t": 8, "b": 46},
    "hovermode": "closest",
    "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"},
}


def plain(text: object) -> str:
    """Text that stays text where plotly.js reads markup."""
    return html.escape(str(text), quote=False)


def wrapped(text: str, width: int = 40) -> str:
    """The same in lines that a phone has room for."""
    return "<br>".join(map(plain, textwrap.wrap(text, width)))


def numbers(values: Iterable[float], digits: int = DIGITS) -> list[float | None]:
    """Numbers as JSON knows them, to so many digits: None for what is not finite."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


def above_zero(values: Iterable[float]) -> list[float | None]:
    """The same for a log scale."""
    return numbers(value if value > 0 else math.nan for value in values)


def colour(line: Line | Depths) -> str:
    """Its colour in a chart."""
    return BEST_COLOUR if line.colour == BEST[0] else line.colour


def faint(shade: str, opacity: float = 0.18) -> str:
    """A colour (#rrggbb) that lets shine through what is behind it."""
    red, green, blue = (int(shade[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def scale(share: float) -> str:
    """The colour at 0 to 1 of the scale that plotly.js has by the same name."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colormaps[COLOURS](share)[:3])


def metric_label(metric: str) -> str:
    """What a metric is called beside a chart."""
    return plain(axis_label(metric).replace("\n", " "))


def share_or_number(metric: str, axis: str) -> str:
    """How plotly.js writes a value of a metric that is on this axis when the pointer is over it."""
    return f"%{{{axis}:.1%}}" if metric.endswith("accuracy") else f"%{{{axis}:.4g}}"


def value_axis(metric: str, **more: Any) -> dict[str, Any]:
    """An axis for a metric; accuracies are in percent."""
    return {"automargin": True, **({"tickformat": ".0%"} if metric.endswith("accuracy") else {}), **more}


def log_axis(low: float, **more: Any) -> dict[str, Any]:
    """An upright log scale from `low` on."""
    written = ".3~g" if low >= 1e-4 else "~e"
    return {"type": "log", "tickformat": written, "nticks": 6, "automargin": True, **more}


def log_axis_across(low: float, high: float, **more: Any) -> dict[str, Any]:
    """One that lies, for values from `low` to `high`: no more ticks than a phone has room for."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    between, step = ((1, 2, 5), 1) if high / low < 300 else ((1,), -(-len(decades) // 7))
    ticks = [float(f"{m}e{d}") for d in decades[::step] for m in between]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks], "automargin": True, **more}


def layout(height: int, entries: int = 0, **more: Any) -> dict[str, Any]:
    """A layout of so many pixels for the panels, below a legend of so many entries."""
    return {**LAYOUT, "height": height + 54 + LEGEND * entries, "showlegend": entries > 0, **more}


def panels(titles: Sequence[str], height: int, gap: int = 14) -> tuple[list[list[float]], list[dict[str, Any]], int]:
    """Panels one below the other, each of `height` pixels under its title: domains, titles, and the height of all.

    `gap` are the pixels below each but the last, for its ticks. A title is escaped already.
    """
    above = TITLE[0] + TITLE[1] * max(1 + title.count("<br>") for title in titles)
    each = above + height
    total = each * len(titles) + gap * (len(titles) - 1)
    tops = [1 - (place * (each + gap) + above) / total for place in range(len(titles))]
    domains = [[max(0.0, top - height / total), top] for top in tops]
    return domains, [title_at(title, 0.0, top) for title, top in zip(titles, tops, strict=True)], total


def title_at(text: str, x: float, y: float) -> dict[str, Any]:
    """The title of a panel whose upper left corner is here; the text is escaped already."""
    place = {"xref": "paper", "yref": "paper", "x": x, "y": y, "xanchor": "left", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": {"size": 13}, "align": "left", **place}


def numbered(axis: str, place: int) -> str:
    """`y`, `y2`, `y3`: the axes of the panels, counted from 0."""
    return axis + (str(place + 1) if place else "")


def axis_key(axis: str, place: int) -> str:
    """`yaxis`, `yaxis2`: where a layout has them."""
    return f"{axis}axis" + (str(place + 1) if place else "")
