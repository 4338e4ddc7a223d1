"""The activation functions f as one table, and their two scalings by alpha.

`rescaled` is the paper's equation (1), alpha f(z / alpha): it keeps the slope at 0 and widens the part that is not
saturated. `naive` is alpha f(z), the paper's counter-example: it multiplies the slope as well.

    >>> activation("tanh", "rescaled")(z, alpha)

An entry of `ACTIVATIONS` is all that the reference engine, specs and records need. The faster engines have code of
their own for each function and say which they have (`trainers.engines.Support`); the others go to the reference engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SCALINGS = ("rescaled", "naive")
SATURATED_BELOW = 0.01  # of the largest |f'|
NOWHERE = (1.0, -1.0)
ABOVE_ZERO = 1.17549435e-38  # the smallest float32 that is no denormal


@dataclass(frozen=True)
class Activation:
    """One function.

    `f` maps a tensor to one, elementwise, in any floating dtype. `steepest` is the largest |f'|, against which a unit
    counts as saturated. `monotone` and `homogeneous`, f(c z) = c f(z) for c > 0, are its laws. `flat` says to the
    faster engines where it is saturated: below the first number, above the second, or between the last two; they are
    floats next to a kink where the slope there is not the one beyond it. `kinks` are where f' jumps.
    """

    f: Callable[[Tensor], Tensor]
    steepest: float = 1.0
    monotone: bool = True
    homogeneous: bool = False
    flat: tuple[float, float, float, float] | None = None
    kinks: tuple[float, ...] = ()


def pytorch(name: str) -> Callable[[Tensor], Tensor]:
    """The function of torch.nn.functional or torch with this name; PyTorch is imported when it is first called."""

    def f(z: Tensor) -> Tensor:
        functional = import_module("torch.nn.functional")
        result: Tensor = getattr(functional if hasattr(functional, name) else import_module("torch"), name)(z)
        return result

    return f


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(pytorch("tanh"), flat=(-2.99322285, 2.99322285, *NOWHERE)),
    "sigmoid": Activation(pytorch("sigmoid"), steepest=0.25, flat=(-5.98644570, 5.98644570, *NOWHERE)),
    "logsigmoid": Activation(pytorch("logsigmoid"), flat=(-inf, 4.59511985, *NOWHERE)),
    "arctan": Activation(pytorch("arctan"), flat=(-9.94987437, 9.94987437, *NOWHERE)),
    "softsign": Activation(pytorch("softsign"), flat=(-9.0, 9.0, *NOWHERE)),
    "relu": Activation(pytorch("relu"), homogeneous=True, flat=(ABOVE_ZERO, inf, *NOWHERE), kinks=(0.0,)),
    "leaky_relu": Activation(pytorch("leaky_relu"), homogeneous=True, flat=(-inf, inf, *NOWHERE), kinks=(0.0,)),
    "elu": Activation(pytorch("elu"), flat=(-4.60517019, inf, *NOWHERE)),
    "relu6": Activation(pytorch("relu6"), flat=(ABOVE_ZERO, 5.99999952, *NOWHERE), kinks=(0.0, 6.0)),
    "silu": Activation(
        pytorch("silu"), steepest=1.0998393194985742, monotone=False, flat=(-6.1429157, inf, -1.33078999, -1.22958773)
    ),
    "hardswish": Activation(
        pytorch("hardswish"), steepest=1.5, monotone=False, flat=(-3.0, inf, -1.545, -1.455), kinks=(-3.0, 3.0)
    ),
}


def activation(name: str, scaling: str) -> Callable[[Tensor, float | Tensor], Tensor]:
    """The function (z, alpha) -> scaled activation of z, elementwise, any floating dtype."""
    f = ACTIVATIONS[name].f

    def scaled(z: Tensor, alpha: float | Tensor) -> Tensor:
        return f(z) if _is_one(alpha) else alpha * f(inner(scaling, z, alpha))

    return scaled


def inner(scaling: str, z: Tensor, alpha: float | Tensor) -> Tensor:
    """The argument at which f itself is taken: z / alpha where rescaled, z where naive."""
    return z if scaling == "naive" or _is_one(alpha) else z / alpha


def alpha_acts(name: str, scaling: str) -> bool:
    """Whether alpha changes anything: not where it cancels out, alpha f(z / alpha) = f(z)."""
    known = ACTIVATIONS.get(name)  # a spec's may not have been checked yet
    return scaling != "rescaled" or known is None or not known.homogeneous


def _is_one(alpha: float | Tensor) -> bool:
    """Scaling by 1 changes no bit, and would cost a fifth of a training step."""
    return isinstance(alpha, float) and alpha == 1.0
