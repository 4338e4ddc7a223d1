"""How the gradient's coordinates are distributed in each layer, at the start and at the end, from their quantiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tracking.charts.chart import Chart, ChartData, Kind, Trace
from tracking.charts.style import GREY, axis_key, colour, layout, numbered, numbers, panels, wrapped
from tracking.figures.data import AFTER, BEFORE, Line, within
from tracking.figures.style import NotDrawn
from tracking.verdict.tables import number

QUANTILES = ("q05", "q25", "q50", "q75", "q95")
HEIGHT = 200
MOST_LAYERS = 40


def draw(data: ChartData) -> Chart:
    """A panel per line. Per layer a thin bar over 90% of the coordinates, a thick one over the middle half."""
    shown = []
    when = data.records.ends
    for line in data.records.lines:
        ends = [_quantiles(line, rows) for rows in (line.start, line.end)[: len(when)]]
        if len(ends[0]):
            shown.append((line, ends))
    sizes = np.abs(np.concatenate([np.empty(0), *(end.to_numpy().ravel() for _, ends in shown for end in ends)]))
    positive = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(positive):
        raise NotDrawn("the records have no quantiles of a layer's gradient that are finite and not 0")
    # Linear around 0, up to where the narrowest quartiles are, and by decades from there on.
    narrow = np.concatenate([np.abs(end[["q25", "q75"]].to_numpy()).ravel() for _, ends in shown for end in ends])
    narrow = narrow[np.isfinite(narrow) & (narrow > 0)]
    unit = 10.0 ** math.floor(
        math.log10(max(float((narrow if len(narrow) else positive).min()), positive.max() / 1e30))
    )
    decades = math.ceil(math.log10(positive.max() / unit))
    # Not near 0: its tick would be on theirs.
    powers = sorted(range(decades, 0, -max(1, math.ceil(decades / 3))))
    marks = [-unit * 10.0**p for p in reversed(powers)] + [0.0] + [unit * 10.0**p for p in powers]
    at = _place(np.array(marks), unit).tolist()
    domains, titles, height = panels([wrapped(line.label, 44) for line, _ in shown], HEIGHT)
    traces: list[Trace] = []
    axes: dict[str, Any] = {}
    texts = []
    layers = max((end.index.tolist() for _, ends in shown for end in ends), key=len)
    for place, (line, ends) in enumerate(shown):
        looks = [(-0.16, GREY), (0.16, colour(line))] if len(ends) > 1 else [(0.0, colour(line))]
        for (shift, shade), at_which, end in zip(looks, when, ends, strict=True):
            bars = _bars(end, shift, shade, at_which, unit, place == 0)
            traces += [t | {"yaxis": numbered("y", place)} for t in bars]
        y = {"domain": domains[place], "tickvals": at, "ticktext": [f"{mark:.2g}" for mark in marks]}
        axes[axis_key("y", place)] = y | {"automargin": True, "zeroline": True}
        widths = " and ".join(
            f"{number(end['q75'].iloc[i] - end['q25'].iloc[i], '.1g')} in {end.index[i]}"
            for end in ends
            for i in (0, -1)
        )
        texts.append(f"{line.name} {widths}")
    named = [*range(0, len(layers), -(-len(layers) // 20))]
    axes["xaxis"] = {
        "anchor": numbered("y", len(shown) - 1),
        "tickvals": named,
        "ticktext": [layers[i] for i in named],
        "automargin": True,
        "title": {"text": "layer, from the input to the output"},
        "zeroline": False,
    }
    return Chart(
        traces,
        layout(height + 30, 1, annotations=titles, **axes),
        "The coordinates of the loss's gradient in each layer: the thin bar is from the 5% to the 95% quantile, the "
        "thick one from quartile to quartile, the dot the median; each a median over the seeds. "
        + (
            "Grey is before the first step, colour after the last epoch. "
            if len(when) > 1
            else "They are the initial values'. "
        )
        + f"The scale is linear below {unit:.2g} and logarithmic above, on both "
        "sides of 0.",
        "Bars by layer. From quartile to quartile, first and last layer, "
        f"{', then '.join(f'at the {at_which}' for at_which in when)}: {'; '.join(texts)}.",
    )


def _quantiles(line: Line, rows: pd.DataFrame) -> pd.DataFrame:
    """Medians over the seeds: a row per layer, a column per quantile; NaN where a seed's is not finite."""
    columns = {q: line.layers(f"gradient.data.{q}") for q in QUANTILES}
    layers = [layer for layer in columns["q50"] if all(layer in of for of in columns.values())]
    layers = layers[:: -(-len(layers) // MOST_LAYERS) or 1]
    medians = {q: [within(rows[of[layer]]).median(skipna=False) for layer in layers] for q, of in columns.items()}
    return pd.DataFrame(medians, index=layers)


def _place(values: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    return np.sign(values) * np.log10(1 + np.abs(values) / unit)


def _bars(table: pd.DataFrame, shift: float, shade: str, when: str, unit: float, first: bool) -> list[Trace]:
    x = np.arange(len(table)) + shift
    places = {q: numbers(_place(table[q].to_numpy(), unit)) for q in QUANTILES}
    traces: list[Trace] = []
    for low, high, width in (("q05", "q95", 1.5), ("q25", "q75", 7)):
        ends = zip(places[low], places[high], strict=True)
        traces.append(
            {
                "mode": "lines",
                "x": [v for at in x.round(2).tolist() for v in (at, at, None)],
                "y": [v for pair in ends for v in (*pair, None)],
                "line": {"color": shade, "width": width},
                "hoverinfo": "skip",
                "legendgroup": when,
                "showlegend": False,
            }
        )
    texts = [
        f"{layer}, at the {when}<br>"
        + "<br>".join(f"{q[1:]}%: {number(v, '.2g')}" for q, v in zip(QUANTILES, row, strict=True))
        for layer, row in zip(table.index, table.to_numpy().tolist(), strict=True)
    ]
    dots = {
        "mode": "markers",
        "x": x.round(2).tolist(),
        "y": places["q50"],
        "marker": {"color": "#ffffff", "size": 6, "line": {"color": shade, "width": 1.5}},
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "name": {"start": BEFORE, "end": AFTER}[when],
        "legendgroup": when,
        "showlegend": first,
    }
    return [*traces, dots]


CHART = Kind("Distribution of the gradient by layer", draw)
