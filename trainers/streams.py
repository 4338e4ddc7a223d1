"""Every random number of a member, from its seed alone.

Counter-based generators keyed by (seed, purpose, index): no global state, nothing shared between members, and any
epoch's order can be drawn without drawing those before it, so that a resumed member needs no generator state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PURPOSES = {"initial values": 1, "order of images": 2, "validation split": 3, "test split": 4, "probe": 5}


def stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """The generator of one purpose; the same arguments give the same numbers on every machine."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _PURPOSES[purpose], index])))


def order_of_images(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order, shape (count,), in which a member sees the training images in an epoch (the first is 1)."""
    return stream(seed, "order of images", epoch).permutation(count)
