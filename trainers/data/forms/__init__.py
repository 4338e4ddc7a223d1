"""The forms in which people keep images, one file a kind; `trainers.data.folder` asks them in turn.

A form finds out whether it is at a path, counts without decoding, and opens: it then knows what its files looked like,
the key of what is in them, and how to read them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainers.data import Images
from trainers.data.dataset import Split, test_count, validation_count
from trainers.data.images import readable
from trainers.errors import DataError

# What the two parts are called, the first that is there: ImageNet's `val` is for tests, as its `test` has no labels.
PARTS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
# Part of every key and fingerprint: to be raised when the same files are to give other arrays.
FORMAT = 1


class Contents(NamedTuple):
    """What was read; without a `test` part a fifth of `train` becomes it."""

    classes: tuple[str, ...]
    train: Split
    test: Split | None


class Opened(NamedTuple):
    """Data of a known form, of which nothing has been decoded yet.

    `seen` is plain data that change with the files' names, sizes and times. `key` stands for their content, and `read`
    gives it too, of the very bytes that were decoded; both raise DataError.
    """

    seen: Sequence[object]
    key: Callable[[], str]
    read: Callable[[], tuple[str, Contents]]


@dataclass(frozen=True)
class Form:
    """One form: what it is in words, and what can be done with a real path at which there is something.

    `open` raises DataError for data that are not as they should be.
    """

    words: str
    is_at: Callable[[str], bool]
    count: Callable[[str], Images]
    open: Callable[[str], Opened]


def key_of(*plain: object) -> str:
    """The sha256, hex, of plain data and FORMAT."""
    return hashlib.sha256(json.dumps([FORMAT, *plain]).encode()).hexdigest()


def counted(train: int, test: int | None, classes: int) -> Images:
    """How many images each split will have, of so many in each part; without a test part a fifth is split off."""
    if test is None:
        test = test_count(train)
        train -= test
    validation = validation_count(train)
    return Images(train - validation, validation, test, classes)


def of_files(kind: object, paths: Sequence[str], decode: Callable[[], Contents]) -> Opened:
    """A few files that are read whole; a change while they are read is a DataError.

    `kind` is plain data: all that decides, besides the content, what is decoded.
    """

    def look() -> list[tuple[str, int, int, int]]:
        seen = []
        for path in paths:
            with readable(path):
                about = os.stat(path)
            seen.append((path, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
        return seen

    def key() -> str:
        digests = []
        for path in paths:
            with readable(path), open(path, "rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        return key_of(kind, digests)

    def read() -> tuple[str, Contents]:
        of = key()
        contents = decode()
        if look() != seen:
            raise DataError(f"{os.path.dirname(paths[0])} was changed while it was read: try again")
        return of, contents

    seen = look()
    return Opened([kind, seen], key, read)
