"""How large the gradient by a recurrent network's hidden state is, step by step back from the last one."""

from __future__ import annotations

from tracking.charts.bands import Panel, bands_chart
from tracking.charts.chart import Chart, ChartData, Kind
from tracking.figures.gradient_against_lag import CAPTION, bands_of, words


def draw(data: ChartData) -> Chart:
    """A panel for the first and one for the last epoch; a line per arm."""
    shown = bands_of(data.records)
    panels = [Panel("rms of the gradient by the hidden state", when, bands, log=True) for when, bands in shown.items()]
    return bands_chart(panels, "steps back from the last", "%{x} steps back: ", CAPTION, words(shown))


CHART = Kind("Gradient against lag", draw)
