"""The optimizers as one table: what each keeps of a member between steps, and its step.

The penalty is part of the loss, so its gradient is part of what an optimizer sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Optimizer:
    """One optimizer.

    `state` names the vectors, as long as the parameters and 0 at first, that it keeps; files of states use the names.
    `update(parameters, gradients, state, step, learning_rate)` takes one step in place: all tensors are (members,
    parameters) but the learning rate, (members, 1); `state` is in the order of the names, and the first step is 1.
    """

    state: tuple[str, ...]
    update: Callable[[Tensor, Tensor, tuple[Tensor, ...], int, Tensor], object]


BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-7


def _adam(parameters: Tensor, gradients: Tensor, state: tuple[Tensor, ...], step: int, learning_rate: Tensor) -> None:
    """Algorithm 1 of Kingma and Ba (2015), as `torch.optim.Adam` computes it, with TensorFlow's epsilon."""
    first, second = state
    first.lerp_(gradients, 1 - BETA1)
    second.mul_(BETA2).addcmul_(gradients, gradients, value=1 - BETA2)
    denominator = (second.sqrt() / (1 - BETA2**step) ** 0.5).add_(EPSILON)
    parameters.sub_(learning_rate / (1 - BETA1**step) * first / denominator)


OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer(("first_moment", "second_moment"), _adam),
}
OPTIMIZER = "adam"  # every member's
