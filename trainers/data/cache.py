"""Decoded data sets on disk: written once under a name that says what they hold, then mapped by every process.

    <cache>/arrays/<key>/{train,validation,test}-{images,labels}.npy and dataset.json
    <cache>/folders/<fingerprint>     the key that belongs to a folder as it was when it was last read

<cache> is $GRADSWEEP_CACHE, else $XDG_CACHE_HOME/gradsweep, else ~/.cache/gradsweep. Everything is written under a
temporary name and then renamed, so that of several processes the first one wins and no one sees half a data set.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainers.data.dataset import Dataset, Split
from trainers.errors import DataError

SPLITS = ("train", "validation", "test")


def cache_folder() -> Path:
    """Where decoded data are kept; it need not exist yet. Raises DataError for ~nobody."""
    own, shared = os.environ.get("GRADSWEEP_CACHE"), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(own or f"{shared}/gradsweep").expanduser().absolute()
    except RuntimeError as e:
        raise DataError(f"the cache can't be in {own or shared!r} ({e}): set GRADSWEEP_CACHE to a folder") from None


def read(key: str, name: str) -> Dataset | None:
    """The data set kept under `key`, mapped from its files and called `name`; None where none or a damaged one is."""
    return _read(_place(key), name)


def _read(place: Path, name: str) -> Dataset | None:
    try:
        about = json.loads((place / "dataset.json").read_text())
        train, validation, test = (
            Split(*(np.load(place / f"{split}-{what}.npy", mmap_mode="r") for what in ("images", "labels")))
            for split in SPLITS
        )
        return Dataset(name, tuple(about["classes"]), train, validation, test, about["digest"])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def write(key: str, dataset: Dataset) -> Dataset:
    """Keep a data set under `key`, and give it back as mapped from there; raises DataError where that can't be done."""
    place = _place(key)
    with writing():
        temporary = _beside(place)
        temporary.mkdir(parents=True)
        try:
            for name in SPLITS:
                split: Split = getattr(dataset, name)
                _save(temporary / f"{name}-images.npy", split.images)
                _save(temporary / f"{name}-labels.npy", split.labels)
            about = {"classes": dataset.classes, "digest": dataset.digest}
            (temporary / "dataset.json").write_text(json.dumps(about))
            # Mapped before it is renamed: it stays readable whatever others do to the place afterwards.
            ours = _read(temporary, dataset.name)
            if ours is None:
                raise DataError(f"the cache {cache_folder()} was changed while it was written: try again")
            while True:
                try:
                    temporary.rename(place)
                    return ours
                except OSError as e:
                    if e.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
                if kept := read(key, dataset.name):  # another process was faster
                    return kept
                # A damaged one goes in one step, by another name: file by file it would be half a set for a while.
                aside = _beside(place)
                with suppress(FileNotFoundError):  # another process has done it
                    place.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def recall(fingerprint: str) -> str | None:
    """The key that `remember` noted for a folder's fingerprint, or None."""
    try:
        return (cache_folder() / "folders" / fingerprint).read_text()
    except (OSError, ValueError):
        return None


def remember(fingerprint: str, key: str) -> None:
    """Note which key a folder's fingerprint belongs to; raises DataError where that can't be done."""
    place = cache_folder() / "folders" / fingerprint
    with writing():
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(place)
        try:
            temporary.write_text(key)
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing() -> Iterator[None]:
    """Turns what goes wrong while the cache is written into a DataError."""
    try:
        yield
    except OSError as e:
        raise DataError(
            f"the cache {cache_folder()} can't be written ({e.strerror or e}): "
            "make room there, or set GRADSWEEP_CACHE to a folder with room that may be written to"
        ) from e


def _place(key: str) -> Path:
    return cache_folder() / "arrays" / key


def _beside(place: Path) -> Path:
    """A name in the same folder that no other process has."""
    return place.with_name(f".{place.name}.{uuid.uuid4().hex}")


def _save(path: Path, array: NDArray[np.generic]) -> None:
    """Like np.save, but a full disk is an error that says so, and the bytes are on the disk when it returns."""
    array = np.ascontiguousarray(array)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
        file.flush()
        os.fsync(file.fileno())
