"""2x2 max pooling with stride 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.layers.layer import Layer, Shape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pooling(Layer):
    """Its activation is the paper's "linear" one, so nothing follows it."""

    kind = "pooling"
    activated = False
    description = "2x2 max pooling"
    name: str

    def output(self, incoming: Shape) -> Shape:
        if len(incoming) != 3 or min(incoming[1:]) < 2:
            raise ValueError(
                f"2x2 pooling needs images of at least 2 x 2, but gets {' x '.join(map(str, incoming[1:] or incoming))}"
            )
        return (incoming[0], incoming[1] // 2, incoming[2] // 2)

    def parameters(self, incoming: Shape) -> tuple[Shape, ...]:
        return ()

    def forward(self, x: Tensor, tensors: Iterator[Tensor]) -> Tensor:
        from torch.nn.functional import max_pool2d

        return max_pool2d(x, 2)
