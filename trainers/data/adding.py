"""The adding problem of Hochreiter and Schmidhuber (1997), as classification: `adding:STEPS`, `adding:STEPS:SEED`.

Each step has a value, uniform among the 256 bytes, in the first channel, and two steps, one in each half of the
sequence, are marked by 255 in the second; the third is 0. The class is the tenth into which the sum of the two marked
values falls among all sums, so that the ten classes are equally frequent: a right answer by chance is one in ten, and
one in four for whoever knows one of the two values. 9,000 training, 1,000 validation and 2,000 test sequences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainers.data.dataset import Dataset, Split, assemble
from trainers.data.sequences import TEST, TRAIN, as_images, sequences_of
from trainers.streams import stream

CLASSES = 10


def load_adding(argument: str) -> Dataset:
    """The sequences, made anew each time and always the same; raises DataError where the argument is wrong."""
    steps, seed = sequences_of(argument)
    random, count = stream(seed, "adding", steps), TRAIN + TEST
    values = random.integers(0, 256, (count, steps), dtype=np.uint8)
    half = steps // 2
    marked = random.integers(0, half, (count, 2)) + np.array([0, half])
    sequences = np.zeros((count, 3, steps), np.uint8)
    sequences[:, 0] = values
    np.put_along_axis(sequences[:, 1], marked, 255, axis=1)
    labels = tenth(np.take_along_axis(values, marked, axis=1).sum(1, dtype=np.int64))
    train, test = (Split(as_images(sequences[part]), labels[part]) for part in (slice(TRAIN), slice(TRAIN, None)))
    names = tuple(f"tenth {i + 1}" for i in range(CLASSES))
    return assemble(f"adding:{argument}", names, train, test)


def tenth(sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class, 0 to 9, of sums of two uniform bytes: tenths of all 256^2 pairs, a sum being at its middle pair."""
    pairs = np.convolve(np.ones(256, np.int64), np.ones(256, np.int64))  # how many have each sum
    middle = 2 * np.cumsum(pairs) - pairs  # in halves of a pair
    of_sum: NDArray[np.int64] = CLASSES * middle // (2 * 256**2)
    return of_sum[sums]
