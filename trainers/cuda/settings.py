"""What a member's activation, penalty and optimizer are to the kernels: a row of numbers.

The kernels take the activation's kind and these numbers at run time, so that members of any mixture are one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log2

import numpy as np
from numpy.typing import NDArray

from trainers.cuda import SUPPORTS, unsupported
from trainers.members import MemberConfig

KINDS = SUPPORTS["activation"]

# inner, outer, steep, rate, reach, flat; low, high, between, end; l1, l2.
COLUMNS = 12

# A unit is saturated where |f'(u)| < 0.01 sup |f'|: below the first, above the second, or between the last two. As in
# lanes/activations.c; relu's 0 has no slope and 6 none on its right, so the bounds are the floats next to them.
SATURATED = {
    "tanh": (-2.99322285, 2.99322285, 1.0, -1.0),
    "sigmoid": (-5.98644570, 5.98644570, 1.0, -1.0),
    "logsigmoid": (-inf, 4.59511985, 1.0, -1.0),
    "arctan": (-9.94987437, 9.94987437, 1.0, -1.0),
    "softsign": (-9.0, 9.0, 1.0, -1.0),
    "relu": (1.17549435e-38, inf, 1.0, -1.0),
    "leaky_relu": (-inf, inf, 1.0, -1.0),
    "elu": (-4.60517019, inf, 1.0, -1.0),
    "relu6": (1.17549435e-38, 5.99999952, 1.0, -1.0),
    "silu": (-6.1429157, inf, -1.33078999, -1.22958773),
    "hardswish": (-3.0, inf, -1.545, -1.455),
}


def settings(member: MemberConfig) -> tuple[float, ...]:
    """The row of one member.

    f is taken at inner * z, its value times outer and its slope times steep; exp(x) is 2^(rate * |z|) up to |z| =
    reach, from where it is as good as 0; beyond flat the slope is 0 in double precision. Raises ValueError for a member
    that the kernels have no code for.
    """
    if reason := unsupported(member):
        raise ValueError(reason)
    inner = 1.0 if member.scaling == "naive" else 1.0 / member.alpha
    steep = member.alpha if member.scaling == "naive" else 1.0
    doubled, reach, flat = (2.0, 20.0, 19.06) if member.activation == "tanh" else (1.0, 87.0, 36.8)
    penalty = (member.r, 0.0) if member.penalty == "l1" else (0.0, member.r)
    scale = (inner, member.alpha, steep, -doubled * log2(np.e) * inner, reach / inner, flat / inner)
    return (*scale, *SATURATED[member.activation], *penalty)


def kinds(members: Sequence[MemberConfig]) -> NDArray[np.int32]:
    """The number of each member's activation, (members,)."""
    return np.array([KINDS.index(m.activation) for m in members], dtype=np.int32)


def rows(members: Sequence[MemberConfig]) -> NDArray[np.float32]:
    """The rows of an array of members, (members, COLUMNS)."""
    return np.array([settings(m) for m in members], dtype=np.float32)
