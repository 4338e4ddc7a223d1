"""How sharp the loss is where a network stands, and how noisy its gradient: curvature against step and batch size.

The loss is the mean data loss over the images, without the penalty; an l2 penalty on all parameters adds r to every
eigenvalue of its Hessian.

`largest` is the Hessian's largest eigenvalue, the most positive one and not that of the largest size, by power
iteration on Hessian-vector products in the form of Lanczos (1950): the best estimate from all iterates and not from the
last alone, so that a negative eigenvalue of greater size is no trouble, and a few dozen products are enough. It stops
where the residual, which bounds the distance to the nearest eigenvalue, is below `TOLERANCE` of the estimate, or after
`MOST` products with what is then known, which is a lower bound.

`edge` is 2 / learning rate: where the largest eigenvalue is above it, gradient descent on this loss with that step size
leaves the quadratic approximation along that direction (Cohen et al. 2021, "Gradient descent on neural networks
typically occurs at the edge of stability"). The learning rate is the mean over the epoch's steps, at epoch 0 over those
of the first. Momentum and adaptive step sizes have other edges.

`noise_scale` is the simple noise scale tr(S) / |G|^2 of McCandlish et al. (2018, "An empirical model of large-batch
training"), the batch size at which the gradient's noise is as large as the gradient G; S is the covariance of one
image's gradient. With k batches of b images, g_i their gradients, m the mean of |g_i|^2 and M = |mean of g_i|^2, the
unbiased estimates of their appendix A.1 are

    tr(S) = b k / (k - 1) (m - M)        |G|^2 = (k M - m) / (k - 1)

The batches are of the member's `batch_size`, or half of the images where that is less, in the order of the images.

A few epochs should do: it takes 0.1 s of processor time for two hidden dense layers of 64 units, 3.5 s for `combined`,
8 s for `many-layers`, whose convolutions PyTorch differentiates slowly in float64 (a busy Xeon, 8 to 12 products).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainers.schedules import learning_rates
from trainers.streams import stream

if TYPE_CHECKING:
    from trainers.measurements.subject import Subject

TOLERANCE = 1e-4
MOST = 200


def sharpness(subject: Subject) -> dict[str, float]:
    """The metrics of a member at its parameters; NaN where they are not finite."""
    return {
        "sharpness.largest": _largest(subject),
        "sharpness.edge": 2 / _learning_rate(subject),
        "sharpness.noise_scale": _noise_scale(subject),
    }


def largest_eigenvalue(product: Callable[[Tensor], Tensor], start: Tensor) -> float:
    """The largest eigenvalue of a symmetric matrix, of which only products with vectors are known.

    `product` and `start` are (n,), float64. NaN where a product is not finite.
    """
    vector, before, step = start / start.norm(), torch.zeros_like(start), start.new_zeros(())
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    # The matrix in the basis of the orthogonalized iterates is tridiagonal, so that only two of them are kept. That
    # they lose their orthogonality to earlier ones costs copies of eigenvalues that are known by then, and no accuracy.
    while True:
        following = product(vector) - step * before
        diagonal.append(following @ vector)
        following = following - diagonal[-1] * vector
        step = following.norm()
        if not torch.isfinite(step + diagonal[-1]):
            return math.nan
        known = torch.stack(diagonal).diag()
        if beside:
            known += torch.stack(beside).diag(-1)  # eigh reads the lower half
        values, vectors = torch.linalg.eigh(known)
        residual = float(step * vectors[-1, -1].abs())
        rounding = 1e-14 * float(values.abs().max())
        if residual <= TOLERANCE * abs(float(values[-1])) + rounding or len(diagonal) == MOST:
            return float(values[-1])
        beside.append(step)
        before, vector = vector, following / step


def _largest(subject: Subject) -> float:
    parameters = subject.parameters.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(subject.loss(parameters), parameters, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        """The Hessian times a vector: the gradient of the gradient's component along it."""
        (result,) = torch.autograd.grad(gradient, parameters, vector, retain_graph=True)
        return result

    start = stream(0, "sharpness").standard_normal(len(parameters))
    return largest_eigenvalue(product, torch.from_numpy(start))


def _learning_rate(subject: Subject) -> float:
    member = subject.member
    steps = -(-len(subject.probe.dataset.train) // member.batch_size)
    return float(learning_rates(member, max(1, subject.state.epoch), steps).mean())


def _noise_scale(subject: Subject) -> float:
    """Infinite where these images can't tell the gradient from its noise; NaN where all gradients are 0."""
    images, labels = subject.images, subject.labels
    size = min(subject.member.batch_size, len(labels) // 2)
    if not size:
        return math.nan
    parameters = subject.parameters.clone().requires_grad_()
    each, total, starts = 0.0, torch.zeros_like(subject.parameters), range(0, len(labels) - size + 1, size)
    for start in starts:
        batch = slice(start, start + size)
        (gradient,) = torch.autograd.grad(subject.loss(parameters, images[batch], labels[batch]), parameters)
        each += float(gradient @ gradient) / len(starts)
        total += gradient / len(starts)
    count, together = len(starts), float(total @ total)
    noise, signal = size * count * (each - together), count * together - each
    return noise / signal if signal > 0 else math.nan if not each > 0 else math.inf
