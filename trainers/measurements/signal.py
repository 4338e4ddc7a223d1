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

2 ms of one core for a network of 10 dense layers of 32 units, with all else that a busy machine does.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from trainers.activations import ACTIVATIONS
from trainers.measurements.subject import Subject
from trainers.streams import stream

IMAGES = 64
NOISE = 0.01


@torch.no_grad()
def signal(subject: Subject) -> dict[str, float]:
    """See the module."""
    arguments = subject.forward(images=with_copies(subject.images)).arguments
    of_width: dict[int, list[int]] = {}  # layers that are as wide as each other are taken at once
    for i, (u, _) in enumerate(arguments):
        of_width.setdefault(u[0].numel(), []).append(i)
    alphas, rows = subject.alphas, dict[int, dict[str, float]]()
    alpha_of = [*alphas.values()]
    for where in of_width.values():
        u = torch.stack([arguments[i][0].flatten(1) for i in where])
        columns = _of_layers(subject, [alpha_of[i] for i in where], u, [arguments[i][1] for i in where])
        every = zip(*(column.tolist() for column in columns.values()), strict=True)
        rows |= {i: dict(zip(columns, row, strict=True)) for i, row in zip(where, every, strict=True)}
    residual = {layer.name for layer in subject.layers if layer.residual}
    values = {"signal.born_dead": 0.0}
    for i, name in enumerate(alphas):
        values |= {f"layer.{name}.signal.{metric}": value for metric, value in rows[i].items()}
        if rows[i]["zero"] == 1 and name not in residual:
            values["signal.born_dead"] = 1.0
    return values


@lru_cache(maxsize=1)  # for all members that are trained together
def with_copies(images: Tensor) -> Tensor:
    """The first `IMAGES`, then their noisy copies."""
    images = images[:IMAGES]
    noise = torch.from_numpy(stream(0, "noise on the probe").standard_normal(images.shape))
    return torch.cat([images, images + NOISE * images.square().mean((1, 2, 3), keepdim=True).sqrt() * noise])


def _of_layers(subject: Subject, alphas: list[float], u: Tensor, slopes: list[Any]) -> dict[str, Tensor]:
    """The metrics of layers, (layers,) each; `u` is f's own argument, (layers, images and their copies, units)."""
    own, copies = u.chunk(2, 1)
    norms, norms_of_copies = (torch.linalg.vector_norm(half, dim=2) for half in (own, copies))
    lit = norms > 0
    count = lit.count_nonzero(1).double()
    total = (torch.where(lit, 1 / norms, 0)[:, None] @ own)[:, 0]  # of all directions: its square has each pair twice
    learned = isinstance(slopes[0], Tensor)
    parameter = () if slopes[0] is None else (torch.stack(slopes).view(-1, 1, 1) if learned else slopes[0],)
    own.requires_grad_()
    with torch.enable_grad():
        out = ACTIVATIONS[subject.member.activation].f(own, *parameter)
        (slope,) = torch.autograd.grad(out.sum(), own)
    # where rescaled, F(z) = alpha f(u) at z = alpha u; else at z = u
    alpha = torch.tensor(alphas, dtype=torch.float64)
    of_z, of_slope = (alpha, 1.0) if subject.member.scaling == "rescaled" else (1.0, alpha)
    size = own[0].numel()
    return {
        "variance": of_z**2 * norms.square().sum(1) / size,
        "correlation": (total.square().sum(1) - count) / torch.where(count > 1, count * (count - 1), math.nan),
        "noise_correlation": (torch.linalg.vecdot(own, copies) / (norms * norms_of_copies)).nanmean(1),
        "zero": 1 - out.any(1).count_nonzero(1).double() / out.shape[2],
        "slope": of_slope * slope.abs().mean((1, 2)),
        "squared_slope": of_slope**2 * slope.square().mean((1, 2)),
    }
