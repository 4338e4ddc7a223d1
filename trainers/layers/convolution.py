"""A 3x3 convolution with padding that keeps the size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.layers.layer import Layer, Shape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Convolution(Layer):
    """Channels of 3x3 filters. `separable` splits it into a depthwise 3x3 and a pointwise 1x1 with nothing in between.

    Its weight is (out, in, 3, 3), or depthwise (in, 1, 3, 3) then pointwise (out, in, 1, 1).
    """

    kind = "convolution"
    activated = True
    name: str
    channels: int = 3
    separable: bool = False
    bias: bool = False
    normalization: str = "none"
    residual: bool = False
    learned: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return "separable 3x3 convolution" if self.separable else "3x3 convolution"

    def output(self, incoming: Shape) -> Shape:
        if len(incoming) != 3:
            raise ValueError("a convolution needs images, and can't follow a dense layer")
        return (self.channels, *incoming[1:])

    def parameters(self, incoming: Shape) -> tuple[Shape, ...]:
        i, o = incoming[0], self.channels
        weights: tuple[Shape, ...] = ((i, 1, 3, 3), (o, i, 1, 1)) if self.separable else ((o, i, 3, 3),)
        return (*weights, (o,)) if self.bias else weights

    def forward(self, x: Tensor, tensors: Iterator[Tensor]) -> Tensor:
        from torch.nn.functional import conv2d

        if self.separable:
            x = conv2d(x, next(tensors), padding=1, groups=x.shape[1])
        padding = 0 if self.separable else 1
        return conv2d(x, next(tensors), next(tensors) if self.bias else None, padding=padding)
