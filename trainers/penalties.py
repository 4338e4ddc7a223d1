"""The penalties on all parameters, biases included: the paper's l2 (section 2.2) and the l1 that it points to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def penalty(name: str, parameters: Tensor, r: float | Tensor) -> Tensor:
    """l2: r/2 times the sum of squares; l1: r times the sum of absolute values. Sums over the last axis."""
    if name == "l1":
        return r * parameters.abs().sum(-1)
    return r / 2 * parameters.square().sum(-1)


def penalty_gradient(name: str, parameters: NDArray[np.float64], r: float) -> NDArray[np.float64]:
    """Its gradient, of the shape of the parameters; l1's is 0 at 0, as autograd has it."""
    return r * (np.sign(parameters) if name == "l1" else parameters)
