"""The activation functions f, and their two scalings by alpha.

`rescaled` is the paper's equation (1), alpha f(z / alpha): it keeps the slope at 0 and widens the part that is not
saturated. `naive` is alpha f(z), the paper's counter-example: it multiplies the slope as well.

    >>> activation("tanh", "rescaled")(z, alpha)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Callable[[Tensor, float | Tensor], Tensor]

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "logsigmoid": F.logsigmoid,
    "arctan": torch.arctan,
    "softsign": F.softsign,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "relu6": F.relu6,
    "silu": F.silu,
    "hardswish": F.hardswish,
}


# The largest |f'|, against which a unit counts as saturated.
STEEPEST = dict.fromkeys(FUNCTIONS, 1.0) | {"sigmoid": 0.25, "silu": 1.0998393194985742, "hardswish": 1.5}


def activation(name: str, scaling: str) -> Activation:
    """The function (z, alpha) -> scaled activation of z, elementwise, any floating dtype."""
    f = FUNCTIONS[name]

    def scaled(z: Tensor, alpha: float | Tensor) -> Tensor:
        if _is_one(alpha):
            return f(z)
        return alpha * f(inner(scaling, z, alpha))

    return scaled


def inner(scaling: str, z: Tensor, alpha: float | Tensor) -> Tensor:
    """The argument at which f itself is taken: z / alpha where rescaled, z where naive."""
    return z if scaling == "naive" or _is_one(alpha) else z / alpha


def _is_one(alpha: float | Tensor) -> bool:
    """Scaling by 1 changes no bit, and would cost a fifth of a training step."""
    return isinstance(alpha, float) and alpha == 1.0
