"""The network of section 2.1: l neurons in a row, one parameter each; its derivatives in closed form and by autograd.

With y^0 = x, z^i = theta^i y^(i-1) and y^i = alpha f(z^i / alpha) (naive: alpha f(z^i)), the output is g = y^l and

    dg/dtheta^k = y^(k-1) * (product of the slopes of neurons k to l) * (product of theta^(k+1) to theta^l).

Everything is kept as sign and logarithm, so no depth and no saturation underflows: only a neuron's own value can (that
of `sigmoid` and `logsigmoid` beyond |z| = 745).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainers.activations import activation, inner
from trainers.theory.claims import CounterExample, Network, Relation
from trainers.theory.sigmoids import SIGMOIDS, Array, Sigmoid


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
    f: Sigmoid, theta: Array, x: Array | float, alpha: float = 1.0, scaling: str = "rescaled", *, printed: bool = False
) -> Partials:
    """The partial derivatives of g; with `printed` by the paper's formula, which has f^0 := 1 in the place of x."""
    theta = np.asarray(theta, np.float64)
    passed = forward(f, theta, x, alpha, scaling)
    inputs = passed.inputs.copy()
    if printed:
        inputs[..., 0] = alpha
    sizes = f.log_slope(passed.arguments) + (np.log(alpha) if scaling == "naive" else 0.0)
    with np.errstate(divide="ignore"):
        log_inputs, log_theta = np.log(np.abs(inputs)), np.log(np.abs(theta))
    signs = np.ones_like(theta)
    for i in range(theta.shape[-1] - 2, -1, -1):
        sizes[..., i] += sizes[..., i + 1] + log_theta[..., i + 1]
        signs[..., i] = signs[..., i + 1] * np.sign(theta[..., i + 1])
    return Partials(signs * np.sign(inputs), sizes + log_inputs)


def printed(at: Network) -> tuple[float, float]:
    """The derivative of the penalised loss at a point by the paper's formula, and d."""
    f, theta = SIGMOIDS[at.activation], np.array(at.theta)
    d = 2 * (at.y - float(forward(f, theta, at.x, at.alpha).output))
    factor = partials(f, theta, at.x, at.alpha, printed=True).value[at.k - 1]
    return d * float(factor) + at.r * at.theta[at.k - 1], d


# PyTorch's tanh and sigmoid have slopes 1 - y^2 and y (1 - y), which lose all digits where y rounds to 1. These are
# the same functions, written so that autograd keeps them; near 0 plain tanh is the one that loses none.
def _steady_sigmoid(z: Tensor) -> Tensor:
    small = torch.sigmoid(-z.abs())
    return torch.where(z > 0, 1 - small, small)


def _steady_tanh(z: Tensor) -> Tensor:
    far = torch.where(z.abs() > 1, z, torch.ones_like(z))
    return torch.where(z.abs() > 1, far.sign() * (1 - 2 * torch.sigmoid(-2 * far.abs())), torch.tanh(z))


STEADY: dict[str, Callable[[Tensor], Tensor]] = {"tanh": _steady_tanh, "sigmoid": _steady_sigmoid}


def _output(name: str, theta: Tensor, x: Tensor, alpha: float, scaling: str, steady: bool) -> Tensor:
    y = x
    for parameter in theta.unbind(-1):
        z = parameter * y
        if steady and name in STEADY:
            y = alpha * STEADY[name](inner(scaling, z, alpha))
        else:
            y = activation(name, scaling)(z, alpha)
    return y


def by_autograd(name: str, theta: Array, x: Array, alpha: float, scaling: str, *, steady: bool = False) -> Array:
    """dg/dtheta of networks `theta` (n, l) at points `x` (n,): by the engines' own activations, or by `STEADY`."""
    parameters = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    g = _output(name, parameters, torch.tensor(x, dtype=torch.float64), alpha, scaling, steady)
    (gradient,) = torch.autograd.grad(g.sum(), parameters)
    return np.asarray(gradient.numpy(), np.float64)


def derivative(at: Network) -> tuple[float, float]:
    """By autograd, of the penalised loss by theta^k at a point, and d = h'(y - g) = 2 (y - g)."""
    theta = torch.tensor(at.theta, dtype=torch.float64, requires_grad=True)
    x = torch.tensor(at.x, dtype=torch.float64)
    residual = at.y - _output(at.activation, theta, x, at.alpha, at.scaling, steady=True)
    loss = residual**2 + at.r / 2 * (theta**2).sum()
    (gradient,) = torch.autograd.grad(loss, theta)
    return float(gradient[at.k - 1]), 2 * float(residual.detach())


def against(
    says: str, at: Network, relation: Relation, bound: float, by: Callable[[Network], tuple[float, float]] = derivative
) -> CounterExample:
    """The size of the derivative at a point against |d| times a bound: `by` autograd or as `printed`."""
    left, d = by(at)
    return CounterExample(says, at, abs(left), relation, abs(d) * bound)
