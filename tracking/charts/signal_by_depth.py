"""How a signal goes through the layers: are two images still told apart, how large it is, how steep the activation."""

from __future__ import annotations

from tracking.charts.bands import Panel, bands_chart
from tracking.charts.chart import Chart, ChartData, Kind
from tracking.figures.signal_by_depth import CAPTION, SHOWN, bands_of, words


def draw(data: ChartData) -> Chart:
    """For each of SHOWN a panel for the first and one for the last epoch at which it was measured; a line per arm."""
    shown = bands_of(data.records)
    panels = [
        Panel(label.replace("\n", " "), when, [(line, bands[name]) for line, bands in lines], log)
        for name, (label, log) in SHOWN.items()
        for when, lines in shown.items()
    ]
    return bands_chart(panels, "layer, from the input on", "layer %{x}: ", CAPTION, words(shown))


CHART = Kind("Signal by depth", draw)
