"""The losses as one table; each is a mean over images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A line about it, and its value of outputs (images, classes) and labels (images,).

    `of(outputs, labels, reduction)` is one number for the `reduction` mean, and (images,) for none.
    """

    line: str
    of: Callable[[Tensor, Tensor, str], Tensor]


def _cross_entropy(outputs: Tensor, labels: Tensor, reduction: str) -> Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(outputs, labels, reduction=reduction)


def _squared(outputs: Tensor, labels: Tensor, reduction: str) -> Tensor:
    from torch import arange

    # not one_hot, which vmap can't batch
    targets = labels[..., None] == arange(outputs.shape[-1], device=labels.device)
    by_image = (outputs - targets.to(outputs.dtype)).square().mean(-1)
    return by_image if reduction == "none" else by_image.mean()


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss("of the softmax of the outputs", _cross_entropy),
    "squared": Loss("mean over the classes of (output - 1 or 0)^2, without a softmax", _squared),
}
