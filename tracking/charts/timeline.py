"""Timeline: when each configuration was trained."""

from __future__ import annotations

from datetime import UTC, datetime

from tracking.charts.chart import Chart, ChartData, Kind, Trace
from tracking.charts.style import STATES, layout
from tracking.figures.style import NotDrawn
from tracking.verdict.tables import count


def draw(data: ChartData) -> Chart:
    """A bar per configuration from when it was started to when it ended, in the colour of its state."""
    known = {n: c for n, c in sorted(data.configurations.items()) if c.started}
    if not known:
        raise NotDrawn("no configuration has been started yet")
    now = max(max(c.started, c.ended or 0) for c in known.values())
    traces: list[Trace] = []
    for state, shade in STATES.items():
        shown = {n: c for n, c in known.items() if c.state == state}
        if shown:
            lasts = [(c.ended or now) - c.started for c in shown.values()]
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "base": [c.started for c in shown.values()],
                    "x": lasts,
                    "y": [*shown],
                    "width": 0.8,
                    "marker": {"color": shade},
                    "name": state,
                    "text": [
                        f"{data.label(n if c.extends is None else c.extends)}<br>{last / 1000:.3g} s"
                        for (n, c), last in zip(shown.items(), lasts, strict=True)
                    ],
                    "textposition": "none",
                    "hovertemplate": "%{text}<br>started %{base|%H:%M:%S} UTC<extra></extra>",
                }
            )
    first = min(c.started for c in known.values())
    minutes = (now - first) / 60_000
    height = min(560, max(160, 14 * len(known)))
    return Chart(
        traces,
        layout(
            height,
            1,
            barmode="overlay",
            xaxis={"type": "date", "title": {"text": "time (UTC)"}, "nticks": 5, "automargin": True},
            yaxis={"autorange": "reversed", "title": {"text": "configuration"}, "automargin": True, "zeroline": False},
        ),
        "From when each configuration was handed out to when it ended. Those of one pack are trained together.",
        f"{count(len(known), 'bar')} from {datetime.fromtimestamp(first / 1000, UTC):%Y-%m-%d %H:%M} UTC on, over "
        f"{minutes:.3g} minutes.",
    )


CHART = Kind("Timeline", draw)
