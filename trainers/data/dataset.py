"""What every loader ends in: a data set of three splits, its digest, and the sample on which gradients are recorded."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainers.data import HOLDOUT
from trainers.streams import stream

SIDE = 32


@dataclass(frozen=True, eq=False)
class Split:
    """Images, uint8 of shape (n, 3, 32, 32), and their labels, int64 of shape (n,): indices into the classes.

    Raises ValueError for other shapes or types, and for no images at all.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.shape[1:] != (3, SIDE, SIDE) or not len(self.images):
            raise ValueError(
                f"images must be uint8 of shape (n, 3, {SIDE}, {SIDE}) with n >= 1, "
                f"but got {self.images.dtype} of {self.images.shape}"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 of shape {self.images.shape[:1]}, "
                f"but got {self.labels.dtype} of {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, where: NDArray[np.int64]) -> Split:
        """The images and labels at those indices, as a copy that can't be written to."""
        return _read_only(Split(self.images[where], self.labels[where]))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits with the same classes; `digest` (sha256, hex) stands for all of their content, in order."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    digest: str

    def splits(self) -> dict[str, Split]:
        """By name, with the `probe`: the sample of the training split on which gradients are recorded."""
        return {"train": self.train, "validation": self.validation, "test": self.test, "probe": probe(self)}

    @cached_property
    def channel_statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of each channel of the training split, (3,) each, in units of [0, 1].

        The deviation is the population's, and 1 where it would be 0. Both come from whole numbers alone, so their bits
        are the same everywhere. 0.25 s for 45,000 images (Zen 5), once a process.
        """
        sums, squares = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for start in range(0, len(self.train), 256):
            pixels = self.train.images[start : start + 256].astype(np.uint32)
            sums += pixels.sum((0, 2, 3), dtype=np.int64)
            squares += np.square(pixels).sum((0, 2, 3), dtype=np.int64)
        count = len(self.train) * SIDE * SIDE
        # Python's whole numbers don't overflow, and it rounds their quotient once.
        channels = list(zip(sums.tolist(), squares.tolist(), strict=True))
        mean = np.array([total / (255 * count) for total, _ in channels])
        variances = [(count * square - total**2) / (255 * count) ** 2 for total, square in channels]
        deviation = np.array([math.sqrt(variance) or 1.0 for variance in variances])
        mean.setflags(write=False)
        deviation.setflags(write=False)
        return mean, deviation


def assemble(name: str, classes: tuple[str, ...], train: Split, test: Split | None) -> Dataset:
    """A data set whose validation split is a tenth of `train`, the same for every member; the rest stays in `train`.

    Without a `test` part it is a fifth of `train`, split off before. `train` needs at least two images, then three. The
    arrays of all splits can't be written to; `test` is not copied.
    """
    if test is None:
        order, cut = stream(0, "test split").permutation(len(train)), test_count(len(train))
        train, test = train.take(np.sort(order[cut:])), train.take(np.sort(order[:cut]))
    chosen = _chosen(len(train), validation_count(len(train)))
    splits = (train.take(np.flatnonzero(~chosen)), train.take(np.flatnonzero(chosen)), _read_only(test))
    return Dataset(name, classes, *splits, digest=_digest(classes, splits))


def held_out(dataset: Dataset, holdout: float) -> Dataset:
    """The same data with another share of the training images as its validation split; its test split stays.

    Of two validation splits the larger one has all images of the smaller one. The arrays are new, and in memory.
    """
    before = _chosen(len(dataset.train) + len(dataset.validation), len(dataset.validation))
    order = np.argsort(np.concatenate([np.flatnonzero(~before), np.flatnonzero(before)]))
    images, labels = (
        np.concatenate([getattr(split, what) for split in (dataset.train, dataset.validation)])[order]
        for what in ("images", "labels")
    )
    chosen = _chosen(len(labels), validation_count(len(labels), holdout))
    train, validation = (_read_only(Split(images[of], labels[of])) for of in (~chosen, chosen))
    digest = _digest(dataset.classes, (train, validation, dataset.test))
    return replace(dataset, train=train, validation=validation, digest=digest)


def _chosen(count: int, validation: int) -> NDArray[np.bool_]:
    """Which of so many images are so large a validation split."""
    chosen = np.zeros(count, bool)
    chosen[stream(0, "validation split").permutation(count)[:validation]] = True
    return chosen


def validation_count(count: int, holdout: float = HOLDOUT) -> int:
    """How many of so many images are the validation split: such a share rounded down, but at least one."""
    return max(1, int(round(count * holdout, 6)))  # rounded, since 100 times 0.29 is 28.999999999999996


def test_count(count: int) -> int:
    """How many of so many images are the test split where there is no test part: a fifth, but at least one."""
    return max(1, count // 5)


def probe(dataset: Dataset) -> Split:
    """The sample of the training split on which gradients are recorded: fixed and in the order of the split."""
    count = len(dataset.train)
    return dataset.train.take(np.sort(stream(0, "probe").permutation(count)[: probe_size(count)]))


def probe_size(count: int) -> int:
    """How many of so many training images are the probe: a 24th, but 256 where there are."""
    return min(count, max(256, count // 24))


def _digest(classes: tuple[str, ...], splits: tuple[Split, ...]) -> str:
    digest = hashlib.sha256()
    for name in classes:
        # No name can hold a zero byte, and the counts below end the lists: two data sets can't look alike.
        digest.update(os.fsencode(name) + b"\0")
    for split in splits:
        digest.update(len(split).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
    return digest.hexdigest()


def _read_only(split: Split) -> Split:
    split.images.setflags(write=False)
    split.labels.setflags(write=False)
    return split
