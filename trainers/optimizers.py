"""The optimizers as one table: what each keeps of a member between steps, and its step.

A coupled penalty is part of the loss, so its gradient is part of what an optimizer sees. Each step is that of the class
of `torch.optim` that is named, at its default settings but for the learning rate and epsilon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

State = tuple["Tensor", ...]


@dataclass(frozen=True)
class Optimizer:
    """One optimizer.

    `state` names the vectors, as long as the parameters and 0 at first, that it keeps; files of states use the names.
    `update(parameters, gradients, state, step, learning_rate, epsilon)` takes one step in place: all tensors are
    (members, parameters) but the learning rate, (members, 1). `state` is in the order of its names; the first step
    is 1.
    """

    line: str
    state: tuple[str, ...]
    update: Callable[[Tensor, Tensor, State, int, Tensor, Epsilon], object]


@dataclass(frozen=True)
class Epsilon:
    """What is added to the root of the mean square: `after` the correction of its bias (PyTorch), or before (Keras).

    In Keras's place it weighs 1 / sqrt(1 - BETA2^step) as much, 32 times at the first step. A member's own is Keras's
    value, 1e-7, in PyTorch's place, whose own value is 1e-8. Adam alone has a bias to correct.
    """

    value: float
    after: bool = True


BETA1, BETA2 = 0.9, 0.999  # of Adam
MOMENTUM = 0.9
DECAY = 0.99  # of RMSprop's mean square


def _adam(parameters: Tensor, gradients: Tensor, state: State, step: int, rate: Tensor, epsilon: Epsilon) -> None:
    first, second = state
    first.lerp_(gradients, 1 - BETA1)
    second.mul_(BETA2).addcmul_(gradients, gradients, value=1 - BETA2)
    correction = (1 - BETA2**step) ** 0.5
    # before the correction it weighs 1 / correction as much
    size = epsilon.value if epsilon.after else epsilon.value / correction
    denominator = (second.sqrt() / correction).add_(size)
    parameters.sub_(rate / (1 - BETA1**step) * first / denominator)


def _rmsprop(parameters: Tensor, gradients: Tensor, state: State, step: int, rate: Tensor, epsilon: Epsilon) -> None:
    (square,) = state
    square.mul_(DECAY).addcmul_(gradients, gradients, value=1 - DECAY)
    parameters.sub_(rate * gradients / square.sqrt().add_(epsilon.value))


def _sgd(parameters: Tensor, gradients: Tensor, state: State, step: int, rate: Tensor, epsilon: Epsilon) -> None:
    parameters.sub_(rate * gradients)


def _momentum(parameters: Tensor, gradients: Tensor, state: State, step: int, rate: Tensor, epsilon: Epsilon) -> None:
    (velocity,) = state
    parameters.sub_(rate * velocity.mul_(MOMENTUM).add_(gradients))


def _nesterov(parameters: Tensor, gradients: Tensor, state: State, step: int, rate: Tensor, epsilon: Epsilon) -> None:
    (velocity,) = state
    velocity.mul_(MOMENTUM).add_(gradients)
    parameters.sub_(rate * (gradients + MOMENTUM * velocity))


OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer("Adam (Kingma and Ba 2015)", ("first_moment", "second_moment"), _adam),
    "sgd": Optimizer("SGD", (), _sgd),
    "momentum": Optimizer(f"SGD with momentum {MOMENTUM}", ("velocity",), _momentum),
    "nesterov": Optimizer(f"SGD with Nesterov's momentum {MOMENTUM}", ("velocity",), _nesterov),
    "rmsprop": Optimizer(f"RMSprop, decay {DECAY}", ("mean_square",), _rmsprop),
}


def clipped(gradients: Tensor, bound: float) -> Tensor:
    """Gradients (members, parameters) whose norms are at most `bound`, as `torch.nn.utils.clip_grad_norm_` does it."""
    norms = gradients.norm(dim=-1, keepdim=True)
    result: Tensor = gradients * (bound / (norms + 1e-6)).clamp(max=1.0)
    return result
