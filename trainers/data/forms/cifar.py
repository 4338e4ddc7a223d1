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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.data import Images, cache
from trainers.data.dataset import SIDE, Split
from trainers.data.forms import Contents, Form, Opened, counted, of_files
from trainers.data.images import damaged, readable
from trainers.errors import DataError

PARTS = tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",)
NAMES = "batches.meta.txt"
RECORD = 1 + 3 * SIDE * SIDE
TORN = (tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError, OverflowError, zlib.error)
LARGEST = 1 << 28  # bytes of a file in an archive; a published one has 31 million


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
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != checksum:
            raise DataError(
                f"{name} of {known_as} is damaged, or not as it was published: its MD5 sum is {digest} and must be "
                f"{checksum}, or it is not read, because a pickle can run programs; download it again, or use the "
                "binary version"
            )
    return contents(folder)


def _read_binary(folder: str, known_as: str) -> Contents:
    classes = _names(folder)
    if len(classes) < 2:
        raise DataError(f"{NAMES} of {known_as} names {len(classes)} classes: it must name two or more, one a line")
    splits = []
    for batches in PARTS:
        records = np.concatenate([_records(folder, f"{batch}.bin", known_as, len(classes)) for batch in batches])
        splits.append(Split(records[:, 1:].reshape(-1, 3, SIDE, SIDE), records[:, 0].astype(np.int64)))
    return Contents(classes, *splits)


def _records(folder: str, name: str, known_as: str, classes: int) -> NDArray[np.uint8]:
    """A file's images, a row each of label and pixels."""
    path = os.path.join(folder, name)
    with readable(path, "download CIFAR-10 again"):
        content = np.fromfile(path, np.uint8)
    if not content.size or content.size % RECORD:
        right = f"it must have {RECORD} per image, a label and then 3x{SIDE}x{SIDE} pixels"
        raise damaged(f"{name} of {known_as}", f"{content.size} bytes", right, content.tobytes())
    records = content.reshape(-1, RECORD)
    if (label := records[:, 0].max()) >= classes:
        raise DataError(
            f"{name} of {known_as} has the label {label}: labels must be below {classes}, the number of classes in "
            f"{NAMES}"
        )
    return records


def _names(folder: str) -> tuple[str, ...]:
    """The classes, one a line."""
    with readable(os.path.join(folder, NAMES), "download CIFAR-10 again"):
        lines = Path(folder, NAMES).read_text("utf-8", "replace").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _count_python(place: str) -> Images:
    return counted(50000, 10000, 10)


def _count_binary(place: str) -> Images:
    if os.path.isfile(place):
        return _count_python(place)
    train, test = (sum(os.path.getsize(os.path.join(place, f"{b}.bin")) for b in part) // RECORD for part in PARTS)
    return counted(train, test, len(_names(place)))


@dataclass(frozen=True)
class _Version:
    """One of the two: its folder, its archive, their files, and how to read those.

    `read` is given a folder of the files and the path that the user knows.
    """

    words: str
    folder: str
    archive: str
    files: tuple[str, ...]
    read: Callable[[str, str], Contents]
    count: Callable[[str], Images]

    def form(self) -> Form:
        """It as a form of data."""
        return Form(self.words, lambda r: bool(self._place(r)), lambda r: self.count(self._place(r)), self._open)

    def _open(self, root: str) -> Opened:
        place = self._place(root)
        if os.path.isfile(place):
            return of_files(self.words, [place], lambda: self._unpacked(place))
        return of_files(self.words, [os.path.join(place, f) for f in self.files], lambda: self.read(place, place))

    def _place(self, root: str) -> str:
        """The folder of the files, or else the archive; "" for neither."""
        for folder in (root, os.path.join(root, self.folder)):
            if any(os.path.isfile(os.path.join(folder, name)) for name in self.files):
                return folder
        archive = os.path.join(root, self.archive)
        if os.path.isfile(archive):
            return archive
        is_archive = os.path.isfile(root) and (os.path.basename(root) == self.archive or _first(root) in self.files)
        return root if is_archive else ""

    def _unpacked(self, archive: str) -> Contents:
        with cache.scratch() as folder:
            try:
                with _opened(archive) as tar:
                    for member in tar:
                        name = os.path.basename(member.name)
                        content = tar.extractfile(member) if member.isfile() and name in self.files else None
                        if content and member.size <= LARGEST:
                            with open(folder / name, "wb") as file:
                                shutil.copyfileobj(content, file)
                    while tar.fileobj and tar.fileobj.read(1 << 20):
                        pass  # gzip's checksum is at the end
            except TORN as e:
                raise damaged(archive, e, "download it again") from e
            if lacks := [name for name in self.files if not (folder / name).is_file()]:
                raise DataError(f"{archive} lacks {', '.join(lacks)}: download it again")
            return self.read(str(folder), archive)


def _opened(archive: str) -> tarfile.TarFile:
    with open(archive, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return tarfile.open(archive, "r:gz" if zipped else "r:")


def _first(archive: str) -> str:
    """The name of the first file of an archive, "" for what is none."""
    try:
        with _opened(archive) as tar:
            return next((os.path.basename(member.name) for member in tar if member.isfile()), "")
    except (*TORN, OSError):
        return ""


PYTHON = _Version(
    "CIFAR-10 as torchvision keeps it (cifar-10-batches-py, its parent or the .tar.gz)",
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    (*PARTS[0], *PARTS[1], "batches.meta"),
    _read_python,
    _count_python,
).form()
BINARY = _Version(
    "CIFAR-10's binary version (cifar-10-batches-bin, its parent or the .tar.gz)",
    "cifar-10-batches-bin",
    "cifar-10-binary.tar.gz",
    (*(f"{batch}.bin" for part in PARTS for batch in part), NAMES),
    _read_binary,
    _count_binary,
).form()
