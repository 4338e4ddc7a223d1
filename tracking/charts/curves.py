"""Accuracies and gradients over the epochs: every configuration, the arms and the best in colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tracking.charts.bands import area_of
from tracking.charts.chart import Chart, ChartData, Kind, Trace
from tracking.charts.style import (
    DASHES,
    GREY,
    above_zero,
    axis_key,
    colour,
    faint,
    layout,
    log_axis,
    metric_label,
    numbered,
    numbers,
    panels,
    plain,
    share_or_number,
    value_axis,
    wrapped,
)
from tracking.figures.accuracy_and_gradients import ACCURACY, DATA, TOTAL, seeds_of
from tracking.figures.data import Line, over_seeds, within
from tracking.figures.style import NotDrawn
from tracking.verdict.tables import SHARE, P, count, number

HEIGHT = 230
MOST = 8_000  # grey points of a panel: beyond that, epochs are left out
MOST_LINES = 500  # and grey lines
BANDS = 30  # so many grey configurations at most have their interquartile ranges


def draw(data: ChartData) -> Chart:
    """A panel per metric over one axis of epochs."""
    records = data.records
    chosen, own = records.lines, records.own
    if "end" not in records.ends:
        raise NotDrawn("only epoch 0 has been recorded")
    penalized = bool((own["r"] > 0).any())
    wanted = [ACCURACY, records.objective.metric, DATA, *([TOTAL] if penalized else [])]
    metrics = [m for m in dict.fromkeys(wanted) if m in own]
    if not metrics:
        raise NotDrawn(f"the records have neither {ACCURACY} nor {DATA}")
    in_colour = {int(line.rows["configuration"].iloc[0]) for line in chosen}
    others = own[~own["configuration"].isin(in_colour)]
    every = others["configuration"].unique()[:: -(-others["configuration"].nunique() // MOST_LINES) or 1]
    hidden = others["configuration"].nunique() - len(every)
    others = others[others["configuration"].isin(every)]
    amount, epochs = others["configuration"].nunique(), int(own["epoch"].max())
    step = -(-len(others.drop_duplicates(["configuration", "epoch"])) // MOST) if amount else 1
    domains, titles, height = panels([metric_label(m) for m in metrics], HEIGHT)
    traces: list[Trace] = []
    axes: dict[str, Any] = {}
    below = False
    for place, metric in enumerate(metrics):
        log = metric in (DATA, TOTAL) and bool((own[metric] > 0).any())
        written = ".1%" if metric.endswith("accuracy") else ".4g"
        axis, more_below = _log_axis(chosen, others, metric) if log else (value_axis(metric), False)
        below |= more_below
        axes[axis_key("y", place)] = {**axis, "domain": domains[place], "hoverformat": written}
        on = {"yaxis": numbered("y", place)}
        first = place == 0
        traces += [t | on for t in _grey(data, others, metric, log, step, first)]
        for line in chosen:
            traces += [t | on for t in _in_colour(line, metric, log, first)]
    x = {"title": {"text": "epoch (0: before the first step)"}, "anchor": numbered("y", len(metrics) - 1)}
    axes["xaxis"] = {**x, "range": [-epochs / 50, epochs * 51 / 50]} if epochs else x
    # What all grey lines share is said once.
    grey = {"mode": "lines", "line": {"color": faint(GREY, 0.6), "width": 1}, "showlegend": False}
    grey["hovertemplate"] = "%{fullData.name}<br>epoch %{x}: %{y}<extra></extra>"
    entries = len(chosen) + bool(amount) + (0 < amount <= BANDS)
    return Chart(
        traces,
        layout(height, entries, annotations=titles, template={"data": {"scatter": [grey]}}, **axes),
        _caption(chosen, amount, hidden, step, below) + records.which_best,
        f"Curves over the epochs, medians over the seeds. {'; '.join(_ends(chosen, metrics))}.",
    )


def _in_colour(line: Line, metric: str, log: bool, first: bool) -> list[Trace]:
    """Its band and its line, which the legend shows and hides together."""
    band, shade = line.band(metric), colour(line)
    shared = {"legendgroup": plain(line.name), "name": wrapped(line.label)}
    area = area_of(shade, band, log) | shared | {"showlegend": False}
    value, low, high = (share_or_number(metric, name) for name in ("y", "customdata[0]", "customdata[1]"))
    course = {
        "mode": "lines+markers" if len(band) == 1 else "lines",
        "x": band.index.tolist(),
        "y": (above_zero if log else numbers)(band["q50"]),
        "customdata": list(zip(numbers(band["q25"]), numbers(band["q75"]), strict=True)),
        "line": {"color": shade, "dash": DASHES[line.dashes], "width": 2.2},
        "text": plain(line.name),
        "hovertemplate": f"%{{text}}<br>epoch %{{x}}: {value}<br>quartiles {low} to {high}<extra></extra>",
        "showlegend": first,
    }
    return [area, course | shared]


def _grey(data: ChartData, others: pd.DataFrame, metric: str, log: bool, step: int, first: bool) -> list[Trace]:
    """A line for each of the others; and a band, off until the legend's entry is pressed, where they are few."""
    if not len(others):
        return []
    amount = others["configuration"].nunique()
    table = over_seeds(others[metric], [others["configuration"], others["epoch"]])
    traces: list[Trace] = []
    areas: list[Trace] = []
    for place, (configuration, band) in enumerate(table.groupby(level=0)):
        band = band.droplevel(0)
        kept = [e for e in band.index if e == 0 or (band.index[-1] - e) % step == 0]
        band = band.loc[kept]
        label = data.label(int(str(configuration)))
        traces.append(
            {
                **({"mode": "markers"} if len(band) == 1 else {}),
                **({"x0": 0, "dx": 1} if step == 1 and kept == [*range(len(kept))] else {"x": kept}),
                "y": (above_zero if log else numbers)(band["q50"]),
                "name": label,
                "legendgroup": "others",
            }
        )
        if amount > BANDS:
            continue
        area = {
            "fillcolor": faint(GREY, 0.12),
            "name": "their interquartile ranges",
            "legendgroup": "bands",
            "legendrank": 1002,
        }
        areas.append(area_of(GREY, band, log) | area | {"visible": "legendonly", "showlegend": first and place == 0})
    if first:
        entry = {"name": count(amount, "other configuration"), "legendgroup": "others", "legendrank": 1001}
        traces.append({"x": [None], "y": [None], "showlegend": True, **entry})
    return [*areas, *traces]


def _log_axis(chosen: Sequence[Line], others: pd.DataFrame, metric: str) -> tuple[dict[str, Any], bool]:
    """A log scale that shows the lines in colour at first; and whether there are grey ones far below."""
    bands = pd.concat([line.band(metric) for line in chosen])
    medians = bands["q50"][bands["q50"] > 0]
    if not len(medians):
        return log_axis(0.0), False
    low, high = medians.min() / 10, max(bands["q75"].max(), within(others[metric]).max() if len(others) else 0) * 3
    grey = within(others[metric])
    return log_axis(low, range=numbers([math.log10(low), math.log10(high)])), bool((grey[grey > 0] < low).any())


def _caption(chosen: Sequence[Line], amount: int, hidden: int, step: int, below: bool) -> str:
    text = "Accuracy, and the mean absolute coordinate of the gradient on a log scale: of the loss alone, and with the "
    text += f"penalty where there is one. {seeds_of(chosen)}"
    if amount:
        text += f" Arms and the best searched configuration are in colour; {count(amount, 'other')} in grey"
        text += ", without areas, as there are so many." if amount > BANDS else ", their areas hidden at first."
    if hidden:
        text += f" To keep the page light, {hidden} more are not shown."
    if below:
        text += " The gradient's axis begins a decade below the lines in colour; a double click shows what is lower."
    if step > 1:
        text += f" To keep the page light, grey lines show epoch 0 and each {step}th epoch before their last."
    return text


def _ends(chosen: Sequence[Line], metrics: Sequence[str]) -> list[str]:
    texts = []
    for line in chosen:
        parts = []
        if ACCURACY in metrics:
            parts.append(f"accuracy {number(line.band(ACCURACY)['q50'].iloc[-1], SHARE)} at the end")
        if DATA in metrics:
            parts.append(f"gradient {number(line.band(DATA)['q50'].iloc[0], P)} at the start")
        texts.append(f"{line.label}: {', '.join(parts)}")
    return texts


CHART = Kind("Accuracy and gradients", draw)
