"""How the gradient's coordinates and the activations of each layer are distributed: shares by decade of |value|.

The bin `e-3` is 1e-3 <= |value| < 1e-2. `under` is what is smaller than the first decade and not 0, `over` what is
larger than the last, `zero` what is exactly 0. The shares of all bins sum to 1. The gradient is that of the mean data
loss over the images; the activations are the layer's outputs on them, of the alpha-scaled f, at the output the logits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trainers.activations import ACTIVATIONS
from trainers.layers import places
from trainers.measurements.measurement import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.measurements.subject import Subject

EXPONENTS = range(-12, 4)
DECADES = tuple(f"e{exponent}" for exponent in EXPONENTS)
BINS = ("zero", "under", *DECADES, "over")  # by size
EDGES = tuple(float(f"1e{exponent}") for exponent in (*EXPONENTS, EXPONENTS.stop))

_WHERE = (
    "= 0",
    f"< {EDGES[0]:g}, not 0",
    *(f">= {edge:g}, < {10 * edge:g}" for edge in EDGES[:-1]),
    f">= {EDGES[-1]:g}",
)
METRICS = {
    f"histogram.{of}.{name}": Metric(f"share of {whose} with |value| {where}")
    for of, whose in (("gradient", "the gradient's coordinates"), ("activation", "the activations"))
    for name, where in zip(BINS, _WHERE, strict=True)
}


def histogram(subject: Subject) -> dict[str, float]:
    """The metrics of every layer with parameters; NaN where a layer has a number that is not finite."""
    from torch.autograd import grad  # here, since figures read the bins without PyTorch

    parameters = subject.parameters.clone().requires_grad_()
    (gradient,) = grad(subject.loss(parameters), parameters)
    values = {}
    for place, activations in zip(places(subject.layers), _activations(subject), strict=True):
        for of, numbers in (("gradient", gradient[place.where]), ("activation", activations)):
            for name, share in zip(BINS, shares(numbers), strict=True):
                values[f"layer.{place.name}.histogram.{of}.{name}"] = share
    return values


def shares(numbers: Tensor) -> list[float]:
    """The share of each of BINS among numbers of any shape, float64; NaN where one is not finite."""
    import torch

    if not numbers.isfinite().all():
        return [math.nan] * len(BINS)
    least = 5e-324  # the smallest number above 0
    edges = torch.tensor([least, *EDGES], dtype=numbers.dtype)
    where = torch.bucketize(numbers.abs().flatten(), edges, right=True)
    shares: list[float] = (where.bincount(minlength=len(BINS)).double() / numbers.numel()).tolist()
    return shares


def _activations(subject: Subject) -> list[Tensor]:
    """What each layer with parameters puts out after its activation, before what a residual layer adds to it."""
    passed, alphas = subject.forward(), subject.alphas
    arguments = dict(zip(alphas, passed.arguments, strict=True))
    f = ACTIVATIONS[subject.member.activation].f
    outputs = []
    for place in places(subject.layers):
        if place.name in arguments:
            argument, slope = arguments[place.name]
            outputs.append(alphas[place.name] * f(argument, *(() if slope is None else (slope,))))
        else:
            outputs.append(passed.logits)
    return outputs
