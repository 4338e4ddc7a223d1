"""No line leaves its band: not in the data, not in a figure, and not in a chart, on either scale."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection

from tracking.charts.bands import Panel, bands_chart
from tracking.figures.bands import draw_band, log_scale
from tracking.figures.data import Line, of_columns, over_seeds
from tracking.figures.style import new_figure

# Sizes of a gradient over seeds and epochs: 0, next to it, endless, of one seed far above the others'.
SIZES = st.one_of(
    st.sampled_from([0.0, 1e-45, 1e-9, 0.8, 0.9, 5000.0, 3e38, math.inf, math.nan]), st.floats(0.0, 1e4, width=32)
)
SEEDS = st.integers(1, 7)
TABLES = SEEDS.flatmap(lambda seeds: st.lists(st.lists(SIZES, min_size=seeds, max_size=seeds), min_size=2, max_size=6))


def line_of(table: list[list[float]]) -> Line:
    rows = [
        {"epoch": epoch, "seed": seed, "size": size}
        for epoch, sizes in enumerate(table)
        for seed, size in enumerate(sizes)
    ]
    return Line(pd.DataFrame(rows), "a", "a", "#0072B2", "-")


@given(TABLES)
def test_a_line_is_the_median_and_lies_between_the_quartiles(table: list[list[float]]) -> None:
    band = line_of(table).band("size")
    for epoch, sizes in enumerate(table):
        row = band.loc[epoch]
        if not np.isfinite(sizes).all():
            assert row.isna().all()
            continue
        np.testing.assert_allclose(row["q50"], np.median(sizes), rtol=1e-12, atol=1e-45)
        assert min(sizes) <= row["q25"] <= row["q50"] <= row["q75"] <= max(sizes)
        at_epoch = of_columns(pd.DataFrame({"size": sizes}), {epoch: "size"})
        pd.testing.assert_frame_equal(at_epoch, band.loc[[epoch]], check_names=False)


@given(TABLES, st.booleans())
def test_no_line_leaves_its_band_in_a_figure(table: list[list[float]], log: bool) -> None:
    line = line_of(table)
    axes: Axes = new_figure(2.0).subplots()
    draw_band(axes, line, line.band("size"), log)
    if log:
        log_scale(axes)
    drawn = {x: y for x, y in zip(*axes.lines[0].get_data(), strict=True) if np.isfinite(y)}
    (area,) = axes.collections
    assert isinstance(area, FillBetweenPolyCollection)
    edges = np.concatenate([np.empty((0, 2)), *(path.vertices for path in area.get_paths())])
    for x, y in drawn.items():
        at_x = edges[edges[:, 0] == x, 1]
        assert at_x.min() <= y <= at_x.max()
        assert not log or at_x.min() > 0


@given(TABLES, st.booleans())
def test_no_line_leaves_its_band_in_a_chart(table: list[list[float]], log: bool) -> None:
    line = line_of(table)
    band = line.band("size")
    area, course = bands_chart([Panel("size", "", [(line, band)], log)], "epoch", "", "", "").traces
    for x, y in zip(course["x"], course["y"], strict=True):
        at_x = [edge for place, edge in zip(area["x"], area["y"], strict=True) if place == x]
        assert y is None or min(at_x) <= y <= max(at_x)


def test_one_seed_far_above_the_others_does_not_move_the_line() -> None:
    """A mean of 180 with a median of 0.8 is no line of a figure."""
    sizes = pd.Series([0.7, 0.8, 0.9, 0.8, 900.0])
    assert sizes.mean() > 180
    assert over_seeds(sizes, [0] * 5).to_numpy().tolist() == [[0.8, 0.8, 0.9]]
