"""Sums and quantiles of `trainers.statistics` on a device, for all members at once and to the same bits in every pack.

PyTorch's own sums choose their order by the tensor's shape, and its `lerp` rounds otherwise at the end of a vector.
Here is nothing but sorting and operations on elements, each rounded once, so that a row's numbers depend on the row
alone. Nothing waits for the device.

    >>> statistics(layers, of, *array.probe(split), TORCH)
"""

from __future__ import annotations

from math import floor, nan

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.statistics import QUANTILES, Arithmetic


def divided(x: Tensor, by: int) -> Tensor:
    """x / by as NumPy rounds it: by a number on the host PyTorch multiplies with its reciprocal on a device."""
    return x / torch.full_like(x, by)


def added_up(x: Tensor) -> Tensor:
    """Sums over the last axis: its second half onto its first, and again."""
    length = x.shape[-1]
    x = F.pad(x, (0, 2 ** (length - 1).bit_length() - length))
    while x.shape[-1] > 1:
        first, second = x.chunk(2, -1)
        x = first + second
    return x[..., 0]


def mean(x: Tensor) -> Tensor:
    """Means over the last axis."""
    return divided(added_up(x), x.shape[-1])


def norm(x: Tensor) -> Tensor:
    """Euclidean norms over the last axis."""
    return added_up(x * x).sqrt()


def quantiles(x: Tensor) -> Tensor:
    """QUANTILES over the last axis, (quantiles, ...), as NumPy takes linear ones; NaN where there is one."""
    # stable, so that it is decided which of 0 and -0 comes first
    ordered = x.sort(dim=-1, stable=True).values
    last = x.shape[-1] - 1
    found = []
    for q in QUANTILES:
        place = q * last
        below = floor(place)
        part = place - below
        low, high = ordered[..., below], ordered[..., min(below + 1, last)]
        found.append(low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part))
    return torch.stack(found).masked_fill(x.isnan().any(-1), nan)


TORCH: Arithmetic[Tensor] = Arithmetic(torch, mean, norm, quantiles)
