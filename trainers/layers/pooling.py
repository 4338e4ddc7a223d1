"""2x2 max pooling with stride 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trainers.layers.layer import Shape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pooling:
    """Its activation is the paper's "linear" one, so nothing follows it."""

    kind: ClassVar[str] = "pooling"
    activated: ClassVar[bool] = False
    description: ClassVar[str] = "2x2 max pooling"
    name: str

    def output(self, incoming: Shape) -> Shape:
        return (incoming[0], incoming[1] // 2, incoming[2] // 2)

    def parameters(self, incoming: Shape) -> tuple[Shape, ...]:
        return ()

    def forward(self, x: Tensor, tensors: Iterator[Tensor]) -> Tensor:
        from torch.nn.functional import max_pool2d

        return max_pool2d(x, 2)
