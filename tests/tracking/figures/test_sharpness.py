"""Sharpness and noise over the epochs at which they were measured, and 2 / learning rate beside them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tracking.charts import sharpness as charts
from tracking.charts.style import numbers
from tracking.figures.data import FigureData
from tracking.figures.sharpness import EDGE, EDGE_NAME, FIGURE, PANELS
from tracking.figures.style import NotDrawn
from trainers.measurements import MEASUREMENTS
from trainers.members import MemberConfig


def measured(member: MemberConfig, epoch: int) -> dict[str, float]:
    """At epochs 0, 2 and 3; two seeds' gradient can't be told from its noise at the last."""
    if epoch == 1 or epoch > 3:
        return {}
    noise = 100.0 * (1 + epoch) if epoch < 3 or member.seed > 1 else math.inf
    largest = 10.0 ** (member.seed - 1) * (epoch + 1)
    return {"sharpness.largest": largest, "sharpness.edge": 2 / member.learning_rate, "sharpness.noise_scale": noise}


def test_lines_are_medians_where_it_was_measured(make: Any) -> None:
    frame, ended = make([*make.arms(also=measured)[:2], make.one("unmeasured", alpha=3.0)])
    drawing = FIGURE(FigureData(frame, ended))
    largest, noise = drawing.figure.axes
    assert {*PANELS, EDGE} == set(MEASUREMENTS["sharpness"].network)
    assert largest.get_yscale() == noise.get_yscale() == "log"
    *lines, edge = largest.lines
    assert [line.get_label().split(":")[0] for line in lines] == ["plain", "paper"]
    for line in lines:
        assert line.get_xdata().tolist() == [0, 2, 3]
        np.testing.assert_allclose(line.get_ydata(), np.median([0.1, 1, 10, 100]) * np.array([1, 3, 4]))
    assert (edge.get_xdata().tolist(), edge.get_ydata().tolist()) == ([0, 2, 3], [2000] * 3)
    assert edge.get_label() == EDGE_NAME and len(noise.lines) == 2
    np.testing.assert_allclose(noise.lines[0].get_ydata(), [100, 300, math.nan])
    assert "plain: largest eigenvalue 5.5 to 22, 2 / learning rate 2000, noise scale 100 to not finite" in drawing.alt


def test_each_line_has_its_own_edge_where_learning_rates_differ(make: Any) -> None:
    arms = [make.one("slow", learning_rate=0.01, also=measured), make.one("fast", learning_rate=0.1, also=measured)]
    frame, ended = make(arms)
    data = FigureData(frame, ended)
    largest, _ = FIGURE(data).figure.axes
    edges = largest.lines[2:]
    assert [line.get_ydata()[0] for line in edges] == [200, 20]
    assert [line.get_color() for line in edges] == [line.colour for line in data.lines]
    assert [line.get_label() == EDGE_NAME for line in edges] == [True, False]


def test_a_flat_loss_and_a_diverged_seed_leave_gaps(make: Any) -> None:
    def gone(member: MemberConfig, epoch: int) -> dict[str, float]:
        values = {**measured(member, 0), "sharpness.largest": 0.0 if epoch == 0 else 3.0}
        return values | {"sharpness.largest": math.nan} if epoch == 3 and member.seed == 2 else values

    frame, ended = make([make.one("plain", also=gone, epochs=3)])
    line = FIGURE(FigureData(frame, ended)).figure.axes[0].lines[0]
    np.testing.assert_array_equal(line.get_ydata(), [math.nan, 3, 3, math.nan])


def test_it_is_not_drawn_where_it_was_not_measured(make: Any) -> None:
    frame, ended = make(make.arms())
    with pytest.raises(NotDrawn, match="^sharpness was not measured$"):
        FIGURE(FigureData(frame, ended))


def test_the_chart_has_the_figures_numbers(make: Any) -> None:
    make.write(make.arms(also=measured))
    data = make.seen()
    chart, drawing = charts.CHART.draw(data), FIGURE(data.records)
    assert (chart.caption, chart.alt) == (drawing.caption, drawing.alt)
    for place, axes in enumerate(drawing.figure.axes):
        traces = [t for t in chart.traces if t["yaxis"] == ("y", "y2")[place] and t.get("fill") is None]
        assert len(traces) == len(axes.lines)
        for trace, line in zip(traces, axes.lines, strict=True):
            assert trace["x"] == line.get_xdata().tolist() and trace["y"] == numbers(line.get_ydata())
    assert chart.traces[-1]["name"] == EDGE_NAME and chart.traces[-1]["line"]["dash"] == "dot"
