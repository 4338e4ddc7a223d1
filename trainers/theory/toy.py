"""The network of section 2.1: l neurons in a row, one parameter each; its partial derivatives in closed form.

With y^0 = x, z^i = theta^i y^(i-1) and y^i = alpha f(z^i / alpha) (naive: alpha f(z^i)), the output is g = y^l and

    dg/dtheta^k = y^(k-1) * (product of the slopes of neurons k to l) * (product of theta^(k+1) to theta^l).

The paper prints 1 in the place of y^0 (`printed`), and alpha in its place for scaled activation; it also leaves out
the minus of d/dtheta h(y - g) = -h'(y - g) dg/dtheta. Everything is kept as sign and logarithm, so no depth and no
saturation underflows: only a neuron's own value can (that of `sigmoid` and `logsigmoid` beyond |z| = 745).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainers.theory.sigmoids import Array, Sigmoid


class Partials(NamedTuple):
    """dg/dtheta^k for k = 1 to l along the last axis, as sign and natural logarithm of the size."""

    sign: Array
    log: Array

    @property
    def value(self) -> Array:
        """As plain numbers; what is below 1e-308 underflows to 0."""
        return self.sign * np.exp(self.log)


class Pass(NamedTuple):
    """Of every neuron, along the last axis: what it is given, and where f itself is taken; and the output g."""

    inputs: Array
    arguments: Array
    output: Array


def forward(f: Sigmoid, theta: Array, x: Array | float, alpha: float = 1.0, scaling: str = "rescaled") -> Pass:
    """Runs networks `theta` (..., l) on points `x` (...)."""
    theta = np.asarray(theta, np.float64)
    y = np.broadcast_to(np.asarray(x, np.float64), theta.shape[:-1])
    inputs, arguments = np.empty_like(theta), np.empty_like(theta)
    for i in range(theta.shape[-1]):
        inputs[..., i] = y
        arguments[..., i] = theta[..., i] * y / (alpha if scaling == "rescaled" else 1.0)
        y = alpha * f.f(arguments[..., i])
    return Pass(inputs, arguments, y)


def partials(
    f: Sigmoid,
    theta: Array,
    x: Array | float,
    alpha: float = 1.0,
    scaling: str = "rescaled",
    *,
    printed: bool = False,
) -> Partials:
    """The partial derivatives of g; with `printed`, the paper's formula with f^0 := 1 instead."""
    theta = np.asarray(theta, np.float64)
    passed = forward(f, theta, x, alpha, scaling)
    inputs = passed.inputs.copy()
    if printed:
        inputs[..., 0] = alpha
    log_slopes = f.log_slope(passed.arguments) + (np.log(alpha) if scaling == "naive" else 0.0)
    with np.errstate(divide="ignore"):
        log_inputs, log_theta = np.log(np.abs(inputs)), np.log(np.abs(theta))
    signs, sizes = np.ones_like(theta), log_slopes.copy()
    for i in range(theta.shape[-1] - 2, -1, -1):
        sizes[..., i] += sizes[..., i + 1] + log_theta[..., i + 1]
        signs[..., i] = signs[..., i + 1] * np.sign(theta[..., i + 1])
    return Partials(signs * np.sign(inputs), sizes + log_inputs)
