"""How many units of each layer are saturated (of relu: inactive), before the first step and at the end."""

from __future__ import annotations

from tracking.charts.chart import Chart, ChartData, Kind, Trace
from tracking.charts.style import DASHES, axis_key, colour, layout, numbered, numbers, panels, plain, wrapped
from tracking.figures.data import of_columns
from tracking.figures.style import NotDrawn
from tracking.verdict.tables import SHARE, number
from tracking.verdict.units import words

MOST_NAMED = 20
HEIGHT = 190


def draw(data: ChartData) -> Chart:
    """A panel at the start and one at the end: layers to the right. The output is left out: it has no activation."""
    chosen = data.records.lines
    columns = [{k: c for k, c in line.layers("saturated").items() if k != "output"} for line in chosen]
    layers = max(map(list, columns), key=len)
    if not layers:
        raise NotDrawn("the records have no saturation of a layer")
    when = data.records.ends
    called = words(line.rows["activation"].iloc[0] for line in chosen).saturated
    domains, titles, height = panels([f"{called}, {text}" for text in when.values()], HEIGHT)
    traces: list[Trace] = []
    ends = []
    for line, of_line in zip(chosen, columns, strict=True):
        shares = []
        for place, rows in enumerate((line.start, line.end)[: len(when)]):
            band = of_columns(rows, dict(enumerate(of_line.values(), 1)))
            quartiles = band[["q25", "q75"]].to_numpy().tolist()
            traces.append(
                {
                    "x": band.index.tolist(),
                    "y": numbers(band["q50"]),
                    "customdata": [
                        [layer, *(number(q, ".1%") for q in pair)]
                        for layer, pair in zip(of_line, quartiles, strict=True)
                    ],
                    "mode": "lines+markers",
                    "line": {"color": colour(line), "dash": DASHES[line.dashes], "width": 1.8},
                    "name": wrapped(line.label),
                    "legendgroup": plain(line.name),
                    "showlegend": place == 0,
                    "text": plain(line.name),
                    "hovertemplate": "%{text}, %{customdata[0]}: %{y:.1%}<br>quartiles %{customdata[1]} to "
                    "%{customdata[2]}<extra></extra>",
                    "yaxis": numbered("y", place),
                }
            )
            shares.append(number(float(band["q50"].mean(skipna=False)), SHARE))
        ends.append(f"{line.name} {', '.join(f'{share} at the {at}' for at, share in zip(when, shares, strict=True))}")
    # Names, where they mean the same layer in every network.
    same = all(layers[: len(of_line)] == list(of_line) for of_line in columns) and len(layers) <= MOST_NAMED
    x = {"tickvals": [*range(1, len(layers) + 1)], "ticktext": layers} if same else {"nticks": 12}
    share = {"tickformat": ".0%", "range": [-0.03, 1.03]}
    upright = {axis_key("y", place): share | {"domain": domain} for place, domain in enumerate(domains)}
    return Chart(
        traces,
        layout(
            height + 20,
            len(chosen),
            annotations=titles,
            xaxis={
                **x,
                "anchor": numbered("y", len(when) - 1),
                "automargin": True,
                "title": {"text": "layer, from the input to the output"},
            },
            **upright,
        ),
        "The share of a layer's units (times images) in the flat part of their activation, |f'| < 0.01 sup |f'|: "
        "medians over the seeds.",
        f"{called.capitalize()} by layer, medians over the seeds; on average over the layers {'; '.join(ends)}.",
    )


CHART = Kind("Saturation by layer", draw)
