"""`folder:PATH`: images in any form of `FORMS`, found out by looking, decoded once into the cache.

The decoded arrays are kept under the sha256 of what they were decoded from, so data that were moved, copied or touched
are read but not decoded again; an index from a quick fingerprint (paths, sizes, times) to that key spares the reading
too. CIFAR-10 as 60,000 JPEG files: 7 s of processor time the first time, 0.35 s from then on, on Zen 4 cores.
"""

from __future__ import annotations

import logging
import os
import shlex
import time

from trainers.data import Images, cache, say
from trainers.data.dataset import Dataset, assemble
from trainers.data.forms import Form, cifar, idx, key_of, parquet, tree
from trainers.data.forms.unread import recognised
from trainers.data.forms.walk import folders
from trainers.data.images import readable
from trainers.errors import DataError

FORMS: tuple[Form, ...] = (tree.PARTED, cifar.PYTHON, cifar.BINARY, idx.FORM, parquet.FORM, tree.UNDIVIDED)
RIGHT = f"folder:PATH is one of: {'; '.join(form.words for form in FORMS)}"

_log = logging.getLogger("gradsweep")


def load_folder(path: str) -> Dataset:
    """The images at a path; raises DataError where they are of none of the forms, or broken."""
    name = f"folder:{path}"
    root, form = _form_at(path)
    say(f"{name}: {form.words}")
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
        say(f"folder:{path}: {form.words}")
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
        if why := _almost(root):
            raise DataError(f"folder:{path}: {why}")
        for name, place in folders(root).items() if os.path.isdir(root) else ():
            if _is_readable_form(place):
                raise DataError(f"folder:{path}: no images in {root} itself: use folder:{os.path.join(path, name)}")
        if what := recognised(root):
            raise DataError(f"folder:{path}: {what}")
    raise DataError(f"folder:{path}: {_missing(root)}: {RIGHT}")


def _form_of(root: str) -> Form | None:
    return next((form for form in FORMS if form.is_at(root)), None)


def _is_readable_form(root: str) -> bool:
    try:
        return _form_of(root) is not None
    except DataError:
        return False


def _almost(root: str) -> str:
    """What a tree lacks of which one part is as it should be, and the way to use it; "" for anything else."""
    if not os.path.isdir(root):
        return ""
    parts = tree.parts_of(root)
    if parts["test"] and (train := next(filter(folders, parts["train"]), "")):
        return (
            f"{' and '.join(parts['test'])} must have a folder for each class of {train}; "
            f"or use folder:{train}, and a fifth of each class is held out as the test split"
        )
    if parts["test"]:
        return f"there is no folder {os.path.join(root, 'train')}" if not parts["train"] else ""
    if not parts["train"]:
        like = {word: [path for name, path in folders(root).items() if word in name.lower()] for word in parts}
        if all(len(paths) == 1 for paths in like.values()):
            links = " && ".join(f"ln -s {shlex.quote(path)} images/{word}" for word, (path,) in like.items())
            return (
                f"the folders {like['train'][0]} and {like['test'][0]} must be named train and test; "
                f"link them under these names, then use folder:images: mkdir images && {links}"
            )
    return ""


def _missing(root: str) -> str:
    """What is known about a path at which nothing is recognised."""
    if not os.path.isdir(root):
        return f"{root} is a file of another kind"
    if all(parts := list(tree.parts_of(root).values())):
        places = " and ".join(place for part in parts for place in part)
        return f"{places} have no classes; each must have a folder for each class"
    return f"no images in the folders of {root}"
