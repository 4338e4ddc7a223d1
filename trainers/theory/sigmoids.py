"""The sigmoid types of the paper as numpy functions, with the logarithm of their slope.

A slope of a saturated unit underflows (tanh' is 0 in float64 from z = 373 on, and 1 - tanh^2 has no correct digit
from z = 19 on), so slopes are never formed: only their logarithms are, each in a form without cancellation.

The paper calls "logsigmoid" what its ecosystem calls log_sigmoid, log(1 / (1 + e^-z)); others use that word for the
logistic function 1 / (1 + e^-z) itself, which is `sigmoid` here. Both readings are checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sigmoid:
    """f and log f', elementwise on float64; f' > 0 everywhere.

    `odd` ones are odd and concave on [0, inf), so that z f'(z) <= f(z) there: what the exact results need.
    """

    name: str
    f: Callable[[Array], Array]
    log_slope: Callable[[Array], Array]
    odd: bool

    def value(self, z: float) -> float:
        """f(z)."""
        return float(self.f(np.asarray(z, np.float64)))

    def slope(self, z: float) -> float:
        """f'(z); 0 where it underflows."""
        return math.exp(float(self.log_slope(np.asarray(z, np.float64))))


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _tanh_log_slope(z: Array) -> Array:
    size = np.abs(z)
    return np.asarray(2 * (math.log(2) - size - np.log1p(np.exp(-2 * size))), np.float64)


SIGMOIDS = {
    s.name: s
    for s in (
        Sigmoid("tanh", np.tanh, _tanh_log_slope, odd=True),
        Sigmoid("arctan", np.arctan, lambda z: -2 * np.log(np.hypot(1.0, z)), odd=True),
        Sigmoid("softsign", lambda z: z / (1 + np.abs(z)), lambda z: -2 * np.log1p(np.abs(z)), odd=True),
        Sigmoid("sigmoid", lambda z: np.exp(-_softplus(-z)), lambda z: -_softplus(z) - _softplus(-z), odd=False),
        Sigmoid("logsigmoid", lambda z: -_softplus(-z), lambda z: -_softplus(z), odd=False),
    )
}
ODD = tuple(f for f in SIGMOIDS.values() if f.odd)
# (z f'(z))' = 0 at z > 0, as a function of z that changes its sign there; worked out from f'' by hand.
_TURNS: dict[str, Callable[[float], float]] = {
    "tanh": lambda z: 1 - 2 * z * math.tanh(z),
    "arctan": lambda z: 1 - z * z,
    "softsign": lambda z: 1 - z,
}


def root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f changes its sign between low and high, to the last bits of float64.

    Raises ValueError where f has the same sign at both ends.
    """
    rising = f(high) > 0
    if (f(low) > 0) == rising:
        raise ValueError(f"f must change its sign between {low:g} and {high:g}, but is {f(low):g} and {f(high):g}")
    while low < (middle := low + (high - low) / 2) < high:
        if (f(middle) > 0) == rising:
            high = middle
        else:
            low = middle
    return low


def peak(f: Sigmoid) -> tuple[float, float]:
    """Of an odd sigmoid, u* and m: where z f'(z) is largest over z >= 0, and how large."""
    z = root(_TURNS[f.name], 0.1, 5.0)
    return z, z * f.slope(z)


def fixed_point(f: Sigmoid, theta: float) -> float:
    """The value v > 0 with f(theta v) = v: where a deep network's neurons settle. Needs theta > 1 and an odd f."""
    return root(lambda v: f.value(theta * v) - v, 1e-9, 10.0)
