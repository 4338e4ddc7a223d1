"""Training accuracy and the correlation of images over sigma_w, sigma_b and depth, with mean-field theory over them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from docs.build.studies.page import Frame, Records
from tracking.figures.album import Drawing
from tracking.figures.style import COLOURS, PALETTE, legend_below, new_figure, percent
from tracking.verdict.tables import Section, Table, number
from trainers.theory.signal import correlation_map, critical_sigma_w, depth_scales, length_map

SMALL = (
    "seeds=1",
    "confirm.seeds=2",
    "base.epochs=1",
    "search.space.init_scale=[0.5, 1.33, 3.0]",
    "search.space.bias_scale=[0.05, 1.0]",
    "search.space.dense=[3, 6]",
)
TANH = ("tanh", 1.0, "rescaled")
SCALES = 6  # depth scales that a signal gets through (Schoenholz et al. 2017)
TRAINED = 0.5  # training accuracy; guessing gives 0.1
BINS = (0.0, 0.5, 1.0, 2.0, math.inf)


def parts(records: Records) -> Iterator[Drawing | Section]:
    """What was found: accuracies and their figure, then correlations and theirs."""
    ends = records.members[records.members["epoch"] == records.members["epoch"].max()]
    keys = ["init_scale", "bias_scale", "dense"]
    grid = ends.groupby(keys)["train.accuracy"].mean().rename("accuracy").reset_index()
    grid["scale"] = [_scale(w, b) for w, b in zip(grid["init_scale"], grid["bias_scale"], strict=True)]
    critical = {b: critical_sigma_w(*TANH, b) for b in sorted(set(grid["bias_scale"]))}
    grid["chaotic"] = grid["init_scale"] > grid["bias_scale"].map(critical)
    yield _trained(grid)
    yield Drawing(
        _accuracies(grid, critical),
        "Training accuracy after the last epoch, means over the seeds, by sigma_w and depth, a panel for each sigma_b. "
        f"Red: {SCALES} depth scales of the correlation, below which mean-field theory expects a network to train. "
        "Dotted: the edge of chaos, with order on its left.",
        f"Heat maps of the training accuracy for {len(critical)} values of sigma_b.",
    )
    yield _deepest(grid, critical)
    start = records.layers[records.layers["epoch"] == 0]
    yield from _correlations(start[start["dense"] == start["dense"].max()], critical)


@cache  # it takes a quarter of a second
def _scale(sigma_w: float, sigma_b: float) -> float:
    """The depth scale of the correlation."""
    return depth_scales(*TANH, sigma_w, sigma_b)[1]


def _trained(grid: pd.DataFrame) -> Section:
    ratio, trained = grid["dense"] / (SCALES * grid["scale"]), grid["accuracy"] >= TRAINED
    within, beyond = trained[ratio <= 1], trained[ratio > 1]
    rows = []
    for low, high in zip(BINS, BINS[1:], strict=False):
        for chaotic in (False, True):
            own = (ratio > low) & (ratio <= high) & (grid["chaotic"] == chaotic)
            name = f"{low:g} to {high:g}" if high < math.inf else f"above {low:g}"
            phase = "chaos" if chaotic else "order"
            median = number(grid["accuracy"][own].median(), ".2f") if own.any() else ""
            rows.append((name, phase, str(own.sum()), str((own & trained).sum()), median))
    return Section(
        "Which networks train",
        (
            f"Of the {len(within)} points of the grid that are at most {SCALES} depth scales deep, {within.sum()} "
            f"trained; of the {len(beyond)} that are deeper, {beyond.sum()}. Trained: a mean training accuracy of at "
            f"least {TRAINED:.0%} after the last epoch.",
        ),
        (
            Table(
                f"Points by depth over {SCALES} depth scales",
                (f"depth over {SCALES} ξ", "phase", "points#", "trained#", "median accuracy#"),
                tuple(rows),
            ),
        ),
    )


def _accuracies(grid: pd.DataFrame, critical: dict[float, float]) -> Figure:
    figure = new_figure(2.9 * math.ceil(len(critical) / 2) + 0.4, 7.5)
    panels = figure.subplots(math.ceil(len(critical) / 2), 2, sharex=True, sharey=True, squeeze=False)
    coarse = sorted(set(grid["init_scale"]))
    fine = np.interp(np.linspace(0, len(coarse) - 1, 3 * len(coarse) - 2), range(len(coarse)), coarse)
    for axes, (sigma_b, edge) in zip(panels.flat, critical.items(), strict=False):
        own = grid[grid["bias_scale"] == sigma_b].pivot(index="dense", columns="init_scale", values="accuracy")
        mesh = axes.pcolormesh(
            _sides(own.columns.to_numpy()), _sides(own.index.to_numpy()), own, cmap=COLOURS, vmin=0.0, vmax=1.0
        )
        bottom, top = axes.get_ylim()
        scales = [SCALES * _scale(w, sigma_b) for w in fine]
        axes.plot(fine, np.minimum(scales, 10 * top), color="#E8000B", linewidth=2.0)
        axes.axvline(edge, color="white", linestyle=":", linewidth=1.4)
        axes.set_ylim(bottom, top)
        axes.set_title(f"σ_b = {sigma_b:g}")
        axes.grid(False)
    for axes in panels.flat[len(critical) :]:
        axes.set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("σ_w")
    for axes in panels[:, 0]:
        axes.set_ylabel("hidden layers")
    bar = figure.colorbar(mesh, ax=panels, location="top", aspect=50, shrink=0.8)
    bar.set_label("training accuracy")
    bar.ax.xaxis.set_major_formatter(percent())
    return figure


def _sides(values: np.ndarray) -> np.ndarray:
    """The sides of cells around ascending values."""
    middles = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middles[0]], middles, [2 * values[-1] - middles[-1]]])


def _deepest(grid: pd.DataFrame, critical: dict[float, float]) -> Section:
    rows = []
    for sigma_w, of in grid.groupby("init_scale"):
        cells = []
        for sigma_b in critical:
            own = of[of["bias_scale"] == sigma_b].sort_values("dense")
            # the deepest with all shallower ones
            passed = int((own["accuracy"] >= TRAINED).cumprod().sum())
            deepest = str(own["dense"].iloc[passed - 1]) if passed else "none"
            cells.append(f"{deepest}, {SCALES * own['scale'].iloc[0]:.0f}" if len(own) else "")
        rows.append((f"{sigma_w:g}", *cells))
    edges = ", ".join(f"{edge:.3f} for sigma_b = {sigma_b:g}" for sigma_b, edge in critical.items())
    return Section(
        "",
        (f"The edge of chaos is at sigma_w = {edges}.",),
        (
            Table(
                f"The deepest network that trained, with all that are shallower; then {SCALES} depth scales",
                ("σ_w#", *(f"σ_b = {sigma_b:g}#" for sigma_b in critical)),
                tuple(rows),
            ),
        ),
    )


def _correlations(start: Frame, critical: dict[float, float]) -> Iterator[Drawing | Section]:
    depth = int(start["dense"].max())
    keys = ["bias_scale", "init_scale"]
    first = start[start["layer"] == "dense1"].groupby(keys)[["signal.correlation", "signal.variance"]].mean()
    last = start[start["layer"] == f"dense{depth}"].groupby(keys)["signal.correlation"]
    means, low, high = last.mean(), last.min(), last.max()
    predicted = {at: _predicted(depth, *first.loc[at], *at) for at in means.index}
    figure = new_figure(4.2)
    axes = figure.subplots()
    for colour, (sigma_b, edge) in zip(PALETTE, critical.items(), strict=False):
        sigmas = [w for b, w in means.index if b == sigma_b]
        measured = [means[sigma_b, w] for w in sigmas]
        spread = [
            [means[sigma_b, w] - low[sigma_b, w] for w in sigmas],
            [high[sigma_b, w] - means[sigma_b, w] for w in sigmas],
        ]
        axes.plot(sigmas, [predicted[sigma_b, w] for w in sigmas], color=colour, label=f"σ_b = {sigma_b:g}")
        axes.errorbar(sigmas, measured, yerr=spread, color=colour, fmt="o", markersize=4, linewidth=1.0)
        axes.axvline(edge, color=colour, linestyle=":", linewidth=1.2)
    axes.set_xlabel("σ_w")
    axes.set_ylabel(f"correlation of two images in layer {depth}")
    legend_below(figure, axes)
    off: Frame = pd.Series({at: abs(means[at] - predicted[at]) for at in means.index})
    worst = off.idxmax()
    text = (
        f"In layer {depth} the mean correlation of two images differs from the prediction by "
        f"{number(off.median(), '.2g')} in the median over {len(off)} points and by at most {number(off.max(), '.2g')} "
        f"(sigma_w = {worst[1]:g}, sigma_b = {worst[0]:g}: {means[worst]:.3f} measured, {predicted[worst]:.3f} "
        "predicted)."
    )
    yield Section("Order and chaos before the first step", (text,))
    yield Drawing(
        figure,
        f"The mean cosine of two images' pre-activations in the last hidden layer of {depth}, before the first step. "
        "Dots are means over the seeds with the lowest and the highest, lines connect what mean-field theory makes of "
        "the first layer's correlation, and dotted lines are the edge of chaos.",
        f"Correlations over sigma_w for {len(critical)} values of sigma_b, measured and predicted.",
    )


def _predicted(depth: int, correlation: float, variance: float, sigma_b: float, sigma_w: float) -> float:
    """What the maps make of the first layer's correlation and variance in the last one."""
    for _ in range(depth - 1):
        before = correlation, variance
        correlation = correlation_map(correlation, *TANH, sigma_w, sigma_b, q=variance)
        variance = length_map(variance, *TANH, sigma_w, sigma_b)
        if np.allclose(before, (correlation, variance), rtol=1e-9, atol=0):
            break  # the fixed point
    return correlation
