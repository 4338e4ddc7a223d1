"""IDX files, as MNIST's and Fashion-MNIST's: `train-images-idx3-ubyte` and its three siblings, gzipped or not.

torchvision's own reader takes only unpacked files under one name, and stops at a broken one without a reason. Here the
names may have a dot (`train-images.idx3-ubyte`), and the files may be in torchvision's `raw`. An IDX file is two zeros,
the type (8: bytes), the number of dimensions, each dimension as four bytes with the highest first, and the values.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.data import Images
from trainers.data.dataset import Split
from trainers.data.forms import Contents, Form, Opened, counted, of_files
from trainers.data.images import damaged, fit, in_parallel, readable
from trainers.errors import DataError

DIMENSIONS = {"images": 3, "labels": 1}
STEMS = {"train": "train", "test": "t10k"}
LARGEST = 1 << 32  # bytes of a file when unpacked


def _file(root: str, part: str, what: str) -> str | None:
    names = [f"{STEMS[part]}-{what}{sign}idx{DIMENSIONS[what]}-ubyte" for sign in "-."]
    paths = [os.path.join(root, *below, name + end) for below in ([], ["raw"]) for name in names for end in ("", ".gz")]
    return next(filter(os.path.isfile, paths), None)


def _is_at(root: str) -> bool:
    return _file(root, "train", "images") is not None


def _files(root: str) -> list[str]:
    paths = []
    for part in STEMS:
        for what, dimensions in DIMENSIONS.items():
            path = _file(root, part, what)
            if path is None:
                raise DataError(
                    f"{root} lacks {STEMS[part]}-{what}-idx{dimensions}-ubyte: all four IDX files must be there"
                )
            paths.append(path)
    return paths


def _count(root: str) -> Images:
    _, train, _, test = _files(root)
    labels = _values(train, 1)
    return counted(len(labels), len(_values(test, 1)), len(np.unique(labels)))


def _open(root: str) -> Opened:
    paths = _files(root)
    return of_files(FORM.words, paths, lambda: _contents(*paths))


FORM = Form("MNIST's IDX files (train-images-idx3-ubyte and so on, gzipped or not)", _is_at, _count, _open)


def _contents(train_images: str, train_labels: str, test_images: str, test_labels: str) -> Contents:
    splits = []
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        greys, values = _values(images, 3), _values(labels, 1)
        if len(greys) != len(values):
            raise DataError(
                f"{labels} has {len(values)} labels, {images} has {len(greys)} images: there must be as many"
            )
        pixels = np.stack(in_parallel(lambda grey: fit(Image.fromarray(grey)), list(greys)))
        splits.append(Split(pixels, values.astype(np.int64)))
    train, test = splits
    classes, labels_of_train = np.unique(train.labels, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"{train_labels} has only the label {classes[0]}: there must be two classes or more")
    if len(more := np.setdiff1d(test.labels, classes)):
        raise DataError(f"{test_labels} has the label {more[0]}, which no training image has")
    labels_of_test = np.searchsorted(classes, test.labels)
    return Contents(
        tuple(str(label) for label in classes),
        Split(train.images, labels_of_train.astype(np.int64)),
        Split(test.images, labels_of_test.astype(np.int64)),
    )


def _values(path: str, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of a file, in its shape."""
    with readable(path), _unpacking(path), (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        magic, sizes = file.read(4), file.read(4 * dimensions)
        if magic != bytes([0, 0, 8, dimensions]) or len(sizes) < 4 * dimensions:
            raise DataError(
                f"{path} begins with {magic.hex(' ') or 'nothing'}: an IDX file of bytes in {dimensions} "
                f"dimension{'s' * (dimensions > 1)} must begin with 00 00 08 0{dimensions} and the size of each"
            )
        shape = np.frombuffer(sizes, ">u4").tolist()
        size, content = math.prod(shape), bytearray()
        if not 0 < size <= LARGEST:
            raise DataError(f"{path} is of {'x'.join(map(str, shape))} bytes: it must have 1 to {LARGEST}")
        while len(content) <= size and (block := file.read(1 << 20)):
            content += block
    if len(content) != size:
        few = "fewer" if len(content) < size else "more"
        must = f"it must have {size} bytes for {'x'.join(map(str, shape))}"
        raise damaged(path, f"{few} bytes than it says", must)
    return np.frombuffer(content, np.uint8).reshape(shape)


@contextmanager
def _unpacking(path: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise damaged(path, e, "download it again") from e
