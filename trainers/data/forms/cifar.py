"""CIFAR-10 as it was published, in Python's and in the binary version: the unpacked folder, its parent, or the archive.

The files of Python's version are pickles, which can run programs: they are read, by torchvision, only where their
checksums are those of the published files. The binary version is plain bytes, so it may be of one's own making: 3,073
bytes an image, its label and then three channels of 32x32.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainers.data import Images, cache
from trainers.data.dataset import SIDE, Split
from trainers.data.forms import Contents, Form, Opened, counted, of_files
from trainers.data.images import readable
from trainers.errors import DataError

RECORD = 1 + 3 * SIDE * SIDE
BINARY_NAMES = "batches.meta.txt"
LARGEST = 1 << 28  # bytes of a file in an archive; a published one has 31 million


class _Version(NamedTuple):
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    names: str
    read: Callable[[str, str], Contents]
    """Given a folder of the files, and the path that the user knows."""

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.names)


def published() -> Any:
    """torchvision's class for CIFAR-10, with the checksums; raises DataError without a torchvision that works."""
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError) as e:  # RuntimeError: a torchvision that was built for another torch
        raise DataError(f"cifar10 needs a torchvision that fits torch ({e}): install both from one index") from e
    return CIFAR10


def contents(folder: str | Path, **options: Any) -> Contents:
    """What torchvision reads from a folder of the published pickles; `options` are those of its CIFAR10."""
    folder = Path(folder)
    here = type("CIFAR10", (published(),), {"base_folder": folder.name})
    with warnings.catch_warnings():
        # The published files are pickles of an old NumPy, which 2.4.0 to 2.4.4 read with a warning.
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        train, test = (here(folder.parent, train=part, **options) for part in (True, False))
    train_part, test_part = (
        Split(np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.array(part.targets, np.int64))
        for part in (train, test)
    )
    return Contents(tuple(train.classes), train_part, test_part)


def _read_python(folder: str, known_as: str) -> Contents:
    kind = published()
    for name, checksum in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]:
        path = os.path.join(folder, name)
        with readable(path, "download CIFAR-10 again"), open(path, "rb") as file:
            same = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == checksum
        if not same:
            raise DataError(
                f"{name} of {known_as} is not as it was published: its MD5 sum must be {checksum}, or it is not read, "
                "because a pickle can run programs; download it again, or use the binary version"
            )
    return contents(folder)


def _read_binary(folder: str, known_as: str) -> Contents:
    def part(files: tuple[str, ...]) -> Split:
        blocks = []
        for name in files:
            path = os.path.join(folder, name)
            with readable(path, "download CIFAR-10 again"):
                content = np.fromfile(path, np.uint8)
            if not content.size or content.size % RECORD:
                raise DataError(
                    f"{name} of {known_as} has {content.size} bytes: it must have {RECORD} per image, a label and then "
                    f"3x{SIDE}x{SIDE} pixels"
                )
            blocks.append(content.reshape(-1, RECORD))
            if (label := blocks[-1][:, 0].max()) >= len(classes):
                raise DataError(
                    f"{name} of {known_as} has the label {label}: with the {len(classes)} classes of {BINARY_NAMES} "
                    f"labels must be below {len(classes)}"
                )
        whole = np.concatenate(blocks)
        return Split(whole[:, 1:].reshape(-1, 3, SIDE, SIDE), whole[:, 0].astype(np.int64))

    classes = _names(folder)
    if len(classes) < 2:
        raise DataError(
            f"{BINARY_NAMES} of {known_as} names {len(classes)} classes: it must name two or more, one a line"
        )
    return Contents(classes, part(_BINARY.train), part((_BINARY.test,)))


def _names(folder: str) -> tuple[str, ...]:
    """The classes, one a line."""
    with readable(os.path.join(folder, BINARY_NAMES), "download CIFAR-10 again"):
        lines = Path(folder, BINARY_NAMES).read_text("utf-8", "replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


_PYTHON = _Version(
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test_batch",
    "batches.meta",
    _read_python,
)
_BINARY = _Version(
    "cifar-10-batches-bin",
    "cifar-10-binary.tar.gz",
    tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test_batch.bin",
    BINARY_NAMES,
    _read_binary,
)


def _place(version: _Version, root: str) -> str | None:
    """The folder of its files, or else the archive."""
    for folder in (root, os.path.join(root, version.folder)):
        if any(os.path.isfile(os.path.join(folder, name)) for name in version.files):
            return folder
    archive = os.path.join(root, version.archive)
    if os.path.isfile(archive):
        return archive
    if os.path.isfile(root) and (os.path.basename(root) == version.archive or _first(root) in version.files):
        return root
    return None


def _first(archive: str) -> str:
    """The name of the first file of an archive, "" for what is none."""
    try:
        with tarfile.open(archive) as tar:
            return next((os.path.basename(member.name) for member in tar if member.isfile()), "")
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        return ""


def _form(version: _Version, words: str) -> Form:
    def count(root: str) -> Images:
        place = str(_place(version, root))
        if version is _PYTHON or os.path.isfile(place):
            return counted(50000, 10000, 10)
        train, test = (
            sum(os.path.getsize(os.path.join(place, name)) for name in part) // RECORD
            for part in (version.train, (version.test,))
        )
        return counted(train, test, len(_names(place)))

    def open_(root: str) -> Opened:
        place = str(_place(version, root))
        if os.path.isfile(place):
            return of_files(words, [place], lambda: _unpacked(version, place))
        return of_files(
            words, [os.path.join(place, name) for name in version.files], lambda: version.read(place, place)
        )

    return Form(words, lambda root: _place(version, root) is not None, count, open_)


def _unpacked(version: _Version, archive: str) -> Contents:
    with cache.scratch() as folder:
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = os.path.basename(member.name)
                    content = tar.extractfile(member) if member.isfile() and name in version.files else None
                    if content and member.size <= LARGEST:
                        with open(folder / name, "wb") as file:
                            shutil.copyfileobj(content, file)
                while tar.fileobj and tar.fileobj.read(1 << 20):
                    pass  # gzip's checksum is at the end
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as e:
            raise DataError(f"{archive} can't be unpacked ({e}): download it again") from e
        if lacks := [name for name in version.files if not (folder / name).is_file()]:
            raise DataError(f"{archive} lacks {', '.join(lacks)}: download it again")
        return version.read(str(folder), archive)


PYTHON = _form(_PYTHON, "CIFAR-10 as torchvision keeps it (cifar-10-batches-py, its parent or the .tar.gz)")
BINARY = _form(_BINARY, "CIFAR-10's binary version (cifar-10-batches-bin, its parent or the .tar.gz)")
