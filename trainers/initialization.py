"""Initial values as one table: the paper's two, Glorot's, He's and LeCun's, orthogonal matrices, and LSUV.

`uniform` and `normal` treat all weights and biases alike (the paper: "sampled independently and identically"). The
others scale each weight by its fans, or make its rows or columns orthonormal, and leave biases at 0. Every
initialization draws the same standard numbers from a member's seed, so that members with the same seed start from the
same draws. Of weights that are several gates' in one, each gate's are a matrix by itself, with fans of its own.

The weights between the steps of a recurrent layer may be drawn in a way of their own, `RECURRENT`. They are then
multiplied by `init_scale` where that is a factor, and not where it is a half-width or a deviation of the others. LSUV
calibrates what such a layer reads, W x over all steps, and leaves these weights orthogonal. What normalizations and
activations learn starts from values of its own (`trainers.layers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt
from typing import TYPE_CHECKING

from trainers import plugins
from trainers.layers import Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Draw = Callable[["np.random.Generator", Sequence[Shape]], "NDArray[np.float64]"]


@dataclass(frozen=True)
class Initialization:
    """One way to draw the initial values.

    `draw(random, shapes)` gives the values of all weights and biases of a network, flat, in their order; they are then
    multiplied by `init_scale`, which must be given where it `needs_scale`, and is else 1; `unit` says what it is. Where
    they are `calibrated`, each weight is first divided by the deviation that its layer's outputs have on the probe
    images.
    """

    draw: Draw
    needs_scale: bool = False
    calibrated: bool = False
    unit: str = "factor"


def _draw(
    law: str, deviation: Callable[[int, int], float] | None, random: np.random.Generator, shapes: Sequence[Shape]
) -> NDArray[np.float64]:
    """All alike, or each weight scaled to a deviation that depends on how many inputs and outputs its units have."""
    import numpy as np

    count = sum(map(prod, shapes))
    numbers = random.standard_normal(count) if law == "normal" else random.uniform(-1.0, 1.0, count)
    if deviation is None:
        return numbers
    scales = []
    for shape in shapes:
        # each input of a depthwise convolution (out, 1, 3, 3) feeds one filter alone
        fan_out = prod(shape[2:]) * (1 if len(shape) == 4 and shape[1] == 1 else shape[0])
        scale = deviation(prod(shape[1:]), fan_out) if len(shape) > 1 else 0.0
        # a uniform law on [-1, 1) has deviation 1/sqrt(3)
        scales.append(scale if law == "normal" else scale * sqrt(3.0))
    numbers *= np.repeat(scales, list(map(prod, shapes)))
    return numbers


def _orthogonal(random: np.random.Generator, shapes: Sequence[Shape]) -> NDArray[np.float64]:
    """Each weight, (out, all else), with orthonormal rows, or columns where it has more rows; biases 0."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    values = []
    for shape in shapes:
        numbers = random.standard_normal(prod(shape))
        if len(shape) == 1:
            values.append(np.zeros(shape))
            continue
        matrix = numbers.reshape(shape[0], -1)
        with threadpool_limits(1):  # a sum's bits depend on how many threads share it
            q, r = np.linalg.qr(matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T)
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # so that they are uniform among all such matrices
        values.append((q if matrix.shape[0] >= matrix.shape[1] else q.T).ravel())
    return np.concatenate(values)


# Glorot and Bengio 2010, He et al. 2015, LeCun et al. 1998
_FAMILIES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: sqrt(2.0 / (fan_in + fan_out)),
    "he": lambda fan_in, fan_out: sqrt(2.0 / fan_in),
    "lecun": lambda fan_in, fan_out: sqrt(1.0 / fan_in),
}

INITIALIZATIONS: Mapping[str, Initialization] = {
    "uniform": Initialization(partial(_draw, "uniform", None), needs_scale=True, unit="half-width"),
    "normal": Initialization(partial(_draw, "normal", None), needs_scale=True, unit="deviation"),
    **{
        f"{family}_{law}": Initialization(partial(_draw, law, deviation))
        for family, deviation in _FAMILIES.items()
        for law in ("uniform", "normal")
    },
    "orthogonal": Initialization(_orthogonal),  # Saxe et al. 2014
    "lsuv": Initialization(_orthogonal, calibrated=True),  # Mishkin and Matas 2016
}
INITIALIZATIONS = plugins.extended(INITIALIZATIONS, "gradsweep.initializations", Initialization)


@dataclass(frozen=True)
class RecurrentInitialization:
    """One way to draw the weights between steps, where they are not drawn like all others."""

    line: str
    draw: Draw | None = None


def _identity(random: np.random.Generator, shapes: Sequence[Shape]) -> NDArray[np.float64]:
    import numpy as np

    return np.concatenate([np.eye(shape[0], shape[1]).ravel() for shape in shapes])


RECURRENT: Mapping[str, RecurrentInitialization] = {
    "same": RecurrentInitialization("as all weights"),
    "orthogonal": RecurrentInitialization("an orthogonal matrix for each gate", _orthogonal),
    "identity": RecurrentInitialization("the identity for each gate (Le et al. 2015)", _identity),
}
