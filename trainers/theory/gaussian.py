"""Averages of an activation over Gaussian pre-activations: E F(u)^2, E F'(u)^2, E F(u) F(v) and E F'(u) F'(v).

The quadrature is Gauss-Legendre between the points where F turns: its kinks, and 0 with powers of 4 around it, since to
a wide Gaussian tanh is a step. Gauss-Hermite, whose nodes know nothing of F, is as good for a smooth F and a narrow
Gaussian, and far worse elsewhere (docs/theory.md has both). F is `trainers.activations.activation` itself and F' its
gradient by autograd, both in float64; rrelu's slope is its mean, as in evaluation.

For two pre-activations of variance q and correlation c, u = sqrt(q) (a s + b t) and v = sqrt(q) (a s - b t) with
a^2 = (1 + c) / 2, b^2 = (1 - c) / 2 and s, t independent; so E (F(u) - F(v))^2 keeps its digits as c comes near 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.activations import ACTIVATIONS, activation

Array = NDArray[np.float64]

WIDTH = 9.5  # deviations on either side: the rest weighs 2e-21
PANEL = 1.0  # deviations, at most
RATIO = 4.0  # so many times as far from where F turns is the next panel's end
NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)
AT_A_TIME = 2**20  # points at which F is taken in two dimensions


@dataclass(frozen=True)
class Unit:
    """A unit's scaled activation F, as a member has it: its name, alpha, scaling and slope (None: the default's)."""

    activation: str
    alpha: float = 1.0
    scaling: str = "rescaled"
    slope: float | None = None

    @property
    def size(self) -> float:
        """The pre-activation that counts as 1: alpha where it is rescaled."""
        return self.alpha if self.scaling == "rescaled" else 1.0

    @cached_property
    def turns(self) -> Array:
        """The pre-activations where F may bend sharply: 0, and its kinks."""
        return np.array(sorted({0.0, *ACTIVATIONS[self.activation].kinks})) * self.size

    def values(self, u: Array) -> Array:
        """F at the pre-activations `u`, of any shape."""
        return np.asarray(self._f(torch.from_numpy(u)).numpy(), np.float64)

    def slopes(self, u: Array) -> Array:
        """F' at the pre-activations `u`, of any shape, none of them a kink."""
        at = torch.from_numpy(u).requires_grad_()
        (gradient,) = torch.autograd.grad(self._f(at).sum(), at)
        return np.asarray(gradient.numpy(), np.float64)

    def _f(self, u: torch.Tensor) -> torch.Tensor:
        slope = () if self.slope is None else (float(self.slope),)
        return activation(self.activation, self.scaling)(u, float(self.alpha), *slope)

    # ---- one pre-activation of variance q

    def mean(self, q: float) -> float:
        """E F."""
        u, weights = self._line(q)
        return float(weights @ self.values(u))

    def square(self, q: float) -> float:
        """E F^2."""
        u, weights = self._line(q)
        return float(weights @ self.values(u) ** 2)

    def slope_square(self, q: float) -> float:
        """E F'^2."""
        u, weights = self._line(q)
        return float(weights @ self.slopes(u) ** 2)

    def growth(self, q: float) -> float:
        """d E F^2 / dq = E (u F F') / q."""
        u, weights = self._line(q)
        return float(weights @ (u * self.values(u) * self.slopes(u))) / q

    def _line(self, q: float) -> tuple[Array, Array]:
        ends = _ends(self.turns / math.sqrt(q), self.size / math.sqrt(q))
        s, weights = _panels(ends)
        return s * math.sqrt(q), weights

    # ---- two of variance q and correlation 1 - e

    def product(self, q: float, e: float) -> float:
        """E F(u) F(v)."""
        return sum(float(w @ (self.values(u) * self.values(v))) for u, v, w in self._plane(q, e))

    def slope_product(self, q: float, e: float) -> float:
        """E F'(u) F'(v), which is d E F(u) F(v) / dc over q."""
        return sum(float(w @ (self.slopes(u) * self.slopes(v))) for u, v, w in self._plane(q, e))

    def square_of_difference(self, q: float, e: float) -> float:
        """E (F(u) - F(v))^2 = 2 (E F(u)^2 - E F(u) F(v))."""
        return sum(float(w @ (self.values(u) - self.values(v)) ** 2) for u, v, w in self._plane(q, e))

    def _plane(self, q: float, e: float) -> Iterator[tuple[Array, Array, Array]]:
        """u, v and weights, flat, some rows of s at a time."""
        # c = -1 or 1 would have no width in one direction
        a, b = (math.sqrt(q * max(part, 1e-30) / 2) for part in (2 - e, e))
        # Along s what has been averaged over t turns where lines cross at which u or v do, as sharply as b allows.
        crossings = np.unique(np.add.outer(self.turns, self.turns) / 2)
        s, weights_s = _panels(_ends(crossings / a, max(min(self.size, b), 1e-9 * a) / a))
        turns = np.concatenate([(self.turns - a * s[:, None]), (a * s[:, None] - self.turns)], axis=1) / b
        t, weights_t = _panels(_ends(turns, self.size / b))
        rows = max(1, AT_A_TIME // t.shape[1])
        for i in range(0, len(s), rows):
            along, across = a * s[i : i + rows, None], b * t[i : i + rows]
            weights = weights_s[i : i + rows, None] * weights_t[i : i + rows]
            yield (along + across).ravel(), (along - across).ravel(), weights.ravel()


def _ends(turns: Array, size: float) -> Array:
    """The panels' ends in deviations, sorted along the last axis: `turns` (..., n), and around each powers of RATIO."""
    even = np.arange(-WIDTH, WIDTH + PANEL / 2, PANEL)
    levels = max(0, math.ceil(math.log(WIDTH / size, RATIO))) if size < PANEL else 0
    around = size * RATIO ** np.arange(levels)
    around = np.concatenate([-around, [0.0], around])
    every = (turns[..., None] + around).reshape(*turns.shape[:-1], -1)
    even = np.broadcast_to(even, (*turns.shape[:-1], len(even)))
    return np.sort(np.clip(np.concatenate([every, even], axis=-1), -WIDTH, WIDTH), axis=-1)


def _panels(ends: Array) -> tuple[Array, Array]:
    """Nodes and weights of the standard Gaussian (..., panels x nodes)."""
    half, middle = np.diff(ends)[..., None] / 2, (ends[..., 1:] + ends[..., :-1])[..., None] / 2
    nodes = middle + half * NODES
    weights = half * WEIGHTS * np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    flat = (*ends.shape[:-1], -1)
    return nodes.reshape(flat), weights.reshape(flat)
