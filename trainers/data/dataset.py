"""What every loader ends in: a data set of three splits, its digest, and the sample on which gradients are recorded."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

    @functools.cached_property
    def channel_statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and deviation of the training split's channels, (3,) each, where a byte is from 0 to 1."""
        counts = np.stack([np.bincount(self.train.images[:, c].ravel(), minlength=256) for c in range(3)])
        levels, total = np.arange(256, dtype=np.float64) / 255, counts.sum(1)
        mean = counts @ levels / total
        variance = counts @ levels**2 / total - mean**2
        return mean, np.where(variance > 0, np.sqrt(np.maximum(variance, 0)), 1.0)

    def splits(self) -> dict[str, Split]:
        """By name, with the `probe`: the sample of the training split on which gradients are recorded."""
        return {"train": self.train, "validation": self.validation, "test": self.test, "probe": probe(self)}


def assemble(name: str, classes: tuple[str, ...], train: Split, test: Split) -> Dataset:
    """A data set whose validation split is a tenth of `train`, the same for every member; the rest stays in `train`.

    `train` needs at least two images. The arrays of all splits can't be written to; `test` is not copied.
    """
    count = len(train)
    chosen = np.zeros(count, bool)
    chosen[stream(0, "validation split").permutation(count)[: max(1, count // 10)]] = True
    splits = (train.take(np.flatnonzero(~chosen)), train.take(np.flatnonzero(chosen)), _read_only(test))
    return Dataset(name, classes, *splits, digest=_digest(classes, splits))


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
