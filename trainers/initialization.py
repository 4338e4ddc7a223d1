"""Initial values: the paper's two, and Glorot's, He's and LeCun's.

`uniform` and `normal` treat all parameters alike, biases included (the paper: "sampled independently and identically").
The others scale each weight by its fans and leave biases at 0. Every initialization draws the same standard numbers
from a member's seed and only scales them, so that members with the same seed start from the same draws.
"""

from __future__ import annotations

from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from trainers.layers import Layer, Shape, parameter_shapes
from trainers.members import MemberConfig
from trainers.streams import stream


def initial_parameters(member: MemberConfig, layers: tuple[Layer, ...]) -> NDArray[np.float32]:
    """The member's flat parameter vector before its first step, shape (parameters,)."""
    family, _, law = str(member.initialization).rpartition("_")
    shapes = [shape for _, tensors in parameter_shapes(layers) for shape in tensors]
    random = stream(member.seed, "initial values")
    count = sum(map(prod, shapes))
    draws = random.standard_normal(count) if law == "normal" else random.uniform(-1.0, 1.0, count)
    if family:
        deviations = np.concatenate([np.full(prod(shape), _deviation(family, shape)) for shape in shapes])
        # a uniform law on [-1, 1) has deviation 1/sqrt(3)
        draws *= deviations if law == "normal" else deviations * sqrt(3.0)
    return np.asarray(draws * float(member.init_scale or 1.0), dtype=np.float32)


def _deviation(family: str, shape: Shape) -> float:
    """The standard deviation of a weight: Glorot and Bengio 2010, He et al. 2015, LeCun et al. 1998."""
    if len(shape) == 1:
        return 0.0
    fan_in = prod(shape[1:])
    # each input of a depthwise convolution (out, 1, 3, 3) feeds one filter alone
    fan_out = prod(shape[2:]) if len(shape) == 4 and shape[1] == 1 else shape[0] * prod(shape[2:])
    return {
        "glorot": sqrt(2.0 / (fan_in + fan_out)),
        "he": sqrt(2.0 / fan_in),
        "lecun": sqrt(1.0 / fan_in),
    }[family]
