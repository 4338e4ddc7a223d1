"""The network of section 2.1: l neurons in a row, one parameter each; its derivatives in closed form and by autograd.

With y^0 = x, z^i = theta^i y^(i-1) and y^i = alpha f(z^i / alpha) (naive: alpha f(z^i)), the output is g = y^l and

    dg/dtheta^k = y^(k-1) * (product of the slopes of neurons k to l) * (product of theta^(k+1) to theta^l).

A slope of a saturated unit underflows (tanh' is 0 in float64 from z = 373 on, and 1 - tanh^2 has no correct digit
from z = 19 on), so products of slopes are sums of logarithms, each in a form without cancellation.

The paper calls "logsigmoid" what its ecosystem calls log_sigmoid, log(1 / (1 + e^-z)); others use that word for the
logistic function 1 / (1 + e^-z) itself, which is `sigmoid` here. Both readings are checked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from trainers.activations import ACTIVATIONS, inner

Array = NDArray[np.float64]
Numbers = Any  # float64, one or an array


def root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f changes its sign between low and high, to the last bits of float64. Raises ValueError if it does not."""
    rising = f(high) > 0
    if (f(low) > 0) == rising:
        raise ValueError(f"f must change its sign between {low:g} and {high:g}, but is {f(low):g} and {f(high):g}")
    while low < (middle := low + (high - low) / 2) < high:
        low, high = (low, middle) if (f(middle) > 0) == rising else (middle, high)
    return low


@dataclass(frozen=True)
class Sigmoid:
    """f and log f', elementwise; f' > 0 everywhere.

    `peak` is u* > 0, where z f'(z) is largest, if f is odd and concave on [0, inf), as the exact results need; else 0.
    """

    name: str
    f: Callable[[Numbers], Numbers]
    log_slope: Callable[[Numbers], Numbers]
    peak: float = 0.0

    def slope(self, z: Numbers) -> Numbers:
        """f'(z); 0 where it underflows."""
        return np.exp(self.log_slope(z))

    @property
    def m(self) -> float:
        """The largest z f'(z)."""
        return float(self.peak * self.slope(self.peak))


_softplus = partial(np.logaddexp, 0.0)
SIGMOIDS = {
    f.name: f
    for f in (
        Sigmoid("tanh", np.tanh, lambda z: 2 * (math.log(2) - np.logaddexp(z, -z)),
                peak=root(lambda z: 1 - 2 * z * math.tanh(z), 0.1, 5.0)),
        Sigmoid("arctan", np.arctan, lambda z: -2 * np.log(np.hypot(1.0, z)), peak=1.0),
        Sigmoid("softsign", lambda z: z / (1 + np.abs(z)), lambda z: -2 * np.log1p(np.abs(z)), peak=1.0),
        Sigmoid("sigmoid", lambda z: np.exp(-_softplus(-z)), lambda z: -_softplus(z) - _softplus(-z)),
        Sigmoid("logsigmoid", lambda z: -_softplus(-z), lambda z: -_softplus(z)),
    )
}  # fmt: skip
ODD = [f for f in SIGMOIDS.values() if f.peak]
SETTINGS = (("rescaled", 1.0), ("rescaled", 2.0), ("rescaled", 0.5), ("naive", 2.0))
# PyTorch's tanh and sigmoid have slopes 1 - y^2 and y (1 - y), which lose all digits where y rounds to 1. These are
# the same functions, written so that autograd keeps them; near 0 plain tanh is the one that loses none.
FUNCTIONS = {name: ACTIVATIONS[name].f for name in SIGMOIDS} | {
    "tanh": lambda z: torch.where(z.abs() > 1, 1 - 2 * logsigmoid(-2 * z).exp(), z.tanh()),
    "sigmoid": lambda z: logsigmoid(z).exp(),
}


@dataclass(frozen=True)
class Network:
    """A network at a data point: l = len(theta) neurons, loss (y - g)^2 + r/2 sum theta^2, derivative by theta^k.

    `k` counts from 1, as in the paper. `t` is Theorem 1's constant, 0 where there is none.
    """

    activation: str
    x: float
    y: float
    theta: tuple[float, ...]
    k: int
    alpha: float = 1.0
    scaling: str = "rescaled"
    r: float = 0.0
    t: float = 0.0


def forward(f: Sigmoid, theta: Array, x: Array | float, alpha: float, scaling: str) -> tuple[Array, Array]:
    """Of networks `theta` (..., l) at `x` (...): y^0 to y^l (..., l + 1), and where f itself is taken (..., l)."""
    values, arguments = np.empty((*theta.shape[:-1], theta.shape[-1] + 1)), np.empty(theta.shape)
    values[..., 0] = x
    for i in range(theta.shape[-1]):
        arguments[..., i] = theta[..., i] * values[..., i] / (alpha if scaling == "rescaled" else 1.0)
        values[..., i + 1] = alpha * f.f(arguments[..., i])
    return values, arguments


def log_sizes(f: Sigmoid, theta: Array, x: Array | float, alpha: float = 1.0, scaling: str = "rescaled") -> Array:
    """log |dg/dtheta^k| for k = 1 to l along the last axis: no depth and no saturated slope underflows."""
    values, arguments = forward(f, theta, x, alpha, scaling)
    factors = f.log_slope(arguments) + (np.log(alpha) if scaling == "naive" else 0.0)
    with np.errstate(divide="ignore"):
        factors[..., :-1] += np.log(np.abs(theta[..., 1:]))
        after = np.cumsum(factors[..., ::-1], axis=-1)[..., ::-1]
        return np.asarray(np.log(np.abs(values[..., :-1])) + after)


def printed(at: Network) -> tuple[float, float]:
    """The derivative of the penalised loss by the paper's formula, with f^0 := 1 in the place of x; and d."""
    f, theta = SIGMOIDS[at.activation], np.array(at.theta)
    values, arguments = forward(f, theta, at.x, at.alpha, at.scaling)
    values[0] = at.alpha
    d = 2 * (at.y - values[-1])
    slopes = f.slope(arguments[at.k - 1 :]).prod()
    return float(d * values[at.k - 1] * slopes * theta[at.k :].prod() + at.r * theta[at.k - 1]), float(d)


def output(name: str, theta: Tensor, x: Tensor, alpha: float, scaling: str) -> Tensor:
    """g of networks `theta` (..., l) at points `x` (...), for autograd."""
    y = x
    for parameter in theta.unbind(-1):
        y = alpha * FUNCTIONS[name](inner(scaling, parameter * y, alpha))
    return y


def derivative(at: Network) -> tuple[float, float]:
    """By autograd in float64, of the penalised loss by theta^k, and d = h'(y - g) = 2 (y - g)."""
    theta = torch.tensor(at.theta, dtype=torch.float64, requires_grad=True)
    residual = at.y - output(at.activation, theta, torch.tensor(at.x, dtype=torch.float64), at.alpha, at.scaling)
    (gradient,) = torch.autograd.grad(residual**2 + at.r / 2 * (theta**2).sum(), theta)
    return float(gradient[at.k - 1]), 2 * float(residual.detach())


def disagreement(rng: np.random.Generator) -> float:
    """The largest relative difference between `log_sizes` and autograd, every sigmoid type and scaling.

    With unsaturated units and with parameters to some hundreds, but for sizes below 1e-290, where autograd underflows.
    """
    gaps = []
    for f, (scaling, alpha), width in itertools.product(SIGMOIDS.values(), SETTINGS, (1.5, 300.0)):
        theta, x = rng.uniform(-width, width, (200, 5)), rng.uniform(-1.5, 1.5, 200)
        log = log_sizes(f, theta, x, alpha, scaling)
        parameters = torch.tensor(theta, requires_grad=True)
        g = output(f.name, parameters, torch.tensor(x), alpha, scaling)
        (gradient,) = torch.autograd.grad(g.sum(), parameters)
        seen = np.abs(log) < 290 * np.log(10)
        gaps.append(np.abs(np.abs(gradient.numpy()[seen]) / np.exp(log[seen]) - 1).max())
    return float(max(gaps))


def confirm(holds: bool | np.bool_, what: str) -> None:
    """Raises ArithmeticError where the numbers contradict what is said to hold."""
    if not holds:
        raise ArithmeticError(f"the numbers contradict {what}")
