"""Every random number of a member, from its seed alone.

Counter-based generators keyed by (seed, purpose, index): no global state, nothing shared between members, and any
epoch's order can be drawn without drawing those before it, so that a resumed member needs no generator state.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PURPOSES = {"initial values": 1, "order of images": 2, "validation split": 3, "test split": 4, "probe": 5}
_PURPOSES |= {"biases": 6, "slopes": 7, "noise on the probe": 10, "recurrent weights": 20, "adding": 21, "copy": 22}
_PURPOSES |= {"sharpness": 40}


def stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """The generator of one purpose; the same arguments give the same numbers on every machine."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _PURPOSES[purpose], index])))


def order_of_images(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order, shape (count,), in which a member sees the training images in an epoch (the first is 1)."""
    return stream(seed, "order of images", epoch).permutation(count)


def slope_key(seed: int) -> int:
    """What a member's random slopes are drawn by, 32 bits."""
    return int(stream(seed, "slopes").integers(2**32))


def mixed(x: Any) -> Any:
    """A number of 32 bits, each of which depends on all of x's; of arrays of int64, NumPy's or PyTorch's, elementwise.

    The lowbias32 of Wellons' "Prospecting for hash functions". A training step draws a slope for each unit and image,
    and any engine can compute this in a few operations, whatever its order.
    """
    words = 0xFFFFFFFF
    x = x & words
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & words
    x = ((x ^ (x >> 15)) * 0x846CA68B) & words
    return x ^ (x >> 16)


def uniform(key: Any, step: int, depth: int, numbers: Any) -> Any:
    """Whole numbers from 0 to 2^24 - 1, uniform: those of a member's key at a step, a layer's depth, and `numbers`.

    `numbers` count units and images of a batch, image by image.
    """
    of_layer = mixed(mixed(key + step) + depth)
    return mixed(mixed(numbers) ^ of_layer) >> 8
