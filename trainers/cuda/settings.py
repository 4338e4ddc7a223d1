"""What a member's activation, penalty and optimizer are to the kernels: a row of numbers.

The kernels take the activation's kind and these numbers at run time, so that members of any mixture are one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

import numpy as np
from numpy.typing import NDArray

from trainers.activations import ACTIVATIONS
from trainers.cuda import SUPPORT
from trainers.members import MemberConfig

KINDS = SUPPORT.fields["activation"]

# inner, outer, steep, rate, reach, flat; low, high, between, end; l1, l2.
COLUMNS = 12


def settings(member: MemberConfig) -> tuple[float, ...]:
    """The row of one member.

    f is taken at inner * z, its value times outer and its slope times steep; exp(x) is 2^(rate * |z|) up to |z| =
    reach, from where it is as good as 0; beyond flat the slope is 0 in double precision. Raises ValueError for a member
    that the kernels have no code for.
    """
    if reason := SUPPORT.refusal(member):
        raise ValueError(reason)
    inner = 1.0 if member.scaling == "naive" else 1.0 / member.alpha
    steep = member.alpha if member.scaling == "naive" else 1.0
    doubled, reach, flat = (2.0, 20.0, 19.06) if member.activation == "tanh" else (1.0, 87.0, 36.8)
    penalty = (member.r, 0.0) if member.penalty == "l1" else (0.0, member.r)
    scale = (inner, member.alpha, steep, -doubled * log2(np.e) * inner, reach / inner, flat / inner)
    return (*scale, *(ACTIVATIONS[member.activation].flat_at(member.slope) or ()), *penalty)


def kinds(members: Sequence[MemberConfig]) -> NDArray[np.int32]:
    """The number of each member's activation, (members,)."""
    return np.array([KINDS.index(m.activation) for m in members], dtype=np.int32)


def rows(members: Sequence[MemberConfig]) -> NDArray[np.float32]:
    """The rows of an array of members, (members, COLUMNS)."""
    return np.array([settings(m) for m in members], dtype=np.float32)
