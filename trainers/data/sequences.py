"""What data that are made as sequences have in common: their names, `NAME:STEPS` or `NAME:STEPS:SEED`, and layout.

A sequence has three bytes at each step and lies as all images do, in (3, 32, 32): in each channel, step t is the pixels
[t P, (t + 1) P), P = 1024 / STEPS, all of the same byte. So a recurrent layer of as many steps reads it step by step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trainers.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIXELS = 1024
TRAIN, TEST = 10_000, 2_000  # sequences before the validation split is taken off, and in the test split
ARGUMENT = "STEPS[:SEED]"


class Sequences(NamedTuple):
    """Of how many steps, and made from which seed."""

    steps: int
    seed: int = 0


def sequences_of(argument: str) -> Sequences:
    """What stands behind the name, `32` or `32:1`; raises DataError with what it may be."""
    words = argument.split(":")
    known = Sequences(*map(int, words)) if len(words) <= 2 and all(w.isascii() and w.isdigit() for w in words) else None
    if known is None or known.steps not in (2**i for i in range(1, PIXELS.bit_length())):
        right = f"STEPS must be a power of two from 2 to {PIXELS}, and SEED a whole number"
        raise DataError(f"{right}, but got {argument!r}")
    return known


def as_images(sequences: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes (n, 3, steps) as images (n, 3, 32, 32)."""
    side = 32
    return sequences.repeat(PIXELS // sequences.shape[2], axis=2).reshape(-1, 3, side, side)
