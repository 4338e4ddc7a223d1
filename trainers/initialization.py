"""Initial values as one table: the paper's two, and Glorot's, He's and LeCun's.

`uniform` and `normal` treat all parameters alike, biases included (the paper: "sampled independently and identically").
The others scale each weight by its fans and leave biases at 0. Every initialization draws the same standard numbers
from a member's seed and only scales them, so that members with the same seed start from the same draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt
from typing import TYPE_CHECKING

from trainers.layers import Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Draw = Callable[["np.random.Generator", Sequence[Shape]], "NDArray[np.float64]"]


@dataclass(frozen=True)
class Initialization:
    """One way to draw the initial values.

    `draw(random, shapes)` gives the values of all tensors of a network, flat, in their order; they are then multiplied
    by `init_scale`, which must be given where it `needs_scale`, and is else 1.
    """

    draw: Draw
    needs_scale: bool = False


def _alike(law: str, random: np.random.Generator, shapes: Sequence[Shape]) -> NDArray[np.float64]:
    count = sum(map(prod, shapes))
    return random.standard_normal(count) if law == "normal" else random.uniform(-1.0, 1.0, count)


def _by_fans(
    law: str, deviation: Callable[[int, int], float], random: np.random.Generator, shapes: Sequence[Shape]
) -> NDArray[np.float64]:
    """Each weight scaled to a deviation that depends on how many inputs and outputs its units have."""
    deviations = [deviation(*_fans(shape)) if len(shape) > 1 else 0.0 for shape in shapes]
    # a uniform law on [-1, 1) has deviation 1/sqrt(3)
    factors = (d if law == "normal" else d * sqrt(3.0) for d in deviations)
    scales = [factor for shape, factor in zip(shapes, factors, strict=True) for _ in range(prod(shape))]
    return _alike(law, random, shapes) * scales


def _fans(shape: Shape) -> tuple[int, int]:
    # each input of a depthwise convolution (out, 1, 3, 3) feeds one filter alone
    depthwise = len(shape) == 4 and shape[1] == 1
    return prod(shape[1:]), prod(shape[2:]) * (1 if depthwise else shape[0])


# Glorot and Bengio 2010, He et al. 2015, LeCun et al. 1998
_FAMILIES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: sqrt(2.0 / (fan_in + fan_out)),
    "he": lambda fan_in, fan_out: sqrt(2.0 / fan_in),
    "lecun": lambda fan_in, fan_out: sqrt(1.0 / fan_in),
}

INITIALIZATIONS: dict[str, Initialization] = {
    "uniform": Initialization(partial(_alike, "uniform"), needs_scale=True),
    "normal": Initialization(partial(_alike, "normal"), needs_scale=True),
    **{
        f"{family}_{law}": Initialization(partial(_by_fans, law, deviation))
        for family, deviation in _FAMILIES.items()
        for law in ("uniform", "normal")
    },
}
