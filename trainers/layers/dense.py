"""A fully connected layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from trainers.layers.layer import Layer, Shape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Dense(Layer):
    """Its weight is (out, in), its input flattened as (channel, row, column).

    `activated` is false for the output, whose softmax is in the loss.
    """

    kind = "dense"
    name: str
    units: int
    bias: bool = False
    activated: bool = True
    normalization: str = "none"
    residual: bool = False
    learned: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return "dense with bias" if self.bias else "dense"

    def output(self, incoming: Shape) -> Shape:
        return (self.units,)

    def parameters(self, incoming: Shape) -> tuple[Shape, ...]:
        weight = (self.units, prod(incoming))
        return (weight, (self.units,)) if self.bias else (weight,)

    def forward(self, x: Tensor, tensors: Iterator[Tensor]) -> Tensor:
        from torch.nn.functional import linear

        return linear(x.flatten(1), next(tensors), next(tensors) if self.bias else None)
