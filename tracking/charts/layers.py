"""How large the gradient is in each layer over the epochs: a heat map on a log scale for each line.

Of initial values alone, where there are no epochs, a curve for each line.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracking.charts.bands import Panel, bands_chart
from tracking.charts.chart import Chart, ChartData, Kind
from tracking.charts.style import axis_key, layout, numbered, panels, wrapped
from tracking.figures.data import BEFORE, within
from tracking.figures.layers import CAPTION, NOTHING, STATISTIC, profiles, words
from tracking.figures.style import NotDrawn
from tracking.verdict.tables import number

MOST_EPOCHS, MOST_LAYERS = 31, 40  # of a panel


def draw(data: ChartData) -> Chart:
    """A panel per line: epochs to the right, layers from the input (top) to the output, the median over the seeds."""
    if "end" not in data.records.ends:
        bands = profiles(data.records)
        panel = Panel("rms of the loss's gradient", BEFORE, bands, log=True)
        return bands_chart([panel], "layer, from the input on", "layer %{x}: ", CAPTION, words(bands))
    shown = []
    for line in data.records.lines:
        columns = {column: layer for layer, column in line.layers(STATISTIC).items()}
        finite = line.rows[[*columns]].apply(within)
        table = finite.groupby(line.rows["epoch"]).median(skipna=False).rename(columns=columns).T
        if len(table):
            rows, epochs = (
                -(-count // most) for count, most in zip(table.shape, (MOST_LAYERS, MOST_EPOCHS), strict=True)
            )
            # From the output backwards and from the last epoch backwards, with the first of both.
            shown.append(
                (line, table.iloc[_kept(len(table), rows), _kept(table.shape[1], epochs)], max(rows, epochs) > 1)
            )
    cells = np.concatenate([np.empty(0), *(table.to_numpy().ravel() for _, table, _ in shown)])
    positive = cells[np.isfinite(cells) & (cells > 0)]
    if not len(positive):
        raise NotDrawn(NOTHING)
    low, high = (math.log10(edge) for edge in (positive.min(), positive.max()))
    most = max(len(table) for _, table, _ in shown)
    domains, titles, height = panels([wrapped(line.label, 44) for line, _, _ in shown], 40 + 13 * min(most, 24), gap=26)
    # Decades, or what is between them where there are few.
    few = high - low < 2.5
    edges = [m * 10.0**d for d in range(math.floor(low), math.ceil(high) + 1) for m in ((1, 2, 5) if few else (1,))]
    ticks = [edge for edge in edges if low <= math.log10(edge) <= high]
    ticks = ticks[:: -(-len(ticks) // 7) or 1] or [10.0**low]
    layouts: dict[str, Any] = {
        "coloraxis": {
            "colorscale": "Viridis",
            "cmin": low,
            "cmax": max(high, low + 1e-9),
            "colorbar": {
                "orientation": "h",
                "y": 1,
                "yanchor": "bottom",
                "ypad": 4,
                "len": 0.9,
                "thickness": 12,
                "tickvals": [math.log10(tick) for tick in ticks],
                "ticktext": [f"{tick:.2g}" for tick in ticks],
                "title": {"text": "rms of the loss's gradient (log scale)", "side": "top"},
            },
        }
    }
    traces = []
    for place, (_, table, _) in enumerate(shown):
        sizes = table.to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log10(sizes)
        on = {"xaxis": numbered("x", place), "yaxis": numbered("y", place), "coloraxis": "coloraxis"}
        traces.append(
            {
                "type": "heatmap",
                "x": table.columns.tolist(),
                "y": table.index.tolist(),
                "z": [[round(cell, 2) if math.isfinite(cell) else None for cell in row] for row in logs.tolist()],
                "text": [[number(cell, ".3g") for cell in row] for row in sizes.tolist()],
                "hovertemplate": "%{y}, epoch %{x}: %{text}<extra></extra>",
                "hoverongaps": True,
                **on,
            }
        )
        x = {
            "anchor": numbered("y", place),
            "dtick": max(1, -(-int(table.columns[-1]) // 8)),
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        }
        last = place == len(shown) - 1
        layouts[axis_key("x", place)] = (
            x | ({"title": {"text": "epoch"}} if last else {}) | ({"matches": "x"} if place else {})
        )
        y = {"domain": domains[place], "anchor": numbered("x", place), "autorange": "reversed", "type": "category"}
        layouts[axis_key("y", place)] = y | {"automargin": True, "showgrid": False, "nticks": 20}
    ends = []
    for line, table, _ in shown:
        sizes = table.to_numpy()
        first, final = (
            " and ".join(f"{number(sizes[layer, epoch], '.1g')} in {table.index[layer]}" for layer in (0, -1))
            for epoch in (0, -1)
        )
        ends.append(f"{line.name} at the start {first}, at the end {final}")
    thinned = any(thin for _, _, thin in shown)
    return Chart(
        traces,
        layout(height + 60, annotations=titles, **layouts),
        "The root mean square of the loss's gradient (without the penalty) over the parameters of each layer, from "
        "the input (top) to the output, over the epochs: the median over the seeds, on one log scale. No colour: "
        "exactly 0, or not finite; the pointer tells which."
        + f" To keep the page light, no panel has more than {MOST_LAYERS} layers and {MOST_EPOCHS} epochs, evenly "
        "spaced." * thinned,
        f"Heat maps of the gradient's size by layer and epoch, medians over the seeds. {'; '.join(ends)}.",
    )


def _kept(amount: int, step: int) -> list[int]:
    return [i for i in range(amount) if i == 0 or (amount - 1 - i) % step == 0]


CHART = Kind("Gradient by layer", draw)
