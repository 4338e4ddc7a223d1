"""Panels of lines that are medians over the seeds, with the interquartile range around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tracking.charts.chart import Chart, Trace
from tracking.charts.style import (
    DASHES,
    above_zero,
    axis_key,
    colour,
    faint,
    layout,
    log_axis,
    numbered,
    numbers,
    panels,
    plain,
    wrapped,
)
from tracking.figures.bands import FEW
from tracking.figures.data import Depths, Line

HEIGHT = 190


@dataclass(frozen=True)
class Panel:
    """One panel: each line with `q25`, `q50`, `q75` over what is to the right.

    `what` is on its upright axis, which those of the same have in common; `when` may be empty.
    """

    what: str
    when: str
    bands: Sequence[tuple[Line | Depths, pd.DataFrame]]
    log: bool = False


def bands_chart(shown: Sequence[Panel], across: str, place: str, caption: str, alt: str) -> Chart:
    """Panels one below the other over one axis; `place` is what the pointer calls a value of it: `layer %{x}`."""
    texts = [plain(f"{panel.what}{f', {panel.when}' * bool(panel.when)}") for panel in shown]
    domains, titles, height = panels(texts, HEIGHT)
    traces: list[Trace] = []
    axes: dict[str, Any] = {}
    named = set[str]()
    for i, panel in enumerate(shown):
        for line, band in panel.bands:
            more = {"yaxis": numbered("y", i), "legendgroup": plain(line.label), "name": wrapped(line.label)}
            area, course = area_of(colour(line), band, panel.log), _course(line, band, panel.log, place)
            traces += [area | more | {"showlegend": False}, course | more | {"showlegend": line.label not in named}]
            named.add(line.label)
        first = next(j for j, of in enumerate(shown) if of.what == panel.what)
        same = {"matches": numbered("y", first)} if first < i else {}
        axis = log_axis(0.0) if panel.log else {"automargin": True}
        axes[axis_key("y", i)] = axis | {"domain": domains[i], **same}
    x = {"anchor": numbered("y", len(shown) - 1), "title": {"text": across}, "zeroline": False, "automargin": True}
    x |= {} if across else {"showticklabels": False}
    return Chart(traces, layout(height, len(named), annotations=titles, xaxis=x, **axes), caption, alt)


def area_of(shade: str, band: pd.DataFrame, log: bool) -> Trace:
    """What lies between the quartiles of `over_seeds`, faintly in this colour.

    On a log scale 0 is a decade below the smallest median.
    """
    known = band[(band["q50"] > 0) if log else band["q50"].notna()]
    low = known["q25"].clip(lower=known["q50"].min() / 10) if log else known["q25"]
    return {
        "mode": "lines",
        "x": [*known.index.tolist(), *known.index[::-1].tolist()],
        "y": [*numbers(known["q75"]), *numbers(low[::-1])],
        "fill": "toself",
        "fillcolor": faint(shade),
        # of a single point it would have no width
        "line": {"width": 6 if len(known) == 1 else 0, "color": faint(shade, 0.5)},
        "hoverinfo": "skip",
    }


def _course(line: Line | Depths, band: pd.DataFrame, log: bool, place: str) -> Trace:
    return {
        "mode": "lines+markers" if len(band) <= FEW else "lines",
        "x": band.index.tolist(),
        "y": (above_zero if log else numbers)(band["q50"]),
        "customdata": [numbers(pair) for pair in band[["q25", "q75"]].to_numpy().tolist()],
        "line": {"color": colour(line), "dash": DASHES[line.dashes], "width": 2},
        "text": plain(line.label),
        "hovertemplate": f"%{{text}}<br>{place}%{{y:.4g}}<br>quartiles %{{customdata[0]:.4g}} to %{{customdata[1]:.4g}}"
        "<extra></extra>",
    }
