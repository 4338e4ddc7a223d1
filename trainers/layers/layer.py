"""What a kind of layer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]
IMAGE: Shape = (3, 32, 32)


class Layer(ABC):
    """One layer of a network, a frozen dataclass; with parameters it appears in the records, by `name` and `kind`.

    What follows its own output, in this order: where it is `activated`, its `normalization` (a name of
    `NORMALIZATIONS`) and the activation, of which it may have `learned` parameters, alpha or slope; then, where it is
    `residual`, the layer's input is added.
    """

    kind: str
    name: str  # unique in its network
    activated: bool
    normalization: str = "none"
    residual: bool = False
    learned: tuple[str, ...] = ()
    steps: int = 1  # how often it acts on one image

    @property
    def gates(self) -> int:
        """How many matrices are stacked in each of its weights; initial values are drawn for each by itself."""
        return 1

    @property
    @abstractmethod
    def description(self) -> str:
        """What it is, in a few words, for `gradsweep regimes`."""

    @abstractmethod
    def output(self, incoming: Shape) -> Shape:
        """The shape that it puts out for one image. Raises ValueError where it can't take what comes in."""

    @abstractmethod
    def parameters(self, incoming: Shape) -> tuple[Shape, ...]:
        """The shapes of its own tensors: weights (out, in, ...) first, a bias (out,) last; none without parameters."""

    @abstractmethod
    def forward(self, x: Tensor, tensors: Iterator[Tensor]) -> Tensor:
        """Its own output for images x; it takes its tensors, in order, from the iterator."""
