"""Sums and quantiles of `trainers.statistics` on a device, for all members at once and to the same bits in every pack.

PyTorch's own sums choose their order by the tensor's shape, and its `lerp` rounds otherwise at the end of a vector.
Here is nothing but sorting and operations on elements, each rounded once, so that a row's numbers depend on the row
alone. Nothing waits for the device.

    >>> statistics(layers, of, *array.probe(split), TORCH)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.statistics import Arithmetic, quantiles


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


def means(*arrays: Tensor) -> Tensor:
    """Means of each over the last axis."""
    x = torch.stack(arrays)
    del arrays  # and with them their memory
    return divided(added_up(x), x.shape[-1])


def norms(*arrays: Tensor) -> Tensor:
    """Euclidean norms of each over the last axis."""
    x = torch.stack(arrays)
    del arrays
    return added_up(x * x).sqrt()


def sorted_quantiles(x: Tensor) -> Tensor:
    """QUANTILES over the last axis, (quantiles, ...)."""
    # stable, so that it is decided which of 0 and -0 comes first
    return quantiles(x.sort(dim=-1, stable=True).values, torch)


def unpenalized(gradient: Tensor, parameters: Tensor, r: Tensor) -> bool:
    """To know it would take waiting for the device."""
    return False


TORCH: Arithmetic[Tensor] = Arithmetic(torch, means, norms, sorted_quantiles, unpenalized)
