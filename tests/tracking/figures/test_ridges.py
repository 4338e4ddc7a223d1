"""Ridges: the shares of the records, by epoch, layer and arm."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tracking.charts import ridges as charts
from tracking.figures.data import FigureData
from tracking.figures.ridges import BINS, FIGURE, HEIGHT, MIDDLES, MOST_EPOCHS, MOST_LINES, ridges
from tracking.figures.style import NotDrawn, svg
from trainers.layers import places
from trainers.members import MemberConfig, layers_of


def measured(member: MemberConfig, epoch: int) -> dict[str, float]:
    """All activations from 0.1 to 1; of the gradient a tenth exactly 0, the rest in a decade by epoch and seed."""
    values = {}
    for place in places(layers_of(member, 10)):
        gradient = dict.fromkeys(BINS, 0.0) | {"zero": 0.1, f"e{-epoch - 2 - member.seed % 2}": 0.9}
        activation = dict.fromkeys(BINS, 0.0) | {"e-1": 1.0}
        for of, shares in (("gradient", gradient), ("activation", activation)):
            values |= {f"layer.{place.name}.histogram.{of}.{name}": share for name, share in shares.items()}
    return values


def only_at_the_ends(member: MemberConfig, epoch: int) -> dict[str, float]:
    return measured(member, epoch) if epoch in (0, 4) else {}


def test_a_row_is_a_line_with_its_first_middle_and_last_layer_and_a_ridge_is_an_epoch(make: Any) -> None:
    frame, ended = make(make.arms(also=only_at_the_ends))
    rows = ridges(FigureData(frame, ended))
    assert [[ridge.layer for ridge in of_line] for of_line in rows] == [["conv1", "conv5", "output"]] * 3
    for of_line in rows:
        for ridge in of_line:
            assert ridge.epochs == [0, 4]
            for of in ("gradient", "activation"):
                columns = [f"layer.{ridge.layer}.histogram.{of}.{name}" for name in BINS]
                expected = ridge.line.rows.groupby("epoch")[columns].mean().loc[[0, 4]]
                np.testing.assert_allclose(ridge.shares[of], expected)
                np.testing.assert_allclose(ridge.shares[of].sum(1), 1)


def test_the_panels_are_drawn_from_these_shares(make: Any) -> None:
    frame, ended = make(make.arms(also=only_at_the_ends))
    drawing = FIGURE(FigureData(frame, ended))
    assert len(drawing.figure.axes) == 9
    axes = drawing.figure.axes[0]
    assert axes.get_title(loc="left") == "conv1" and axes.get_ylabel() == "plain\nepoch"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "4"]
    # activations at both epochs, then the gradient
    tops = [dict(area.get_paths()[0].vertices[::-1]) for area in axes.collections]
    at = MIDDLES[BINS.index("e-1") - 1]
    assert [top[at] for top in tops[:2]] == pytest.approx([-HEIGHT, 1 - HEIGHT])
    for place, decade in ((0, "e-2"), (0, "e-3"), (1, "e-6"), (1, "e-7")):
        assert tops[2 + place][MIDDLES[BINS.index(decade) - 1]] == pytest.approx(place - HEIGHT * 0.45)
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0, 0, -0.09, -0.09])
    low, high = axes.get_xlim()
    assert low < -7 - 1.5 and 0 <= high < 1, "what no layer has is not shown"
    assert "plain: 10% in conv1, 10% in conv5, 10% in output; paper: " in drawing.alt
    assert len(svg(drawing.figure)) < 150_000


def test_of_many_epochs_some_are_shown_with_both_ends_and_of_many_arms_the_first(make: Any) -> None:
    arms = [make.one(f"arm{i}", alpha=1.0 + i, also=measured, epochs=9, seeds=(0,)) for i in range(MOST_LINES + 1)]
    frame, ended = make(arms)
    data = FigureData(frame, ended)
    epochs = ridges(data)[0][0].epochs
    assert len(epochs) == MOST_EPOCHS and (epochs[0], epochs[-1]) == (0, 9)
    drawing = FIGURE(data)
    assert len(drawing.figure.axes) == 3 * MOST_LINES and f"The first {MOST_LINES} of 7 are shown." in drawing.caption
    assert "arm0: 10% to 100% in conv1" in drawing.alt


def test_a_network_of_two_layers_and_one_of_many_are_side_by_side(make: Any) -> None:
    arms = [make.one("shallow", regime="mlp", dense=1, units=4, also=measured), make.one("deep", also=measured)]
    frame, ended = make(arms)
    figure = FIGURE(FigureData(frame, ended)).figure
    shown = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert shown == ["dense1", "output", "conv1", "conv5", "output"]


def test_the_ridges_end_where_a_seed_diverged(make: Any) -> None:
    def gone(member: MemberConfig, epoch: int) -> dict[str, float]:
        values = measured(member, epoch)
        return dict.fromkeys(values, math.nan) if epoch >= 2 and member.seed == 1 else values

    frame, ended = make([make.one("plain", also=gone, state="diverged"), make.one("none", alpha=2.0)])
    rows = ridges(FigureData(frame, ended))
    assert [ridge.epochs for of_line in rows for ridge in of_line] == [[0, 1]] * 3


def test_it_is_not_drawn_where_it_was_not_measured(make: Any) -> None:
    frame, ended = make(make.arms())
    with pytest.raises(NotDrawn, match="^the histograms of gradients and activations were not measured$"):
        FIGURE(FigureData(frame, ended))


def test_the_chart_has_the_figures_ridges_and_tells_the_shares(make: Any) -> None:
    make.write(make.arms(also=only_at_the_ends))
    data = make.seen()
    chart, drawing = charts.CHART.draw(data), FIGURE(data.records)
    assert (chart.caption, chart.alt) == (drawing.caption, drawing.alt)
    assert [a["text"] for a in chart.layout["annotations"]][:3] == ["plain, conv1", "plain, conv5", "plain, output"]
    last = [t for t in chart.traces if t["yaxis"] == "y9" and t["legendgroup"] == "gradient"][-3:]
    area, dots, bar = last
    assert area["fill"] == "toself" and min(area["y"]) == pytest.approx(1 - HEIGHT * 0.45, rel=1e-3)
    assert dots["customdata"] == [f"45.0% of the gradient's coordinates, 1e{e} to 1e{e + 1}" for e in (-7, -6)]
    assert bar["y"] == [-0.09] and bar["base"] == [1] and "10.0% of the gradient's coordinates" in bar["hovertemplate"]
    assert len(json.dumps([chart.traces, chart.layout])) < 60_000
