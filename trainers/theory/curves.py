"""The lines of the theory's figure, as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from trainers.theory.claims import Curve
from trainers.theory.network import forward
from trainers.theory.sigmoids import ODD, SIGMOIDS, Sigmoid
from trainers.theory.theorem1 import largest
from trainers.theory.theorem2 import SIZE, first_layer_log

FIRST = "Theorem 1: largest |dg/dθ| under its assumptions, over its bound t (log10)"
SECOND = "Theorem 1: least regularised gradient, over its bound |d| log(1/t)"
DEPTH = "Theorem 2: |dg/dθ¹| over the depth l, tanh (log10)"
NAIVE = "Scalings: |dg/dθ¹| over log10 α, tanh (log10)"
LAYERS = 40


def curves() -> Iterator[Curve]:
    """All panels; every y is finite."""
    tanh, depths = SIGMOIDS["tanh"], np.arange(1, LAYERS + 1)
    t = np.concatenate([np.logspace(-4, -1, 60), np.linspace(0.11, 0.98, 88)])
    for f in ODD:
        yield _curve(FIRST, f.name, t, [math.log10(largest(f, s) / s) for s in t])
    t = np.linspace(0.3, 0.98, 103)
    for f in ODD:
        yield _curve(SECOND, f.name, t, [_least(f, s) for s in t])
    for alpha in (1.0, 2.0, 4.0, 16.0, 256.0):
        yield _curve(DEPTH, f"alpha = {alpha:g}", depths, first_layer_log(tanh, LAYERS, alpha) / math.log(10))
    yield _curve(DEPTH, "bound for alpha = 1", depths, -depths * math.log10(2))
    yield _curve(DEPTH, "limit", depths, depths * math.log10(SIZE))
    alphas = np.logspace(0, 1.5, 61)
    for scaling in ("rescaled", "naive"):
        logs = np.array([first_layer_log(tanh, 3, alpha, scaling) for alpha in alphas]) / math.log(10)
        for i in range(3):
            yield _curve(NAIVE, f"{scaling}, l = {i + 1}", np.log10(alphas), logs[:, i])


def _least(f: Sigmoid, t: float) -> float:
    return max(2 * math.log(1 / t) - largest(f, t), 0.0) / math.log(1 / t)


def settled(f: Sigmoid, depth: int = 400) -> tuple[float, float]:
    """|f^i| of a deep network of Theorem 2, and what each of its layers multiplies the gradient by."""
    z = float(forward(f, np.full(depth, SIZE), SIZE).arguments[-1])
    return f.value(z), SIZE * f.slope(z)


def _curve(panel: str, label: str, x: object, y: object) -> Curve:
    return Curve(panel, label, *(tuple(float(v) for v in np.asarray(values)) for values in (x, y)))
