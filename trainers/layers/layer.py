"""What a kind of layer is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
IMAGE: Shape = (3, 32, 32)


class Layer(Protocol):
    """One layer of a network, a frozen dataclass; with parameters it appears in the records, by `name` and `kind`."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Its name, unique in its network."""

    @property
    def activated(self) -> bool:
        """Whether the activation follows."""

    @property
    def description(self) -> str:
        """What it is, in a few words, for `gradsweep regimes`."""

    def output(self, incoming: Shape) -> Shape:
        """The shape that it puts out for one image."""

    def parameters(self, incoming: Shape) -> tuple[Shape, ...]:
        """The shapes of its tensors: weights (out, in, ...) first, a bias (out,) last; none without parameters."""

    def forward(self, x: Tensor, tensors: Iterator[Tensor]) -> Tensor:
        """Its output for images x, before the activation; it takes its tensors, in order, from the iterator."""
