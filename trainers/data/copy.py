"""The memory of the copying task (Arjovsky et al. 2016), as classification: `copy:STEPS`, `copy:STEPS:SEED`.

The first K steps show a symbol each, uniform among ten, then nothing comes, and the last step asks for one of them, by
its number: that symbol is the class. K is a quarter of the steps, at least 1 and at most 4. A right answer by chance
is one in ten, and 1/K + (1 - 1/K) / 10 for whoever remembers one of the K.

A symbol is a point of a circle in the first two channels, so that a linear function can tell each from all others. The
third channel holds the number, from 255 / K to 255, of the symbol that is shown or asked for. All is 0 where nothing
comes. 9,000 training, 1,000 validation and 2,000 test sequences.
"""

from __future__ import annotations

import numpy as np

from trainers.data.dataset import Dataset, Split, assemble
from trainers.data.sequences import TEST, TRAIN, as_images, sequences_of
from trainers.streams import stream

SYMBOLS = 10
MOST = 4


def load_copy(argument: str) -> Dataset:
    """The sequences, made anew each time and always the same; raises DataError where the argument is wrong."""
    steps, seed = sequences_of(argument)
    random, count, k = stream(seed, "copy", steps), TRAIN + TEST, shown(steps)
    symbols, asked = random.integers(0, SYMBOLS, (count, k)), random.integers(0, k, count)
    numbers = np.arange(1, k + 1) * 255 // k
    angles = np.arange(SYMBOLS) * (2 * np.pi / SYMBOLS)
    # none is near a half, so that rounding gives the same bytes on every machine
    circle = np.rint(128 + 127 * np.stack((np.cos(angles), np.sin(angles)))).astype(np.uint8)
    sequences = np.zeros((count, 3, steps), np.uint8)
    sequences[:, :2, :k] = circle[:, symbols].swapaxes(0, 1)
    sequences[:, 2, :k] = numbers
    sequences[:, 2, -1] = numbers[asked]
    labels = symbols[np.arange(count), asked].astype(np.int64)
    train, test = (Split(as_images(sequences[part]), labels[part]) for part in (slice(TRAIN), slice(TRAIN, None)))
    return assemble(f"copy:{argument}", tuple(map(str, range(SYMBOLS))), train, test)


def shown(steps: int) -> int:
    """How many symbols a sequence of so many steps shows."""
    return max(1, min(MOST, steps // 4))
