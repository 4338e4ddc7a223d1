"""The penalties on all parameters, biases included: the paper's l2 (section 2.2) and the l1 that it points to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

A = TypeVar("A", NDArray[np.float64], "Tensor")


def penalty(name: str, parameters: Tensor, r: float | Tensor) -> Tensor:
    """l2: r/2 times the sum of squares; l1: r times the sum of absolute values. Sums over the last axis."""
    if name == "l1":
        return r * parameters.abs().sum(-1)
    return r / 2 * parameters.square().sum(-1)


def penalty_gradient(l1: A, parameters: A, r: A, library: Any) -> A:
    """Its gradient, of the shape of the parameters; l1's is 0 at 0, as autograd has it, and l2's where `l1` is false.

    `library` is the arrays' own, NumPy or PyTorch.
    """
    # what is no number stays none: PyTorch's sign of it is 0
    signed = l1 & (parameters == parameters)
    gradient: A = r * library.where(signed, library.sign(parameters), parameters)
    return gradient
