"""How a signal goes through the layers: what mean-field theory follows (Poole et al. 2016, Schoenholz et al. 2017).

Of each layer with an activation. z is what goes into the activation (after the normalization, if there is one), F the
activation with its scaling by alpha. Over the first `IMAGES` of the probe:

- `variance`: the mean of z^2 over units and images. It is theory's q, the second moment: the mean over weights is 0.
- `correlation`: the mean, over all pairs of different images, of the cosine between their z: theory's c. An image for
  which z is 0 in all units is left out; NaN where fewer than two are left.
- `noise_correlation`: the mean, over images, of the cosine between the z of an image and of its noisy copy. The noise
  is normal, the same for every member, and its deviation is `NOISE` times the root mean square of the image: the
  images themselves have a cosine of 1 - 5e-5.
- `zero`: the share of units for which F(z) is exactly 0 for every image, in float64: those of a dead relu, and those
  without a bias that see a part of the images where all are black.
- `slope`, `squared_slope`: the means of |F'(z)| and F'(z)^2 over units and images. The latter times sigma_w^2 is chi_1.

Of the network, `born_dead` is 1 where `zero` is 1 in some layer, but for those that a residual connection leads around:
nothing of an image gets through. The images and their noisy copies go through the network as one batch, whose
statistics batch normalization takes. Random slopes are at their mean.

1.5 ms for a network of 10 dense layers of 32 units, one core.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from trainers.activations import ACTIVATIONS
from trainers.layers import places
from trainers.measurements.subject import Subject
from trainers.streams import stream

IMAGES = 64
NOISE = 0.01


@torch.no_grad()
def signal(subject: Subject) -> dict[str, float]:
    """See the module."""
    arguments = subject.forward(images=with_copies(subject.images)).arguments
    of_layers = zip(_activated(subject), arguments, _outputs_and_slopes(subject, arguments), strict=True)
    residual = {layer.name for layer in subject.layers if layer.residual}
    values = {"signal.born_dead": 0.0}
    for (name, alpha), (u, _), (out, slope) in of_layers:
        # f has been taken at u: where rescaled, F(z) = alpha f(u) at z = alpha u, else F(z) = alpha f(u) at z = u
        of_z, of_slope = (alpha, 1.0) if subject.member.scaling == "rescaled" else (1.0, alpha)
        of_layer = _argument(u.flatten(1), of_z) | _activation(out.flatten(1), slope.flatten() * of_slope)
        values |= {f"layer.{name}.signal.{metric}": value for metric, value in of_layer.items()}
        if of_layer["zero"] == 1 and name not in residual:
            values["signal.born_dead"] = 1.0
    return values


@lru_cache(maxsize=1)  # for all members that are trained together
def with_copies(images: Tensor) -> Tensor:
    """The first `IMAGES`, then their noisy copies."""
    images = images[:IMAGES]
    noise = torch.from_numpy(stream(0, "noise on the probe").standard_normal(images.shape))
    return torch.cat([images, images + NOISE * images.square().mean((1, 2, 3), keepdim=True).sqrt() * noise])


def _activated(subject: Subject) -> Iterator[tuple[str, float]]:
    """Each layer with an activation, and its alpha; one that the first alone learns holds for all."""
    alpha, learned = subject.member.alpha, {place.name: place.learned for place in places(subject.layers)}
    for layer in subject.layers:
        if "alpha" in learned.get(layer.name, ()):
            alpha = float(subject.parameters[learned[layer.name]["alpha"]])
        if layer.activated:
            yield layer.name, alpha


def _outputs_and_slopes(subject: Subject, arguments: Sequence[tuple[Tensor, Any]]) -> list[tuple[Tensor, Tensor]]:
    """f and f' of each layer's arguments, without the copies'."""
    own = [u[: len(u) // 2].requires_grad_() for u, _ in arguments]
    with torch.enable_grad():
        f = ACTIVATIONS[subject.member.activation].f
        out = [f(u, *(() if slope is None else (slope,))) for u, (_, slope) in zip(own, arguments, strict=True)]
        slopes = torch.autograd.grad([o.sum() for o in out], own) if own else ()
    return [*zip(out, slopes, strict=True)]


def _argument(u: Tensor, scale: float) -> dict[str, float]:
    """What is of z = `scale` u; u is (images and their copies, units)."""
    own, copies = u.chunk(2)
    norms, norms_of_copies = (torch.linalg.vector_norm(half, dim=1) for half in (own, copies))
    lit = norms > 0
    count = int(lit.count_nonzero())
    total = torch.where(lit, 1 / norms, 0) @ own  # the sum of all directions: its square has each pair twice
    return {
        "variance": scale**2 * float(norms @ norms) / own.numel(),
        "correlation": (float(total @ total) - count) / (count * (count - 1) or math.nan),
        "noise_correlation": float((torch.linalg.vecdot(own, copies) / (norms * norms_of_copies)).nanmean()),
    }


def _activation(out: Tensor, slope: Tensor) -> dict[str, float]:
    """What is of F; `out` is (images, units), `slope` has F' of each of them."""
    return {
        "zero": 1 - int(out.any(0).count_nonzero()) / out.shape[1],
        "slope": float(torch.linalg.vector_norm(slope, 1)) / slope.numel(),
        "squared_slope": float(slope @ slope) / slope.numel(),
    }
