"""The penalties on the parameters: the paper's l2 (section 2.2), the l1 that it points to, and decoupled decay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

A = TypeVar("A", "NDArray[np.float64]", "Tensor")


@dataclass(frozen=True)
class Penalty:
    """One penalty: a line about it, its value of a strength r, and its gradient where r is 1.

    `value(parameters, r)` sums over the last axis of PyTorch's tensors; `gradient(parameters, library)` takes NumPy's
    arrays too, with their library. One that is `decoupled` is 0, and shrinks the parameters by the learning rate times
    r before each step instead.
    """

    line: str
    value: Callable[[Tensor, float | Tensor], Tensor]
    gradient: Callable[[Any, Any], Any]
    decoupled: bool = False


PENALTIES: dict[str, Penalty] = {
    "l2": Penalty(
        "r/2 times the sum of squares",
        lambda parameters, r: r / 2 * parameters.square().sum(-1),
        lambda parameters, library: parameters,
    ),
    "l1": Penalty(
        "r times the sum of absolute values",
        lambda parameters, r: r * parameters.abs().sum(-1),
        # 0 at 0, as autograd has it; what is no number stays none, though PyTorch's sign of it is 0
        lambda parameters, library: library.where(parameters == parameters, library.sign(parameters), parameters),
    ),
    "decoupled": Penalty(
        "weight decay apart from the gradient, as in AdamW",
        lambda parameters, r: parameters.new_zeros(parameters.shape[:-1]),
        lambda parameters, library: library.zeros_like(parameters),
        decoupled=True,
    ),
}
PENALIZED = {
    "all": "every parameter, biases and what is learned of normalizations and activations included",
    "weights": "those of convolutions and dense layers alone",
}


def penalty_gradient(kinds: A, parameters: A, r: A, library: Any) -> A:
    """The penalties' gradient, of the shape of the parameters; `kinds` are places in PENALTIES, of a shape like r's.

    `library` is the arrays' own, NumPy or PyTorch.
    """
    first, *others = PENALTIES.values()
    gradient = first.gradient(parameters, library)
    for place, kind in enumerate(others, 1):
        gradient = library.where(kinds == place, kind.gradient(parameters, library), gradient)
    result: A = r * gradient
    return result
