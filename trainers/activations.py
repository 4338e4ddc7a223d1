"""The activation functions f as one table, and their two scalings by alpha.

`rescaled` is the paper's equation (1), alpha f(z / alpha): it keeps the slope at 0 and widens the part that is not
saturated. `naive` is alpha f(z), the paper's counter-example: it multiplies the slope as well.

    >>> activation("tanh", "rescaled")(z, alpha)

An entry of `ACTIVATIONS` is all that the reference engine, specs and records need. The faster engines have code of
their own for each function and say which they have (`trainers.support`); the others go to the reference engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from math import inf, log
from typing import TYPE_CHECKING, Any

from trainers import plugins

if TYPE_CHECKING:
    from torch import Tensor

SCALINGS = ("rescaled", "naive")
SATURATED_BELOW = 0.01  # of the largest |f'|
NOWHERE = (1.0, -1.0)
ABOVE_ZERO = 1.17549435e-38  # the smallest float32 that is no denormal
BELOW_ONE = 0.99999994

Flat = tuple[float, float, float, float]


@dataclass(frozen=True)
class Activation:
    """One function.

    `f` maps a tensor to one, elementwise, in any floating dtype. `steepest` is the largest |f'|, against which a unit
    counts as saturated. `monotone` and `homogeneous`, f(c z) = c f(z) for c > 0, are its laws. `flat` says to the
    faster engines where it is saturated: below the first number, above the second, or between the last two; they are
    floats next to a kink where the slope there is not the one beyond it. `kinks` are where f' jumps.

    Where `slope` is given, f has a parameter, its second argument: the member's `slope`, by default this one. The
    largest |f'| is then the parameter's size where that is more than `steepest`, and `flat` is a function of it.
    A slope may be `learned`, or `random`: drawn between two bounds for each unit and image in training, their mean in
    evaluation.
    """

    f: Callable[..., Tensor]
    steepest: float = 1.0
    monotone: bool = True
    homogeneous: bool = False
    flat: Flat | Callable[[float], Flat] | None = None
    kinks: tuple[float, ...] = ()
    slope: float | None = None
    learned: bool = False
    random: tuple[float, float] | None = None

    def flat_at(self, slope: float | None) -> Flat | None:
        """`flat` where the parameter of f is this."""
        return self.flat(slope) if callable(self.flat) and slope is not None else self.flat  # type: ignore[return-value]

    def steepest_at(self, slope: Any) -> Any:
        """The largest |f'|; `slope` is the parameter, a number or a tensor, None where f has none."""
        if slope is None:
            return self.steepest
        if isinstance(slope, float):
            return max(self.steepest, abs(slope))
        return slope.abs().clamp(min=self.steepest)


def pytorch(name: str, **options: Any) -> Callable[[Tensor], Tensor]:
    """The function of torch.nn.functional or torch with this name; PyTorch is imported when it is first called."""

    def f(z: Tensor) -> Tensor:
        functional = import_module("torch.nn.functional")
        home = functional if hasattr(functional, name) else import_module("torch")
        result: Tensor = getattr(home, name)(z, **options)
        return result

    return f


def _with_slope(z: Tensor, slope: float | Tensor) -> Tensor:
    """z above 0, slope z below: leaky_relu (Maas et al. 2013), prelu (He et al. 2015), rrelu (Xu et al. 2015)."""
    torch = import_module("torch")
    if isinstance(slope, float):
        result: Tensor = torch.nn.functional.leaky_relu(z, slope)
        return result
    result = torch.where(z > 0, z, slope * z)
    return result


def _elu(z: Tensor, slope: float) -> Tensor:
    result: Tensor = import_module("torch.nn.functional").elu(z, slope)
    return result


def _flat_with_slope(slope: float) -> Flat:
    steepest = SATURATED_BELOW * max(1.0, abs(slope))
    return (ABOVE_ZERO if abs(slope) < steepest else -inf, 0.0 if steepest > 1 else inf, *NOWHERE)


def _flat_elu(slope: float) -> Flat:
    """slope e^u below 0, and 1 above."""
    steepest = SATURATED_BELOW * max(1.0, slope)
    low = ABOVE_ZERO if slope < steepest else log(steepest / slope)
    return (low, 0.0 if steepest > 1 else inf, *NOWHERE)


RANDOM_SLOPES = (1 / 8, 1 / 3)  # PyTorch's bounds, as in Xu et al. 2015

ACTIVATIONS: Mapping[str, Activation] = {
    "tanh": Activation(pytorch("tanh"), flat=(-2.99322285, 2.99322285, *NOWHERE)),
    "sigmoid": Activation(pytorch("sigmoid"), steepest=0.25, flat=(-5.98644570, 5.98644570, *NOWHERE)),
    "logsigmoid": Activation(pytorch("logsigmoid"), flat=(-inf, 4.59511985, *NOWHERE)),
    "arctan": Activation(pytorch("arctan"), flat=(-9.94987437, 9.94987437, *NOWHERE)),
    "softsign": Activation(pytorch("softsign"), flat=(-9.0, 9.0, *NOWHERE)),
    "relu": Activation(pytorch("relu"), homogeneous=True, flat=(ABOVE_ZERO, inf, *NOWHERE), kinks=(0.0,)),
    "leaky_relu": Activation(_with_slope, homogeneous=True, flat=_flat_with_slope, kinks=(0.0,), slope=0.01),
    "prelu": Activation(
        _with_slope, monotone=False, homogeneous=True, flat=_flat_with_slope, kinks=(0.0,), slope=0.25, learned=True
    ),
    "rrelu": Activation(
        _with_slope,
        monotone=False,  # units that pools compare have different slopes
        homogeneous=True,
        flat=_flat_with_slope,
        kinks=(0.0,),
        slope=sum(RANDOM_SLOPES) / 2,
        random=RANDOM_SLOPES,
    ),
    "elu": Activation(_elu, flat=_flat_elu, slope=1.0),
    "relu6": Activation(pytorch("relu6"), flat=(ABOVE_ZERO, 5.99999952, *NOWHERE), kinks=(0.0, 6.0)),
    "silu": Activation(
        pytorch("silu"), steepest=1.0998393194985742, monotone=False, flat=(-6.1429157, inf, -1.33078999, -1.22958773)
    ),
    "hardswish": Activation(
        pytorch("hardswish"), steepest=1.5, monotone=False, flat=(-3.0, inf, -1.545, -1.455), kinks=(-3.0, 3.0)
    ),
    "gelu": Activation(
        pytorch("gelu"), steepest=1.128904145185155, monotone=False, flat=(-3.02166263, inf, -0.778601694, -0.726216599)
    ),
    "mish": Activation(
        pytorch("mish"), steepest=1.088498161251728, monotone=False, flat=(-6.15874131, inf, -1.23455583, -1.15286565)
    ),
    "softplus": Activation(pytorch("softplus"), flat=(-4.59511985, inf, *NOWHERE)),
    "hardtanh": Activation(pytorch("hardtanh"), flat=(-BELOW_ONE, BELOW_ONE, *NOWHERE), kinks=(-1.0, 1.0)),
    "identity": Activation(lambda z: z, homogeneous=True, flat=(-inf, inf, *NOWHERE)),
}
ACTIVATIONS = plugins.extended(ACTIVATIONS, "gradsweep.activations", Activation)


def activation(name: str, scaling: str) -> Callable[..., Tensor]:
    """The function (z, alpha) -> scaled activation of z, elementwise, any floating dtype; a slope comes third."""
    f, default = ACTIVATIONS[name].f, ACTIVATIONS[name].slope
    parameter = () if default is None else (default,)

    def scaled(z: Tensor, alpha: float | Tensor, *slope: float | Tensor) -> Tensor:
        slope = slope or parameter
        return f(z, *slope) if _is_one(alpha) else alpha * f(inner(scaling, z, alpha), *slope)

    return scaled


def inner(scaling: str, z: Tensor, alpha: float | Tensor) -> Tensor:
    """The argument at which f itself is taken: z / alpha where rescaled, z where naive."""
    return z if scaling == "naive" or _is_one(alpha) else z / alpha


def alpha_acts(name: str, scaling: str, scaled_gates: bool = False) -> bool:
    """Whether alpha changes anything: not where it cancels out, alpha f(z / alpha) = f(z), unless gates are scaled."""
    known = ACTIVATIONS.get(name)  # a spec's may not have been checked yet
    return scaled_gates or scaling != "rescaled" or known is None or not known.homogeneous


def _is_one(alpha: float | Tensor) -> bool:
    """Scaling by 1 changes no bit, and would cost a fifth of a training step."""
    return isinstance(alpha, float) and alpha == 1.0
