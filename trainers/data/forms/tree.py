"""A tree of `train/<class>/*` and `test/<class>/*` images; `val` is taken for `test` where that has no classes.

Classes and images are in the order of their names. Names that begin with a dot, files beside the folders of the
classes, and in these files whose ending is no image's, are passed over. Links are followed, wherever they lead: that is
how shared data are put together. What they lead to must be a file of an image's size.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import stat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.data import Images
from trainers.data.dataset import SIDE, Split
from trainers.data.forms import PARTS, Contents, Form, Opened, counted, key_of
from trainers.data.images import decode, endings, in_parallel, read_file, readable
from trainers.errors import DataError

LARGEST = 1 << 28  # bytes of a file: a photograph has a hundredth of that

_log = logging.getLogger("gradsweep")


class _File(NamedTuple):
    path: str
    part: str
    label: int
    size: int
    modified: int
    changed: int


def parts_of(root: str) -> dict[str, str | None]:
    """The folder of each part, whatever its case: one with classes, else any; None where it is missing."""
    folders = {name.lower(): place for name, place in _folders(root).items()}
    parts = {part: [folders[name] for name in names if name in folders] for part, names in PARTS.items()}
    return {part: next(filter(_folders, places), places[0] if places else None) for part, places in parts.items()}


def _is_at(root: str) -> bool:
    return os.path.isdir(root) and all(place and _folders(place) for place in parts_of(root).values())


def _count(root: str) -> Images:
    train, test = ([len(os.listdir(c)) for c in _folders(str(place)).values()] for place in parts_of(root).values())
    return counted(sum(train), sum(test), len(train))


def _open(root: str) -> Opened:
    classes, files = _walk(root)

    def read() -> tuple[str, Contents]:
        images = np.empty((len(files), 3, SIDE, SIDE), np.uint8)
        # of the very bytes that are decoded, should a file have just changed
        key = _key(classes, files, images)
        labels = np.array([file.label for file in files], np.int64)
        cut = sum(file.part == "train" for file in files)
        return key, Contents(classes, Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:]))

    return Opened([classes, files], functools.partial(_key, classes, files), read)


FORM = Form("a tree of train/<class>/* and test/<class>/* (or val/<class>/*) images", _is_at, _count, _open)


def _key(classes: tuple[str, ...], files: list[_File], images: NDArray[np.uint8] | None = None) -> str:
    """The key of what is in the files, which are also decoded into `images` where these are given."""

    def content(index: int) -> str:
        data = read_file(files[index].path)
        if images is not None:
            images[index] = decode(data, files[index].path)
        return hashlib.sha256(data).hexdigest()

    contents = zip(files, in_parallel(content, range(len(files))), strict=True)
    return key_of(classes, [(file.part, file.label, digest) for file, digest in contents])


def _walk(root: str) -> tuple[tuple[str, ...], list[_File]]:
    """The classes, and every image in its order, training part first."""
    parts = {part: str(place) for part, place in parts_of(root).items()}
    if os.path.basename(parts["test"]).lower() not in ("test", "testing"):
        _log.info("%s is taken for the test part", parts["test"])
    classes = {part: _folders(place) for part, place in parts.items()}
    for part, twin in (("train", "test"), ("test", "train")):
        if missing := sorted(classes[part].keys() - classes[twin].keys()):
            raise DataError(f"{parts[twin]} lacks the classes {', '.join(missing)} of {part}: both must have the same")
    names = tuple(classes["train"])
    if len(names) < 2:
        raise DataError(
            f"{parts['train']} has only the class {names[0]}: it must hold a folder for each of at least two"
        )
    files, passed = [], []
    for part in PARTS:
        for label, name in enumerate(names):
            images: list[os.DirEntry[str]] = []
            others: list[os.DirEntry[str]] = []
            for entry in _entries(classes[part][name]):
                of_image = entry.name.lower().endswith(endings()) or os.path.isdir(entry)
                (images if of_image else others).append(entry)
            if not images:
                has = f"has no images, only {others[0].name}" if others else "is empty"
                raise DataError(f"{classes[part][name]} {has}: every class must have at least one image")
            passed += [entry.path for entry in others]
            files += [_file(entry, part, label) for entry in images]
    if passed:
        _log.info("%d files below %s are passed over, as %s: they don't end as images do", len(passed), root, passed[0])
    return names, files


def _folders(folder: str) -> dict[str, str]:
    """The paths of the folders in a folder by their names."""
    return {entry.name: entry.path for entry in _entries(folder) if os.path.isdir(entry)}


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with readable(folder, "use another folder"), os.scandir(folder) as scan:
        return sorted((e for e in scan if not e.name.startswith(".")), key=lambda e: e.name)


def _file(entry: os.DirEntry[str], part: str, label: int) -> _File:
    with readable(entry.path):
        about = entry.stat()
    # Opening anything else, such as a pipe, could wait for ever.
    if not stat.S_ISREG(about.st_mode):
        raise DataError(f"{entry.path} is not a file: the folder of a class holds images and nothing else")
    if about.st_size > LARGEST:
        raise DataError(f"{entry.path} is larger than any image, {LARGEST >> 20} MiB: remove it")
    return _File(entry.path, part, label, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
