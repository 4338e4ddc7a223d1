"""The toy network and its loss as PyTorch has them, in float64: what our closed forms are held against.

`activation` of the engines is used as it is where units are not saturated. Its tanh and sigmoid have slopes 1 - y^2
and y (1 - y), which lose all digits where y rounds to 1; `STEADY` writes the same functions so that autograd keeps
them, and takes over where saturation is the point.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.activations import activation
from trainers.theory.claims import Network
from trainers.theory.sigmoids import Array


def _steady_sigmoid(z: Tensor) -> Tensor:
    small = torch.sigmoid(-z.abs())
    return torch.where(z > 0, 1 - small, small)


def _steady_tanh(z: Tensor) -> Tensor:
    # Near 0 the form in |z| would lose digits instead, and plain tanh loses none.
    far = torch.where(z.abs() > 1, z, torch.ones_like(z))
    return torch.where(z.abs() > 1, far.sign() * (1 - 2 * torch.sigmoid(-2 * far.abs())), torch.tanh(z))


STEADY: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": _steady_tanh,
    "arctan": torch.arctan,
    "softsign": F.softsign,
    "sigmoid": _steady_sigmoid,
    "logsigmoid": F.logsigmoid,
}


def output(
    name: str, theta: Tensor, x: Tensor, alpha: float = 1.0, scaling: str = "rescaled", steady: bool = False
) -> Tensor:
    """g of networks `theta` (..., l) at points `x` (...)."""
    f = STEADY[name] if steady else None
    y = x
    for i in range(theta.shape[-1]):
        z = theta[..., i] * y
        if f is None:
            y = activation(name, scaling)(z, alpha)
        else:
            y = alpha * f(z / alpha if scaling == "rescaled" else z)
    return y


def partials(
    name: str, theta: Array, x: Array, alpha: float = 1.0, scaling: str = "rescaled", *, steady: bool = False
) -> Array:
    """dg/dtheta of networks `theta` (n, l) at points `x` (n,): (n, l)."""
    parameters = torch.tensor(np.asarray(theta), dtype=torch.float64, requires_grad=True)
    g = output(name, parameters, torch.tensor(np.asarray(x), dtype=torch.float64), alpha, scaling, steady)
    (gradient,) = torch.autograd.grad(g.sum(), parameters)
    return np.asarray(gradient.numpy(), np.float64)


def derivative(network: Network) -> tuple[float, float]:
    """Of the penalised loss by theta^k, and d = h'(y - g) = 2 (y - g), for a point of a counter-example."""
    theta = torch.tensor(network.theta, dtype=torch.float64, requires_grad=True)
    x = torch.tensor(network.x, dtype=torch.float64)
    residual = network.y - output(network.activation, theta, x, network.alpha, network.scaling, steady=True)
    loss = residual**2 + network.r / 2 * (theta**2).sum()
    (gradient,) = torch.autograd.grad(loss, theta)
    return float(gradient[network.k - 1]), 2 * float(residual.detach())
