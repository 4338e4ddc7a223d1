"""The singular values of the Jacobian of the logits by the input: far from 1, signals and gradients shrink or grow."""

from __future__ import annotations

from tracking.charts.bands import Panel, bands_chart
from tracking.charts.chart import Chart, ChartData, Kind
from tracking.figures.jacobian import CAPTION, DEPTH, EPOCH, VALUES, curves


def draw(data: ChartData) -> Chart:
    """For the largest and for the smallest a panel per epoch shown: a line per arm, or per group over the depth."""
    shown = curves(data.records)
    panels = [
        Panel(
            f"{name} singular value",
            when,
            [(curve.line, curve.bands[metric]) for curve in panel],
            log=True,
        )
        for metric, name in VALUES.items()
        for when, panel in shown.panels.items()
    ]
    place = {DEPTH: "%{x} layers: ", EPOCH: "epoch %{x}: "}.get(shown.across, "")
    return bands_chart(panels, shown.across, place, CAPTION, shown.alt)


CHART = Kind("Singular values of the Jacobian", draw)
