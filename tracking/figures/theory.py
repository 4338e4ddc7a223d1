"""The figure of the theorems: where the bounds hold, and what depth and the two scalings do to the gradient."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tracking.figures.style import new_figure, write


def save(file: Path) -> None:
    """Write the four panels; the ending says the format. Raises ValueError for one that matplotlib doesn't know."""
    # They bring PyTorch, which the report's figures, looked for in this folder, need not wait for.
    from trainers.theory.network import ODD, SIGMOIDS
    from trainers.theory.theorems import SIZE, first_layer_log, first_region, largest, second_region

    figure = new_figure(8.0, 11.0)
    first, second, depth, scalings = panels = figure.subplots(2, 2).ravel()
    first.set_title("Theorem 1: largest |dg/dθ| under its assumptions, over its bound t (log10)", fontsize=9)
    second.set_title("Theorem 1: least regularised gradient, over its bound |d| log(1/t)", fontsize=9)
    small, t = np.concatenate([np.logspace(-4, -1, 60), np.linspace(0.11, 0.98, 88)]), np.linspace(0.3, 0.98, 103)
    for f in ODD:
        first.plot(small, np.log10(largest(f, small) / small), label=f.name)
        second.plot(t, np.maximum(2 - largest(f, t) / np.log(1 / t), 0.0), label=f.name)
    first.axhline(0.0, color="black", linewidth=1)
    first.set_xscale("log")
    first.set_xlabel("t   (above the black line the bound fails)")
    second.axhline(1.0, color="black", linewidth=1)
    second.set_xlabel("t   (below the black line the bound fails)")
    for i, f in enumerate(ODD):
        for axes, edges in ((first, first_region(f)), (second, (second_region(f),))):
            for edge in filter(None, edges):
                axes.axvline(edge, color=f"C{i}", linewidth=0.8, linestyle=":")

    depth.set_title("Theorem 2: |dg/dθ¹| over the depth l, tanh (log10)", fontsize=9)
    depth.set_xlabel("l")
    tanh, layers = SIGMOIDS["tanh"], np.arange(1, 41)
    for alpha in (1, 2, 4, 16, 256):
        depth.plot(layers, first_layer_log(tanh, 40, alpha) / math.log(10), label=f"α = {alpha}")
    depth.plot(layers, -layers * math.log10(2), "--", label="bound for α = 1")
    depth.plot(layers, layers * math.log10(SIZE), "--", label="limit")

    scalings.set_title("Scalings: |dg/dθ¹| over log10 α, tanh (log10)", fontsize=9)
    scalings.set_xlabel("log10 α")
    alphas = np.logspace(0, 1.5, 61)
    for scaling, dashes in (("rescaled", "--"), ("naive", "-")):
        logs = np.array([first_layer_log(tanh, 3, alpha, scaling) for alpha in alphas]) / math.log(10)
        for i in range(3):
            scalings.plot(np.log10(alphas), logs[:, i], dashes, label=f"{scaling}, l = {i + 1}")
    scalings.set_ylim(bottom=-12)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    write(figure, file)
