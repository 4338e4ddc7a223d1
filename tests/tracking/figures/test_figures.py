"""What each figure shows, checked on the numbers that matplotlib was given; and what there is where it can't be."""

from __future__ import annotations

import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tracking.figures import (
    accuracy_and_gradients,
    depth,
    gradient_against_lag,
    gradient_by_depth,
    jacobian,
    layers,
    parallel,
    pareto,
    saturation,
    seeds,
    signal_by_depth,
    surface,
)
from tracking.figures.album import Kind, draw
from tracking.figures.data import BEFORE, Axis, FigureData
from tracking.figures.style import NotDrawn, svg, write
from trainers.measurements import MEASUREMENTS
from trainers.members import MemberConfig
from trainers.objectives import Objective

ACCURACY = Objective()
points_of = surface.surface


def drawn_by(kind: Kind) -> Callable[..., Figure]:
    def figure(frame: pd.DataFrame, ended: Any, axes: Sequence[Axis] = ()) -> Figure:
        return kind(FigureData(frame, ended, ACCURACY, axes)).figure

    return figure


paper_figure, seeds_figure = drawn_by(accuracy_and_gradients.FIGURE), drawn_by(seeds.FIGURE)
layers_figure, saturation_figure = drawn_by(layers.FIGURE), drawn_by(saturation.FIGURE)
surface_figure, parallel_figure = drawn_by(surface.FIGURE), drawn_by(parallel.FIGURE)
depth_figure, gradient_by_depth_figure = drawn_by(depth.FIGURE), drawn_by(gradient_by_depth.FIGURE)


def over_seeds(frame: pd.DataFrame, number: int, metric: str) -> np.ndarray:
    """(epochs, seeds)"""
    own = frame[frame.configuration == number]
    return own.pivot(index="epoch", columns="seed", values=metric).to_numpy()


def test_the_papers_figure_has_medians_and_quartiles_over_the_seeds(make: Any) -> None:
    frame, ended = make(make.arms())
    figure = paper_figure(frame, ended)
    panels = ["validation.accuracy", "gradient.data.mean_abs", "gradient.total.mean_abs"]
    assert [a.get_yscale() for a in figure.axes] == ["linear", "log", "log"]
    for axes, metric in zip(figure.axes, panels, strict=True):
        for number, (line, band) in enumerate(zip(axes.lines, axes.collections, strict=True)):
            values = over_seeds(frame, number, metric)
            assert line.get_xdata().tolist() == [0, 1, 2, 3, 4]
            np.testing.assert_allclose(line.get_ydata(), np.median(values, axis=1))
            edges = {(float(x), float(y)) for x, y in band.get_paths()[0].vertices}
            for q in (0.25, 0.75):
                quartiles = np.quantile(values, q, axis=1)
                assert all(
                    any(np.allclose((x, y), edge, rtol=1e-12) for edge in edges) for x, y in enumerate(quartiles)
                )


def test_the_gradient_with_the_penalty_is_shown_where_there_is_a_penalty(make: Any) -> None:
    frame, ended = make([make.one("plain"), make.one("scaled", alpha=2.0)])
    assert len(paper_figure(frame, ended).axes) == 2


def test_a_line_says_what_it_is_and_has_one_colour_in_all_figures(make: Any) -> None:
    frame, ended = make([*make.arms(), *make.search(6)])
    chosen = FigureData(frame, ended).lines
    assert [line.name for line in chosen] == ["plain", "paper", "relu", "best searched"]
    assert chosen[1].label == "paper: tanh, α = 2, r = 0.01" and chosen[2].label == "relu: relu, α = 1, r = 0"
    best = max(range(3, 9), key=lambda n: over_seeds(frame, n, "validation.accuracy")[-1].mean())
    assert set(chosen[3].rows.configuration) == {best}
    colours = [line.colour for line in chosen]
    assert len(set(colours)) == 4
    assert [line.get_color() for line in paper_figure(frame, ended).axes[0].lines] == colours
    assert [line.get_color() for line in saturation_figure(frame, ended).axes[0].lines] == colours
    assert [line.get_color() for line in seeds_figure(frame, ended).axes[0].lines] == colours


def test_no_band_is_off_the_scale_and_no_label_says_the_usual(make: Any) -> None:
    """relu's gradients may be 10^10 times those of tanh, and a quartile 0."""

    def spread(metric: str, epoch: int, seed: int, value: float) -> float:
        return (0.0 if seed < 3 else 1e10) if metric.startswith("gradient.") else value

    naive = make.one("naive", scaling="naive", alpha=2.0, change=spread)
    frame, ended = make([make.one("plain", change=lambda m, e, s, v: 1e-9), naive])
    _, axes = paper_figure(frame, ended).axes
    low, high = axes.get_ylim()
    assert 1e-11 < low < 1e-9 and 2.5e9 < high < 1e11
    assert [line.label for line in FigureData(frame, ended).lines] == ["plain: α = 1", "naive: naive scaling, α = 2"]


def test_a_line_ends_where_a_seed_diverged_and_says_so(make: Any) -> None:
    def diverging(metric: str, epoch: int, seed: int, value: float) -> float:
        return math.nan if epoch >= 3 and seed == 2 else math.inf if epoch == 2 and seed == 2 else value

    frame, ended = make([make.one("plain"), make.one("wild", alpha=3.0, change=diverging, state="diverged")])
    figure = paper_figure(frame, ended)
    assert np.isfinite(figure.axes[0].lines[1].get_ydata()).tolist() == [True, True, False, False, False]
    assert FigureData(frame, ended).lines[1].label.endswith("(diverged)")
    for drawn in (figure, layers_figure(frame, ended), saturation_figure(frame, ended), seeds_figure(frame, ended)):
        assert svg(drawn)


def test_layers_are_medians_from_the_input_to_the_output(make: Any) -> None:
    def vanishing(metric: str, epoch: int, seed: int, value: float) -> float:
        return 0.0 if metric == "layer.conv1.gradient.data.rms" else value

    frame, ended = make([make.one("plain"), make.one("deep", regime="many-layers", change=vanishing)])
    figure = layers_figure(frame, ended)
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes[:2]]
    assert names[0] == [*(f"conv{i}" for i in range(1, 7)), "dense1", "dense2", "dense3", "output"]
    assert names[1] == [*(f"conv{i}" for i in range(1, 10)), *(f"dense{i}" for i in range(1, 5)), "output"]
    image = figure.axes[0].images[0]
    metric = "layer.dense2.gradient.data.rms"
    np.testing.assert_allclose(image.get_array()[7], np.median(over_seeds(frame, 0, metric), axis=1))
    deep = figure.axes[1].images[0]
    assert (deep.get_array()[0] < deep.norm.vmin).all() and not np.ma.is_masked(deep.get_array())
    assert deep.norm is image.norm


def test_white_is_exactly_zero(make: Any) -> None:
    """Of many cells a few are fainter than the scale; they have its darkest colour, and not that of 0."""

    def even(metric: str, epoch: int, seed: int, value: float) -> float:
        return 0.0123 if metric.endswith("gradient.data.rms") else value

    def faint(metric: str, epoch: int, seed: int, value: float) -> float:
        in_first = metric == "layer.conv1.gradient.data.rms"
        return (0.0, 1e-9)[epoch] if in_first else even(metric, epoch, seed, value)

    long = make.one("paper", alpha=2.0, change=even, epochs=30, seeds=(0,))
    frame, ended = make([make.one("plain", change=faint, epochs=1, seeds=(0,)), long])
    figure = layers_figure(frame, ended)
    image = figure.axes[0].images[0]
    cells, least = image.get_array(), image.norm.vmin
    assert least > 1e-9, "the scale begins above the faintest"
    assert cells[0, 0] < least and (cells[0, 1], cells[1, 1]) == (least, pytest.approx(0.0123))
    white, darkest = image.cmap(image.norm(cells[0]))
    assert white.tolist() == [1.0] * 4 and darkest.tolist() == list(image.cmap(0.0)) != [1.0] * 4


@pytest.mark.parametrize(("least", "top"), [(0.012, 0.0123), (1e-5, 5e-3), (1e-30, 1.0), (0.2, 0.9), (1e-9, 1e-4)])
def test_the_numbers_of_a_scale_do_not_touch(make: Any, least: float, top: float) -> None:
    def between(metric: str, epoch: int, seed: int, value: float) -> float:
        return least * (top / least) ** (epoch / 4) if metric.endswith("gradient.data.rms") else value

    figure = layers_figure(*make([make.one("plain", change=between, seeds=(0,))]))
    figure.draw_without_rendering()
    labels = [label for label in figure.axes[-1].get_xticklabels() if label.get_text()]
    places = [label.get_window_extent() for label in labels]
    assert 2 <= len(labels) <= 6
    assert all(a.x1 < b.x0 for a, b in zip(places, places[1:], strict=False))


def test_a_short_scale_has_a_few_plain_numbers(make: Any) -> None:
    def narrow(metric: str, epoch: int, seed: int, value: float) -> float:
        return 0.02 + epoch / 50 if metric.endswith("gradient.data.rms") else value

    figure = layers_figure(*make([make.one("plain", change=narrow)]))
    bar = figure.axes[-1]
    figure.draw_without_rendering()
    assert [label.get_text() for label in bar.get_xticklabels()] == ["0.02", "0.05", "0.1"]


def test_saturation_is_of_the_first_and_the_last_epoch_without_the_output(make: Any) -> None:
    frame, ended = make(make.arms())
    first, last = saturation_figure(frame, ended).axes
    for axes, epoch in ((first, 0), (last, 4)):
        medians = [np.median(over_seeds(frame, 1, f"layer.{n}.saturated")[epoch]) for n in ("conv1", "conv2")]
        np.testing.assert_allclose(axes.lines[1].get_ydata()[:2], medians)
    assert [label.get_text() for label in last.get_xticklabels()][-1] == "dense3"
    assert last.get_ylabel().replace("\n", " ") == "saturated units (of relu: inactive)"
    of_relu = saturation_figure(*make(make.arms()[2:], "relu alone"))
    assert {axes.get_ylabel() for axes in of_relu.axes} == {"inactive units"}


def test_the_surface_marks_the_best_what_is_near_it_and_the_papers_point(make: Any) -> None:
    frame, ended = make([*make.arms(), *make.search(12)])
    result = points_of(FigureData(frame, ended))
    assert len(result) == 14  # relu is another network
    own = frame[(frame.epoch == 4) & (frame.activation == "tanh")].groupby("configuration")["validation.accuracy"]
    means = own.mean()
    assert result.value[result.best].tolist() == [means.max()] and result.value.tolist() == means.tolist()
    error = own.std()[means.idxmax()] / 2
    assert result.near.tolist() == (means >= means.max() - error).tolist()
    assert result.x.rank(method="min").eq(1).tolist() == [True] + [False] * 13  # plain: r is 0
    figure = surface_figure(frame, ended)
    star = figure.axes[0].collections[-1]
    np.testing.assert_allclose(star.get_offsets()[0], (-2.0, np.log10(2.0)))
    worst = points_of(FigureData(frame, ended, Objective(goal="minimize")))
    assert worst.value[worst.best].tolist() == [means.min()]


def test_a_surface_needs_points_that_differ_in_both(make: Any) -> None:
    frame, ended = make([make.one("", alpha=1.0 + n, seeds=(0,)) for n in range(5)], "line")
    with pytest.raises(NotDrawn, match="alpha and r were not both varied"):
        surface_figure(frame, ended)
    frame, ended = make(make.arms(), "few")
    with pytest.raises(
        NotDrawn, match="it takes 4 complete configurations that differ in alpha and r, and there are 2"
    ):
        surface_figure(frame, ended)
    # On one straight line there is no area to interpolate in; the dots are there all the same.
    diagonal = [make.one("", alpha=2.0**n, r=10.0 ** (n - 4), seeds=(0,)) for n in range(5)]
    frame, ended = make(diagonal, "diagonal")
    assert svg(surface_figure(frame, ended))


def test_a_value_without_effect_is_no_point_of_the_search(make: Any) -> None:
    """Beside relu alpha is not searched, and is 1: a line through 1 would look like a result of it."""
    frame, ended = make([*make.search(3), *make.search(2, activation="relu")])
    alpha, r = make.axes
    axes = (replace(alpha, idle=frozenset({3, 4})), r)
    lines = parallel_figure(frame, ended, axes).axes[0].collections[0].get_segments()
    assert sorted(map(len, lines)) == [2, 2, 3, 3, 3]


def test_parallel_coordinates_put_every_value_on_its_axis(make: Any) -> None:
    points = [
        make.one("", alpha=a, r=0.1, activation=f, seeds=(0,)) for a, f in ((1.0, "relu"), (2.0, "tanh"), (4.0, "tanh"))
    ]
    frame, ended = make(points)
    axes = (Axis("alpha", 2.0, 8.0, log=True), Axis("activation", choices=("tanh", "relu")))
    figure = parallel_figure(frame, ended, axes)
    result = {
        tuple(np.round(line[:2, 1], 9)) for line in figure.axes[0].collections[0].get_segments() if len(line) == 3
    }
    assert result == {(0.0, 0.0), (0.5, 0.0)}  # alpha beside relu is 1, which is not on the axis: that line is broken
    with pytest.raises(NotDrawn, match="nothing was searched"):
        parallel_figure(frame, ended)
    with pytest.raises(NotDrawn, match="it takes 3 complete searched configurations, and there are 0"):
        parallel_figure(*make(make.arms(), "arms"), axes)


def test_a_sweep_over_depth_has_a_line_for_what_differs_in_depth_alone(make: Any) -> None:
    def nothing(metric: str, epoch: int, seed: int, value: float) -> float:
        return (
            0.0 if metric == "gradient.first_to_last" and epoch else 1e-9 * (1 + seed) if "first" in metric else value
        )

    frame, ended = make(make.by_depth(change=nothing))
    data = FigureData(frame, ended)
    lines = [(line.label, line.by_depth) for line in data.depths]
    assert lines == [("tanh", {2: 0, 5: 2, 25: 3}), ("relu", {2: 4, 5: 5, 25: 6})]
    start, end, accuracy = depth_figure(frame, ended).axes
    assert start.get_yscale() == "log" and end.get_yscale() == "linear"  # of zeros alone
    for axes in (start, accuracy):
        assert [line.get_xdata().tolist() for line in axes.lines[:2]] == [[2, 5, 25]] * 2
    assert start.lines[0].get_ydata().tolist() == [2e-9] * 3
    values = [over_seeds(frame, n, "validation.accuracy")[-1] for n in (4, 5, 6)]
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), np.median(values, axis=1))
    edges = {(float(x), float(y)) for x, y in accuracy.collections[1].get_paths()[0].vertices}
    for count, own in zip((2, 5, 25), values, strict=True):
        assert all(any(np.allclose((count, q), e) for e in edges) for q in np.quantile(own, (0.25, 0.75)))
    (dot,) = (line for line in accuracy.lines if line.get_label() == "other configurations")
    assert dot.get_xdata().tolist() == [10]  # the arm is a point of a line
    assert [text.get_text() for text in accuracy.get_xticklabels()] == ["2", "5", "10", "25"]


def test_the_gradient_by_layer_has_a_line_for_each_depth(make: Any) -> None:
    frame, ended = make(make.by_depth())
    figure = gradient_by_depth_figure(frame, ended)
    assert [axes.get_title(loc="left") for axes in figure.axes[:4]] == ["tanh", "", "relu", ""]
    for axes, epoch in zip(figure.axes[2:4], (0, 1), strict=True):
        assert [line.get_xdata().tolist() for line in axes.lines] == [[*range(1, n + 1)] for n in (2, 5, 25)]
        layers = [f"dense{i}" for i in range(1, 5)] + ["output"]
        values = [over_seeds(frame, 5, f"layer.{layer}.gradient.data.rms")[epoch] for layer in layers]
        np.testing.assert_allclose(axes.lines[1].get_ydata(), np.median(values, axis=1))
        assert axes.get_yscale() == "log" and len({line.get_color() for line in axes.lines}) == 3
    assert [text.get_text() for text in figure.axes[4].get_xticklabels()] == ["2", "5", "25"]


def test_a_sweep_over_depth_has_every_figure_and_a_page(make: Any) -> None:
    frame, ended = make(make.by_depth())
    axes = (Axis("dense", 1, 24, integer=True), Axis("activation", choices=("tanh", "relu")))
    result = draw(frame, ended, [ACCURACY], axes)
    assert {"layers", "saturation", "gradient-by-depth", "depth", "parallel"} < set(result.pictures)
    for picture in result.pictures.values():
        ElementTree.fromstring(picture.svg)
        assert len(picture.svg) < 100_000 and "nan" not in picture.alt
    assert "tanh, 25 layers" in result.pictures["gradient-by-depth"].alt
    alone = make([make.one("a", dense=1, seeds=(0,)), make.one("b", dense=2, alpha=2.0, seeds=(0,))], "alone")
    result = draw(*alone, [ACCURACY])
    assert "Dots alone" in result.pictures["depth"].alt
    assert result.left_out["Gradient by layer and depth"] == "no two complete configurations differ in depth alone"


def test_the_figures_know_the_names_of_what_is_measured() -> None:
    assert gradient_against_lag.STATISTIC in MEASUREMENTS["hidden"].layer
    assert set(signal_by_depth.SHOWN) <= set(MEASUREMENTS["signal"].layer)
    assert set(jacobian.VALUES) <= set(MEASUREMENTS["jacobian"].network)


def test_the_gradient_against_the_lag_is_a_line_per_arm_over_the_steps_back(make: Any) -> None:
    frame, ended = make([*make.arms(also=make.measured)])
    first, last = drawn_by(gradient_against_lag.FIGURE)(frame, ended).axes
    assert (first.get_title(loc="left"), last.get_title(loc="left")) == (BEFORE, "at the last measured epoch")
    for axes, epoch in ((first, 0), (last, 3)):
        assert axes.get_yscale() == "log" and [line.get_xdata().tolist() for line in axes.lines] == [[0, 1, 2, 3]] * 3
        values = np.array([over_seeds(frame, 1, f"layer.step{k}.gradient.hidden.rms")[epoch] for k in range(4)])
        np.testing.assert_allclose(axes.lines[1].get_ydata(), np.median(values, axis=1))
        edges = {(float(x), float(y)) for x, y in axes.collections[1].get_paths()[0].vertices}
        for lag, own in enumerate(values):
            assert all(any(np.allclose((lag, q), e) for e in edges) for q in np.quantile(own, (0.25, 0.75)))
    alt = gradient_against_lag.FIGURE(FigureData(frame, ended)).alt
    assert "plain before the first step: 1.1 at the last step, 0.0011 3 steps back" in alt


def test_the_signal_is_shown_layer_by_layer_at_the_epochs_at_which_it_was_measured(make: Any) -> None:
    """The second arm has another depth, and the third was not measured."""
    arms = [make.one("plain", also=make.measured), make.one("deep", regime="many-layers", also=make.measured)]
    frame, ended = make([*arms, make.one("relu", activation="relu")])
    figure = drawn_by(signal_by_depth.FIGURE)(frame, ended)
    grid = np.array(figure.axes).reshape(3, 2)
    assert [axes.get_yscale() for axes in grid[:, 0]] == ["linear", "log", "linear"]
    for row, metric in zip(grid, ("correlation", "variance", "slope"), strict=True):
        for axes, epoch in zip(row, (0, 3), strict=True):
            assert [line.get_xdata().tolist() for line in axes.lines] == [[*range(1, 10)], [*range(1, 14)]]
            names = [f"conv{i}" for i in range(1, 10)] + [f"dense{i}" for i in range(1, 5)]
            values = [over_seeds(frame, 1, f"layer.{name}.signal.{metric}")[epoch] for name in names]
            np.testing.assert_allclose(axes.lines[1].get_ydata(), np.median(values, axis=1))
    shallow = make([make.one("one", dense=1, regime="mlp", also=make.measured)], "shallow")
    with pytest.raises(NotDrawn, match="no network has two layers with an activation"):
        signal_by_depth.FIGURE(FigureData(*shallow))
    alt = signal_by_depth.FIGURE(FigureData(frame, ended)).alt
    assert "plain before the first step: correlation of two images from 0.42 to 0.94, second moment" in alt


def test_the_jacobian_is_over_the_epochs_or_the_depth_or_arm_by_arm(make: Any) -> None:
    frame, ended = make(make.arms(also=make.measured), "arms")
    largest, smallest = drawn_by(jacobian.FIGURE)(frame, ended).axes
    for axes, metric in ((largest, "jacobian.largest"), (smallest, "jacobian.smallest")):
        assert [line.get_xdata().tolist() for line in axes.lines] == [[0, 3]] * 3, "where it was measured"
        np.testing.assert_allclose(axes.lines[1].get_ydata(), np.median(over_seeds(frame, 1, metric)[[0, 3]], axis=1))
        assert axes.get_yscale() == "log"
    frame, ended = make(make.by_depth(epochs=3, also=make.measured), "depth")
    grid = np.array(drawn_by(jacobian.FIGURE)(frame, ended).axes).reshape(2, 2)
    for axes, epoch in zip(grid[1], (0, 3), strict=True):
        assert [line.get_xdata().tolist() for line in axes.lines] == [[2, 5, 25]] * 2
        values = [over_seeds(frame, n, "jacobian.smallest")[epoch] for n in (4, 5, 6)]
        np.testing.assert_allclose(axes.lines[1].get_ydata(), np.median(values, axis=1))
    frame, ended = make(make.arms(epochs=0, also=make.measured), "untrained")
    largest, _ = drawn_by(jacobian.FIGURE)(frame, ended).axes
    assert [line.get_xdata().tolist() for line in largest.lines] == [[0], [1], [2]]
    bars = [bar.get_segments()[0][:, 1] for bar in largest.collections]
    np.testing.assert_allclose(bars[1], np.quantile(over_seeds(frame, 1, "jacobian.largest"), (0.25, 0.75)))


def test_what_is_measured_changes_no_other_figure(make: Any) -> None:
    """Steps are no layers, and no column of a measurement is taken for what is always recorded."""

    def misleading(member: MemberConfig, epoch: int) -> dict[str, float]:
        names = ("gradient.data.rms", "gradient.data.q50", "saturated", "dead")  # as no measurement has them
        return make.measured(member, epoch) | {f"layer.step{k}.{name}": 7.0 for name in names for k in range(4)}

    made = [*make.arms(), *make.search(4), *make.by_depth()]
    plain = draw(*make(made, "plain"), [ACCURACY], *make.searched)
    measured = draw(*make([replace(of, also=misleading) for of in made], "measured"), [ACCURACY], *make.searched)
    assert set(measured.pictures) - set(plain.pictures) == {
        "gradient-against-lag",
        "signal-by-depth",
        "jacobian",
        "sharpness",
        "ridges",
    }
    for name, picture in plain.pictures.items():
        assert (measured.pictures[name].svg, measured.pictures[name].alt) == (picture.svg, picture.alt), name


def test_what_is_measured_is_in_no_label(make: Any) -> None:
    frame, ended = make([make.one("plain"), make.one("paper", alpha=2.0)])
    measure = frame["arm"].map({"plain": "", "paper": "jacobian, signal"})
    data = FigureData(frame.assign(measure=measure), ended)
    assert [line.label for line in data.lines] == ["plain: α = 1", "paper: α = 2"]


def test_initial_values_alone_are_shown_without_epochs(make: Any) -> None:
    frame, ended = make([*make.arms(epochs=0, also=make.measured), *make.search(4, epochs=0)], "arms")
    result = draw(frame, ended, [ACCURACY], *make.searched)
    assert result.left_out["Accuracy and gradients"] == "only epoch 0 has been recorded"
    assert {"seeds", "layers", "gradient-against-lag", "signal-by-depth", "jacobian", "saturation"} < {*result.pictures}
    (axes,) = layers_figure(frame, ended).axes
    columns = [f"layer.{name}.gradient.data.rms" for name in (*(f"conv{i}" for i in range(1, 7)), "dense1")]
    medians = [np.median(over_seeds(frame, 1, column)) for column in columns]
    np.testing.assert_allclose(axes.lines[1].get_ydata()[:7], medians)
    assert len(axes.lines) == 4 and axes.get_yscale() == "log"
    assert len(saturation_figure(frame, ended).axes) == 1
    frame, ended = make(make.by_depth(epochs=0), "depth")
    of_depth = draw(frame, ended, [ACCURACY])
    assert len(depth_figure(frame, ended).axes) == 2 and len(gradient_by_depth_figure(frame, ended).axes) == 3
    for picture in (*result.pictures.values(), *of_depth.pictures.values()):
        ElementTree.fromstring(picture.svg)
        text = f"{picture.caption} {picture.alt} {picture.svg}"
        assert "after" not in text and "at the end" not in text and "last epoch" not in text


def test_networks_that_differ_are_beside_each_other_by_depth(make: Any) -> None:
    frame, ended = make([make.one("wide", seeds=(0,)), make.one("deep", regime="deep", dense=50, seeds=(0,))])
    names = [[label.get_text() for label in axes.get_yticklabels()] for axes in layers_figure(frame, ended).axes[:2]]
    assert len(names[0]) == 10 and names[1] == [f"dense{i}" for i in range(1, 51, 3)]
    saturated = saturation_figure(frame, ended).axes[1]
    np.testing.assert_allclose(saturated.lines[1].get_xdata(), np.arange(1, 51), atol=0.1)
    np.testing.assert_allclose(saturated.lines[0].get_xdata(), np.arange(1, 10), atol=0.1)


def test_a_label_says_what_a_regime_does_not(make: Any) -> None:
    arms = [
        make.one("plain", seeds=(0,)),
        make.one("res", regime="resnet", seeds=(0,)),
        make.one("leaky", regime="mlp", activation="leaky_relu", units=5, dense_bias=False, slope=0.2, seeds=(0,)),
        make.one("learned", learn_alpha="layer", normalization="batch", residual=True, seeds=(0,)),
    ]
    assert [line.label for line in FigureData(*make(arms)).lines] == [
        "plain: combined, tanh",
        "res: resnet, tanh",
        "leaky: mlp, units = 5, no dense bias, leaky_relu, slope = 0.2",
        "learned: combined, batch normalization, residual, tanh, α learned by layer",
    ]


def test_a_label_of_a_recurrent_network_is_short(make: Any) -> None:
    fields: dict[str, Any] = {"regime": "recurrent", "measure": (), "seeds": (0,), "epochs": 1}
    arms = [
        make.one("plain", **fields),
        make.one("identity", recurrent_initialization="identity", alpha=2.0, **fields),
        make.one("lstm", cell="lstm", scaled_gates=True, **fields),
        make.one("open", cell="lstm", forget_bias=3.0, **fields),
    ]
    frame, ended = make(arms)
    assert [line.label for line in FigureData(frame, ended).lines] == [
        "plain: rnn, α = 1",
        "identity: rnn, α = 2, identity recurrent weights",
        "lstm: lstm, scaled gates, α = 1",
        "open: lstm, α = 1, forget bias = 3",
    ]
    assert {"layers", "saturation"} < draw(frame, ended).pictures.keys()


def test_searched_booleans_whole_numbers_and_slopes_are_on_their_axes(make: Any) -> None:
    points = [(True, 1, 0.1), (False, 8, 0.4), (False, 3, None)]
    made = [
        make.one("", residual=r, dense=n, slope=s, activation="leaky_relu" if s else "tanh", seeds=(0,))
        for r, n, s in points
    ]
    axes = (Axis("residual", choices=(True, False)), Axis("dense", 1, 8, integer=True), Axis("slope", 0.1, 0.4))
    (figure,) = parallel_figure(*make(made), axes).axes
    lines = {tuple(np.round(line[:2, 1], 6)) for line in figure.collections[0].get_segments() if len(line) >= 2}
    assert {(0.0, 0.0), (1.0, 1.0), (1.0, round(2 / 7, 6))} <= lines
    texts = [text.get_text() for text in figure.texts]
    assert {"true", "false", "1", "3", "4", "6", "8"} <= set(texts) and "2.75" not in texts


def test_fresh_seeds_are_shown_seed_by_seed_and_nowhere_else(make: Any) -> None:
    again = [
        make.one("", name="confirm paper", alpha=2.0, r=0.01, seeds=(100, 101)),
        make.one("", name="confirm alpha=8 r=1", alpha=8.0, r=1.0),
    ]
    frame, ended = make([*make.arms(), *make.search(4), *again])
    assert {n for line in FigureData(frame, ended).lines for n in line.rows.configuration} <= set(range(7))
    assert len(points_of(FigureData(frame, ended))) == 6
    rows = [label.get_text() for label in seeds_figure(frame, ended).axes[0].get_yticklabels()]
    assert rows[-2:] == ["paper\nfresh seeds", "alpha=8 r=1\nfresh seeds"]


def test_the_best_is_the_one_of_the_fresh_seeds_in_every_figure(make: Any) -> None:
    """As in the verdict: 4 is the best of the search by luck, 3 on fresh seeds."""
    accuracies = {3: 0.6, 4: 0.7, 5: 0.5}

    def measured(by: float) -> Callable[[str, int, int, float], float]:
        return lambda metric, epoch, seed, value: by + seed / 1000 if metric == "validation.accuracy" else value

    searched = [make.one("", alpha=float(n), r=0.1**n, change=measured(by)) for n, by in accuracies.items()]
    again = [
        make.one(
            "", name=f"confirm alpha={n} r={0.1**n:.4g}", alpha=float(n), r=0.1**n, seeds=range(9, 19), change=change
        )
        for n, change in ((3, measured(0.65)), (4, measured(0.55)))
    ]
    frame, ended = make([*make.arms(), *searched, *again])
    data = FigureData(frame, ended, ACCURACY, make.axes)
    assert data.tried.index.tolist() == [5, 4, 3]
    assert data.lines[-1].rows["configuration"].unique().tolist() == [3] and data.lines[-1].name == "best searched"
    points = points_of(data)
    assert points.index[points.best].tolist() == [3] and {3, 4} <= set(points.index[points.near])
    for kind in (surface.FIGURE, parallel.FIGURE, accuracy_and_gradients.FIGURE):
        assert "best on fresh seeds" in kind(data).caption
    assert "medians over 4 seeds" in accuracy_and_gradients.FIGURE(data).caption


def test_a_copy_is_no_point_and_no_line(make: Any) -> None:
    copies = [make.one("", alpha=2.0, r=0.01), make.one("", alpha=3.0, r=0.1), make.one("", alpha=3.0, r=0.1)]
    data = FigureData(*make([*make.arms(), *copies, *make.search(3)]), ACCURACY, make.axes)
    assert data.results.index.tolist() == [0, 1, 2, 4, 6, 7, 8] and set(data.tried.index) == {4, 6, 7, 8}
    assert len(parallel.FIGURE(data).figure.axes[0].collections[0].get_segments()) == 4


def test_the_pareto_front_is_marked(make: Any) -> None:
    def measured(accuracy: float, loss: float) -> Any:
        values = {"validation.accuracy": accuracy, "train.loss": loss}
        return lambda metric, epoch, seed, value: values.get(metric, value)

    numbers = [(0.5, 0.9), (0.6, 0.5), (0.8, 0.7), (0.7, 0.8)]
    arms = [make.one("plain", alpha=1.0, change=measured(*numbers[0]))]
    searched = [make.one("", alpha=2.0 + i, change=measured(*of)) for i, of in enumerate(numbers[1:])]
    frame, ended = make([*arms, *searched])
    objectives = [ACCURACY, Objective("train.loss", "minimize")]
    picture = pareto.FIGURE(FigureData(frame, ended, objectives=objectives))
    (axes,) = picture.figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["configurations"] == pytest.approx(np.array(numbers))
    assert lines["Pareto front"] == pytest.approx(np.array([(0.6, 0.5), (0.8, 0.7)]))
    assert lines["plain"] == pytest.approx(np.array([(0.5, 0.9)]))
    assert "On the front: alpha=2 r=0 (0.6; 0.5), alpha=3 r=0 (0.8; 0.7)." in picture.alt


def test_a_searched_sweep_has_every_figure(make: Any, tmp_path: Path) -> None:
    frame, ended = make([*make.arms(), *make.search(12)])
    result = draw(frame, ended, [ACCURACY], *make.searched)
    names = ["accuracy-and-gradients", "seeds", "layers", "saturation", "surface", "importance", "parallel"]
    same = "no two complete configurations differ in depth"
    assert list(result.pictures) == names
    assert result.left_out == {
        "Gradient by layer and depth": same,
        "Depth": same,
        "Pareto front": "there is one objective",
    }
    for picture in result.pictures.values():
        root = ElementTree.fromstring(picture.svg)
        assert root.tag.endswith("svg") and len(picture.svg) < 100_000
        # Letters are letters: a reader finds them, and a screen shows them sharp at any size.
        assert any(e.tag.endswith("}text") for e in root.iter())
        assert picture.caption.endswith(".") and len(picture.alt) > 20 and "nan" not in picture.alt
    assert svg(layers_figure(frame, ended)) == result.pictures["layers"].svg  # to the byte
    for ending in ("svg", "png", "pdf"):
        file = tmp_path / f"figure.{ending}"
        write(paper_figure(frame, ended), file)
        assert 0 < file.stat().st_size < 200_000


def test_each_of_several_objectives_has_its_own_figures_of_the_search(make: Any) -> None:
    frame, ended = make([make.one("plain", seeds=(0,)), *make.search(4, seeds=(0,))])
    result = draw(frame, ended, [ACCURACY, Objective("train.loss", "minimize")], *make.searched)
    assert list(result.pictures)[4:] == [
        "surface-validation-accuracy",
        "pareto",
        *(f"{kind}-validation-accuracy" for kind in ("importance", "parallel")),
        *(f"{kind}-train-loss" for kind in ("surface", "parallel")),
    ]
    assert set(result.left_out) == {
        "Gradient by layer and depth",
        "Depth",
        "Parameter importance: train.loss",
    }


def test_what_does_not_apply_says_why(make: Any) -> None:
    frame, ended = make([make.one("plain", seeds=(0,))], "alone", status=None)
    result = draw(frame, ended, [ACCURACY])
    assert list(result.pictures) == ["accuracy-and-gradients", "seeds", "layers", "saturation"]
    assert "the only seed" in result.pictures["accuracy-and-gradients"].caption
    assert result.left_out == {
        "Gradient by layer and depth": "no two complete configurations differ in depth",
        "Depth": "no two complete configurations differ in depth",
        "Response surface": "it takes 4 complete configurations that differ in alpha and r, and there are 1",
        "Pareto front": "there is one objective",
        "Parameter importance": "nothing was searched",
        "Parallel coordinates": "nothing was searched",
    }
    frame, ended = make([], "empty")
    assert draw(frame, ended, [ACCURACY]).pictures == {}
    running = [make.one("plain", state="running", epochs=0), make.one("paper", alpha=2.0, state="running", epochs=2)]
    frame, ended = make([*running, *make.search(3, state="running", epochs=1)], "running", status=None)
    result = draw(frame, ended, [ACCURACY], *make.searched)
    assert list(result.pictures)[:4] == ["accuracy-and-gradients", "seeds", "layers", "saturation"]
    assert "paper: α = 2 (running)" in result.pictures["accuracy-and-gradients"].alt


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-300, 1e300])
def test_odd_values_do_not_crash_the_album(make: Any, odd: float) -> None:
    """Everywhere in one arm, in one seed of another, and at a single epoch of a searched configuration."""

    def everywhere(metric: str, epoch: int, seed: int, value: float) -> float:
        return odd

    def a_seed(metric: str, epoch: int, seed: int, value: float) -> float:
        return odd if seed == 1 else value

    def an_epoch(metric: str, epoch: int, seed: int, value: float) -> float:
        return odd if epoch == 1 else value

    keywords: dict[str, Any] = {"seeds": (0, 1), "epochs": 1}
    arms = [make.one("all", change=everywhere, **keywords), make.one("seed", alpha=2.0, change=a_seed, **keywords)]
    frame, ended = make([*arms, *make.search(4, change=an_epoch, **keywords)])
    for picture in draw(frame, ended, [ACCURACY], *make.searched).pictures.values():
        ElementTree.fromstring(picture.svg)


def test_drawing_leaves_no_global_state() -> None:
    code = (
        "import matplotlib, sys; before = matplotlib.rcParams.copy()\n"
        "from tracking.figures.importance import FIGURE\n"
        "from tracking.figures.style import svg\n"
        "from tracking.figures.data import Axis, FigureData\n"
        "from trainers.objectives import Objective\n"
        "axes, shares = (Axis('alpha', 1, 2), Axis('r', 1, 2)), {'x': {'alpha': 0.25, 'r': 0.75}}\n"
        "assert '75%' in svg(FIGURE(FigureData(None, {}, Objective('x'), axes, shares)).figure)\n"
        "assert matplotlib.rcParams.copy() == before and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawing_brings_no_pytorch() -> None:
    """The driver draws when a sweep ends, and does without the half gigabyte that PyTorch takes."""
    code = "import sys; from tracking.figures import album; album._kinds(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
