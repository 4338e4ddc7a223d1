"""The figure of signal propagation: the edges of chaos, and what a layer does to gradients on the way across them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tracking.figures.style import DASHES, PALETTE, new_figure, write

CURVE = np.geomspace(1e-6, 1e4, 161)  # lengths, in units of the activation's own
POINTS = 61  # of chi against sigma_w
WIDEST = 4.0  # sigma_w and sigma_b


def save(file: Path, units: Sequence[tuple[str, float, str]], sigma_w: float, sigma_b: float) -> None:
    """Write the two panels for `units` (activation, alpha, scaling); the ending says the format.

    The point (sigma_w, sigma_b) is marked. Raises ValueError for a format that matplotlib doesn't know.
    """
    # It brings PyTorch, which the report's figures, looked for in this folder, need not wait for.
    from trainers.theory.signal import chi, edge_of_chaos

    most_w, most_b = max(WIDEST, 1.5 * sigma_w), max(WIDEST / 2, 1.5 * sigma_b)
    figure = new_figure(7.5)
    plane, growth = figure.subplots(2, 1)
    widths = np.linspace(most_w / POINTS, most_w, POINTS)
    for i, unit in enumerate(units):
        name, alpha, scaling = unit
        style = {"color": PALETTE[i % len(PALETTE)], "linestyle": DASHES[i % len(DASHES)]}
        label = name if len({a for _, a, _ in units}) == 1 else f"{name}, α = {alpha:g}"
        edge = edge_of_chaos(*unit, CURVE * (alpha**2 if scaling == "rescaled" else 1.0))
        edge[(edge > (2 * most_w, 2 * most_b)).any(axis=1)] = np.nan
        is_point = np.nanmax(edge, axis=0, initial=0.0)[1] < 1e-3
        plane.plot(*edge.T, **style, label=label, marker="o" if is_point else None)
        growth.plot(widths, [chi(*unit, width, sigma_b) for width in widths], **style, label=label)
    plane.set(xlim=(0, most_w), ylim=(0, most_b), xlabel="σw", ylabel="σb")
    plane.set_title("Edge of chaos: on the right of it gradients explode", fontsize=9)
    plane.plot([sigma_w], [sigma_b], "k+", markersize=10)
    growth.axhline(1.0, color="black", linewidth=0.8)
    growth.axvline(sigma_w, color="black", linewidth=0.8, linestyle=":")
    growth.set(xlim=(0, most_w), yscale="log", xlabel="σw", ylabel="χ")
    growth.set_ylim(bottom=1e-2)
    growth.set_title(f"χ: a layer's factor on the mean square of a gradient, σb = {sigma_b:g}", fontsize=9)
    for axes in (plane, growth):
        axes.grid(alpha=0.3)
    growth.legend(ncols=2)
    write(figure, file)
