"""`folder:PATH`: images in any form of `FORMS`, found out by looking, decoded once into the cache.

The decoded arrays are kept under the sha256 of what they were decoded from, so data that were moved, copied or touched
are read but not decoded again; an index from a quick fingerprint (paths, sizes, times) to that key spares the reading
too. CIFAR-10 as 60,000 JPEG files: 7 s of processor time the first time, 0.35 s from then on, on Zen 4 cores.
"""

from __future__ import annotations

import logging
import os
import time

from trainers.data import Images, cache
from trainers.data.dataset import Dataset, assemble
from trainers.data.forms import Form, cifar, idx, key_of, parquet, tree
from trainers.data.images import readable
from trainers.errors import DataError

FORMS: tuple[Form, ...] = (tree.FORM, cifar.PYTHON, cifar.BINARY, idx.FORM, parquet.FORM)
RIGHT = f"folder:PATH is one of: {'; '.join(form.words for form in FORMS)}"

_log = logging.getLogger("gradsweep")


def load_folder(path: str) -> Dataset:
    """The images at a path; raises DataError where they are of none of the forms, or broken."""
    name = f"folder:{path}"
    root, form = _form_at(path)
    _log.info("%s: %s", name, form.words)
    opened = form.open(root)
    fingerprint = key_of(root, *opened.seen)
    if (key := cache.recall("folders", fingerprint)) and (kept := cache.read(key, name)):
        return kept
    began = time.perf_counter()
    _log.info("reading the images of %s", root)
    dataset = cache.read(key := opened.key(), name)
    if dataset is None:
        key, (classes, train, test) = opened.read()
        if len(train) < (2 if test else 3):
            raise DataError(f"{root} has only {len(train)} images for training: that is too few")
        if test is None:
            _log.info("%s has no test part: a fifth of its images, always the same, is the test split", root)
        dataset = cache.write(key, assemble(name, classes, train, test))
    try:
        cache.remember("folders", fingerprint, key)
    except DataError as e:  # the data are there; without the note only the files are read again
        _log.warning("the images of %s will be read again next time: %s", root, e)
    seconds = time.perf_counter() - began
    _log.info("the images of %s are in %s after %.1f s", root, cache.cache_folder(), seconds)
    return dataset


def count_folder(path: str) -> Images:
    """About how many images are at a path, none of them decoded; zeros for what can't be read."""
    try:
        root, form = _form_at(path)
        _log.info("folder:%s: %s", path, form.words)
        return form.count(root)
    except (DataError, OSError):
        return Images(0, 0, 0, 0)


def _form_at(path: str) -> tuple[str, Form]:
    """The real path, and the form of what is there."""
    try:
        root = os.path.realpath(os.path.expanduser(path))
    except ValueError as e:  # a zero byte
        raise DataError(f"folder:{path!r} is not a folder's name ({e}): {RIGHT}") from None
    if not path or not os.path.exists(root):
        raise DataError(f"folder:{path}: there is no folder {root}: {RIGHT}")
    with readable(root, "use another folder"):
        if form := _form_of(root):
            return root, form
        names = sorted(os.listdir(root)) if os.path.isdir(root) else []
        folders = [name for name in names if os.path.isdir(os.path.join(root, name)) and not name.startswith(".")]
        for name in folders:
            if os.access(os.path.join(root, name), os.R_OK) and _form_of(os.path.join(root, name)):
                raise DataError(f"folder:{path}: no images in {root} itself: use folder:{os.path.join(path, name)}")
    raise DataError(f"folder:{path}: {_missing(root, folders, names)}: {RIGHT}")


def _form_of(root: str) -> Form | None:
    return next((form for form in FORMS if form.is_at(root)), None)


def _missing(root: str, folders: list[str], names: list[str]) -> str:
    """What is known about a path that is of no form."""
    if not os.path.isdir(root):
        return f"{root} is a file of another kind; if it is an archive, unpack it and name the folder"
    if "trainLabels.csv" in names:
        return f"{root} has its labels in trainLabels.csv; move each image into a folder of its class"
    parts = tree.parts_of(root)
    if not any(parts.values()) and len(folders) > 1:
        few = f"{', '.join(folders[:3])}{', ...' * (len(folders) > 3)}"
        return f"{root} has neither train nor test; if {few} are classes, share out their images between such folders"
    for part, place in parts.items():
        if place is None:
            return f"there is no folder {os.path.join(root, part)}"
    return f"{' or '.join(map(str, parts.values()))} has no classes; each must have a folder for each class"
