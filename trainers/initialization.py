"""Initial values as one table: the paper's two, Glorot's, He's and LeCun's, orthogonal matrices, and LSUV.

`uniform`, `normal` and `truncated_normal` treat all weights and biases alike (the paper: "sampled independently and
identically"). The others scale each weight by its fans, the numbers of its inputs and outputs, or make its rows or
columns orthonormal, and leave biases at 0. Every initialization draws the same standard numbers from a member's seed,
so that members with the same seed start from the same draws. Of weights that are several gates' in one, each gate's are
a matrix by itself, with fans of its own.

A normal law is whole, as PyTorch's is, or truncated, as TensorFlow's and Keras's are: numbers beyond two deviations
are drawn again. `truncated_normal` is then narrower than its `init_scale`, by a factor of 0.88 (Keras's
`TruncatedNormal`); where fans decide, this is made up for, so that `glorot_truncated_normal` has Glorot's deviation
(Keras's `GlorotNormal`). PyTorch's and Keras's fans differ for depthwise convolutions: see `DEPTHWISE_FANS`.

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

Draw = Callable[..., "NDArray[np.float64]"]


@dataclass(frozen=True)
class Initialization:
    """One way to draw the initial values.

    `draw(random, shapes)` gives the values of all weights and biases of a network, flat, in their order; they are then
    multiplied by `init_scale`, which must be given where it `needs_scale`, and is else 1; `unit` says what it is. Where
    they are `calibrated`, each weight is first divided by the deviation that its layer's outputs have on the probe
    images. Where they go `by_fans`, `draw` also takes the name of an entry of `DEPTHWISE_FANS`.
    """

    draw: Draw
    needs_scale: bool = False
    calibrated: bool = False
    unit: str = "factor"
    by_fans: bool = False


@dataclass(frozen=True)
class DepthwiseFans:
    """How many inputs and outputs a depthwise convolution of so many channels, one filter each, is said to have."""

    line: str
    fans: Callable[[int, int], tuple[int, int]]  # of so many places in a filter, and so many channels


DEPTHWISE_FANS: Mapping[str, DepthwiseFans] = {
    "own": DepthwiseFans("one channel's inputs and outputs, 9 and 9", lambda places, channels: (places, places)),
    # whose kernels are (3, 3, channels, 1): the last but one is taken for inputs
    "keras": DepthwiseFans(
        "all channels' inputs, 27 and 9 of three channels", lambda places, channels: (places * channels, places)
    ),
    # whose weights are (channels, 1, 3, 3): the first is taken for outputs
    "pytorch": DepthwiseFans(
        "all channels' outputs, 9 and 27 of three channels", lambda places, channels: (places, places * channels)
    ),
}
CUT = 2.0  # deviations at which a normal law is truncated
CUT_DEVIATION = 0.87962566103423978  # of a standard normal law that is truncated there


def _standard(law: str, random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """So many numbers of a law before it is scaled: uniform on [-1, 1), or of deviation 1 before it is truncated."""
    import numpy as np

    if law == "uniform":
        return random.uniform(-1.0, 1.0, count)
    numbers = random.standard_normal(count)
    while law == "truncated_normal" and (outside := np.abs(numbers) > CUT).any():
        numbers[outside] = random.standard_normal(np.count_nonzero(outside))
    return numbers


def _alike(law: str, random: np.random.Generator, shapes: Sequence[Shape]) -> NDArray[np.float64]:
    """Weights and biases alike."""
    return _standard(law, random, sum(map(prod, shapes)))


def _by_fans(
    law: str,
    deviation: Callable[[int, int], float],
    random: np.random.Generator,
    shapes: Sequence[Shape],
    depthwise: str = "own",
) -> NDArray[np.float64]:
    """Each weight scaled to a deviation that depends on how many inputs and outputs its units have; biases 0."""
    import numpy as np

    # a uniform law on [-1, 1) has deviation 1/sqrt(3)
    by_law = {"uniform": sqrt(3.0), "normal": 1.0, "truncated_normal": 1 / CUT_DEVIATION}[law]
    scales = [deviation(*_fans(shape, depthwise)) * by_law if len(shape) > 1 else 0.0 for shape in shapes]
    numbers = _alike(law, random, shapes)
    numbers *= np.repeat(scales, list(map(prod, shapes)))
    return numbers


def _fans(shape: Shape, depthwise: str) -> tuple[int, int]:
    """How many inputs and outputs a weight (outputs, inputs, ...) has; a depthwise one is (channels, 1, 3, 3)."""
    outputs, inputs, *window = shape
    if window and inputs == 1:
        return DEPTHWISE_FANS[depthwise].fans(prod(window), outputs)
    return inputs * prod(window), outputs * prod(window)


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
    "uniform": Initialization(partial(_alike, "uniform"), needs_scale=True, unit="half-width"),
    "normal": Initialization(partial(_alike, "normal"), needs_scale=True, unit="deviation"),
    "truncated_normal": Initialization(
        partial(_alike, "truncated_normal"), needs_scale=True, unit="deviation before truncation"
    ),
    **{
        f"{family}_{law}": Initialization(partial(_by_fans, law, deviation), by_fans=True)
        for family, deviation in _FAMILIES.items()
        for law in ("uniform", "normal", "truncated_normal")
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
