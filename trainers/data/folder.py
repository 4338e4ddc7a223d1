"""Any tree of `train/<class>/*` and `test/<class>/*` images, decoded once into the cache.

The decoded arrays are kept under the sha256 of what they were decoded from, so a tree that was moved, copied or touched
is read but not decoded again; an index from a quick fingerprint (paths, sizes, times) to that key spares the reading
too. CIFAR-10 as 60,000 JPEG files: 7 s of processor time the first time, 0.35 s from then on, on Zen 4 cores.

Classes and images are in the order of their names. Names that begin with a dot, and files beside the folders of the
classes, are passed over; links are followed only where they stay below the folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers.data import cache
from trainers.data.dataset import SIDE, Dataset, Split, assemble
from trainers.data.images import decode, in_parallel, read_file, readable
from trainers.errors import DataError

PARTS = ("train", "test")
RIGHT = "a data folder holds train/<class>/* and test/<class>/* images"
LARGEST = 1 << 28  # bytes of a file: a photograph has a hundredth of that
# Part of every key and fingerprint: to be raised when the same files are to give other arrays.
FORMAT = 1

_log = logging.getLogger("gradsweep")


class _File(NamedTuple):
    path: str
    part: str
    label: int
    size: int
    modified: int
    changed: int


def load_folder(path: str) -> Dataset:
    """The images below a folder; raises DataError for a tree that is not as said above, or an image that is broken."""
    name = f"folder:{path}"
    root, classes, files = _walk(path)
    fingerprint = _sha256([FORMAT, root, classes, files])
    if (key := cache.recall("folders", fingerprint)) and (kept := cache.read(key, name)):
        return kept
    began = time.perf_counter()
    _log.info("reading %d images below %s", len(files), root)
    key = _key(classes, files)
    dataset = cache.read(key, name)
    if dataset is None:
        images = np.empty((len(files), 3, SIDE, SIDE), np.uint8)
        # of the very bytes that are decoded, should a file have just changed
        key = _key(classes, files, images)
        labels = np.array([file.label for file in files], np.int64)
        cut = sum(file.part == "train" for file in files)
        parts = Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:])
        dataset = cache.write(key, assemble(name, classes, *parts))
    try:
        cache.remember("folders", fingerprint, key)
    except DataError as e:  # the data are there; without the note only the files are read again
        _log.warning("the images below %s will be read again next time: %s", root, e)
    seconds = time.perf_counter() - began
    _log.info("%d images below %s are in %s after %.1f s", len(files), root, cache.cache_folder(), seconds)
    return dataset


def _key(classes: tuple[str, ...], files: list[_File], images: NDArray[np.uint8] | None = None) -> str:
    """The key of what is in the files, which are also decoded into `images` where these are given."""

    def content(index: int) -> str:
        data = read_file(files[index].path)
        if images is not None:
            images[index] = decode(data, files[index].path)
        return hashlib.sha256(data).hexdigest()

    contents = zip(files, in_parallel(content, range(len(files))), strict=True)
    return _sha256([FORMAT, classes, [(file.part, file.label, digest) for file, digest in contents]])


def _sha256(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def _walk(path: str) -> tuple[str, tuple[str, ...], list[_File]]:
    """The folder's real path, the classes, and every image in its order, training part first."""
    try:
        root = os.path.realpath(os.path.expanduser(path))
    except ValueError as e:  # a zero byte
        raise DataError(f"folder:{path!r} is not a folder's name ({e}): {RIGHT}") from None
    if not path or not os.path.isdir(root):
        raise DataError(f"folder:{path}: there is no folder {root}: {RIGHT}")
    folders = _folders(root, root)
    for part in PARTS:
        if part not in folders:
            inner = [name for name, at in folders.items() if all(os.path.isdir(os.path.join(at, p)) for p in PARTS)]
            hint = f"use folder:{os.path.join(path, inner[0])}" if inner else RIGHT
            raise DataError(f"folder:{path}: there is no folder {os.path.join(root, part)}: {hint}")
    classes = {part: _folders(root, folders[part]) for part in PARTS}
    for part, twin in (PARTS, PARTS[::-1]):
        if missing := sorted(classes[part].keys() - classes[twin].keys()):
            where = os.path.join(root, twin)
            raise DataError(f"{where} lacks the classes {', '.join(missing)} of {part}: both must have the same")
    names = tuple(classes["train"])
    if len(names) < 2:
        has = f"only the class {names[0]}" if names else "no classes"
        raise DataError(f"{os.path.join(root, 'train')} has {has}: it must hold a folder for each of at least two")
    files = []
    for part in PARTS:
        for label, name in enumerate(names):
            images = _entries(root, classes[part][name])
            if not images:
                raise DataError(f"{classes[part][name]} is empty: every class must have at least one image")
            files += [_file(entry, part, label) for entry in images]
    return root, names, files


def _folders(root: str, folder: str) -> dict[str, str]:
    """The paths of the folders in a folder by their names."""
    return {entry.name: entry.path for entry in _entries(root, folder) if os.path.isdir(entry)}


def _entries(root: str, folder: str) -> list[os.DirEntry[str]]:
    with readable(folder, "use another folder"), os.scandir(folder) as scan:
        entries = sorted((e for e in scan if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in entries:
        if entry.is_symlink() and not os.path.realpath(entry.path).startswith(os.path.join(root, "")):
            raise DataError(f"{entry.path} is a link that leads out of {root}: put the files themselves there")
    return entries


def _file(entry: os.DirEntry[str], part: str, label: int) -> _File:
    with readable(entry.path):
        about = entry.stat()
    # Opening anything else, such as a pipe, could wait for ever.
    if not stat.S_ISREG(about.st_mode):
        raise DataError(f"{entry.path} is not a file: the folder of a class holds images and nothing else")
    if about.st_size > LARGEST:
        raise DataError(f"{entry.path} is larger than any image, {LARGEST >> 20} MiB: remove it")
    return _File(entry.path, part, label, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
