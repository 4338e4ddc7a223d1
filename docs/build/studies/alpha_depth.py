"""The first layer's gradient over the depth before the first step: measured, by mean-field theory, by Theorem 2."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from docs.build.studies.page import Frame, Records
from tracking.figures.album import Drawing
from tracking.figures.style import PALETTE, legend_below, new_figure
from tracking.verdict.tables import Section, Table, number
from trainers.theory.network import SIGMOIDS
from trainers.theory.signal import gradient_profile
from trainers.theory.theorems import SIZE, first_layer_log

SMALL = ("seeds=2", "search.space.alpha=[1.0, 2.0, 16.0]", "search.space.dense=[1, 5, 60]")
INPUTS, CLASSES = 3072, 10


def parts(records: Records) -> Iterator[Drawing | Section]:
    """What was found: a table and the figure. All gradients are relative to those of the shallowest network."""
    first = records.layers[(records.layers["layer"] == "dense1") & (records.layers["epoch"] == 0)]
    first = first.drop_duplicates(["init_scale", "alpha", "dense", "seed"])
    sizes: Frame = first.pivot(index=["init_scale", "alpha", "seed"], columns="dense", values="gradient.data.rms")
    logs = np.log10(sizes.div(sizes[sizes.columns[0]], axis=0)).groupby(["init_scale", "alpha"])
    measured, low, high = logs.median(), logs.quantile(0.25), logs.quantile(0.75)
    units = int(first["units"].iloc[0])
    predicted: Frame = pd.DataFrame({at: _predicted(at[0], at[1], units, measured.columns) for at in measured.index}).T
    theorem: Frame = pd.DataFrame({alpha: _theorem(alpha, measured.columns) for alpha in measured.index.levels[1]}).T
    yield _section(measured, predicted, theorem)
    yield _figure(measured, low, high, predicted, theorem)


def _predicted(sigma_w: float, alpha: float, units: int, depths: Frame) -> dict[int, float]:
    """log10 by mean-field theory, relative to the least depth; standardized images have mean square 1."""
    widths = {depth: [INPUTS, *[units] * depth, CLASSES] for depth in depths}
    logs = {d: gradient_profile("tanh", alpha, "rescaled", sigma_w, 0.0, w, 1.0)[0] for d, w in widths.items()}
    return {depth: (log - logs[depths[0]]) / math.log(10) for depth, log in logs.items()}


def _theorem(alpha: float, depths: Frame) -> dict[int, float]:
    """log10 in Theorem 2's network, relative to the least depth."""
    logs = first_layer_log(SIGMOIDS["tanh"], int(depths[-1]), alpha) / math.log(10)
    return {depth: logs[depth - 1] - logs[depths[0] - 1] for depth in depths}


def _section(measured: Frame, predicted: Frame, theorem: Frame) -> Section:
    least, most = measured.columns[0], measured.columns[-1]
    rows = tuple(
        (f"{at[0]:g}", f"{at[1]:g}", *(_power(of) for of in (measured.loc[at, most], predicted.loc[at, most])))
        + (_power(theorem.loc[at[1], most]) if at[0] == SIZE else "",)
        for at in measured.index
    )
    sentences = []
    for sigma_w in measured.index.levels[0]:
        off = (measured.loc[sigma_w] - predicted.loc[sigma_w]).abs().to_numpy().max()
        ends = measured.loc[sigma_w, most]
        sentences.append(
            f"At sigma_w = {sigma_w:g} the first layer's gradient with {most} hidden layers is "
            f"{_power(ends.iloc[0])} times that with {least} where alpha = {ends.index[0]:g}, and "
            f"{_power(ends.iloc[-1])} times where alpha = {ends.index[-1]:g}. Mean-field theory is within a factor of "
            f"{number(10**off, '.2g')} at all depths and alpha."
        )
    bound = -(most - least) * math.log10(2)
    sentences.append(
        f"In Theorem 2's network it is {_power(theorem[most].iloc[0])} times where alpha = {theorem.index[0]:g} (the "
        f"theorem's bound is {_power(bound)} times), and {_power(theorem[most].iloc[-1])} times where alpha = "
        f"{theorem.index[-1]:g}."
    )
    sentences.append(
        "The prediction is for one image. The gradient is a mean over images, and smaller where theirs disagree, as "
        "they do in chaos."
    )
    columns = ("σ_w#", "α#", "measured#", "mean-field theory#", "Theorem 2, θ = 1.5#")
    title = f"The first layer's gradient with {most} layers over that with {least}: medians over the seeds"
    return Section("The first layer's gradient before the first step", tuple(sentences), (Table(title, columns, rows),))


def _figure(measured: Frame, low: Frame, high: Frame, predicted: Frame, theorem: Frame) -> Drawing:
    sigmas = list(measured.index.levels[0])
    rows = (len(sigmas) + 2) // 2
    figure = new_figure(3.1 * rows + 0.6, 8.0)
    panels = figure.subplots(rows, 2).ravel()
    for axes, sigma_w in zip(panels, sigmas, strict=False):
        for colour, alpha in zip(PALETTE, measured.loc[sigma_w].index, strict=False):
            at = (sigma_w, alpha)
            axes.plot(predicted.columns, 10 ** predicted.loc[at], "-", color=colour, linewidth=1.2)
            spread = [10 ** measured.loc[at] - 10 ** low.loc[at], 10 ** high.loc[at] - 10 ** measured.loc[at]]
            axes.errorbar(
                measured.columns,
                10 ** measured.loc[at],
                yerr=spread,
                fmt="o",
                color=colour,
                markersize=4,
                linewidth=1.0,
            )
        axes.set_title(f"σ_w = {sigma_w:g}")
    for colour, alpha in zip(PALETTE, theorem.index, strict=False):
        panels[-1].plot(
            theorem.columns, 10 ** theorem.loc[alpha], "o-", color=colour, markersize=4, label=f"α = {alpha:g}"
        )
    bound = [2.0 ** (theorem.columns[0] - depth) for depth in theorem.columns]
    panels[-1].plot(theorem.columns, bound, "--", color="black", label="bound for α = 1")
    limit = [SIZE ** (depth - theorem.columns[0]) for depth in theorem.columns]
    panels[-1].plot(theorem.columns, limit, ":", color="black", label="limit for large α")
    panels[-1].set_title("Theorem 2: one unit per layer, θ = 1.5")
    for axes in panels:
        axes.set_yscale("log")
        axes.set_xlabel("hidden layers")
    for axes in panels[::2]:
        axes.set_ylabel(f"first layer's gradient\nover that with {measured.columns[0]}")
    legend_below(figure, panels[-1])
    return Drawing(
        figure,
        "The rms of the first layer's gradient before the first step, relative to that of the shallowest network. Dots "
        "are medians over the seeds with interquartile ranges, lines mean-field theory. The last panel is the "
        "network of Theorem 2.",
        f"Gradients over the depth, measured and predicted, for alpha = {theorem.index[0]:g} to {theorem.index[-1]:g}.",
    )


def _power(log: float) -> str:
    """A number by its logarithm to base 10."""
    return number(10**log, ".2g")
