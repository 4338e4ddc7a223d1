"""Decoded data sets on disk: written once under a name that says what they hold, then mapped by every process.

    <cache>/arrays/<key>/{train,validation,test}-{images,labels}.npy and dataset.json
    <cache>/folders/<fingerprint>     the key that belongs to a folder as it was when it was last read

<cache> is $GRADSWEEP_CACHE, else $XDG_CACHE_HOME/gradsweep, else ~/.cache/gradsweep; without a home that can be written
to, it is $TMPDIR/gradsweep-cache-<user>. One process at a time writes a data set, and its dataset.json last: of several
the first one wins, and no one sees half a set.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from trainers.data.dataset import Dataset, Split
from trainers.errors import DataError
from trainers.files import replaced

CACHE = Path(".cache/gradsweep")
SPLITS = ("train", "validation", "test")


def cache_folder() -> Path:
    """Where decoded data are kept; it need not exist yet. Raises DataError for ~nobody, and where there is no place."""
    return _places()[0]


def read(key: str, name: str) -> Dataset | None:
    """The data set kept under `key`, mapped from its files and called `name`; None where none or a damaged one is."""
    return next(filter(None, (_read(place / "arrays" / key, name) for place in _places())), None)


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
    place = cache_folder() / "arrays" / key
    with alone(cache_folder()):
        if kept := read(key, dataset.name):  # another process was faster
            return kept
        shutil.rmtree(place, ignore_errors=True)  # a damaged one; who has mapped it can still read it
        try:
            place.mkdir(parents=True)
            for name in SPLITS:
                split: Split = getattr(dataset, name)
                _save(place / f"{name}-images.npy", split.images)
                _save(place / f"{name}-labels.npy", split.labels)
            about = {"classes": dataset.classes, "digest": dataset.digest}
            (place / "dataset.json").write_text(json.dumps(about))
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        kept = read(key, dataset.name)
    if kept is None:
        raise DataError(f"the cache {cache_folder()} was changed while it was written: try again")
    return kept


def recall(kind: str, name: str) -> str | None:
    """The text that was noted under that name, or None."""
    for place in _places():
        with suppress(OSError, ValueError):
            return (place / kind / name).read_text()
    return None


def remember(kind: str, name: str, text: str) -> None:
    """Note a text under a name; raises DataError where that can't be done."""
    note = cache_folder() / kind / name
    with _writing():
        note.parent.mkdir(parents=True, exist_ok=True)
        with replaced(note) as new:
            new.write_text(text)


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder in the cache, gone after this block; what can't be written is a DataError."""
    with _writing():
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            yield Path(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process of the machine is in this block for the same folder; what can't be written is a DataError."""
    with _writing(), FileLock(folder / "lock"):
        yield


def _places() -> list[Path]:
    """Where the cache is, first the one that is written to: a home that can only be read may hold data all the same."""
    own, shared = os.environ.get("GRADSWEEP_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own or shared:
        try:
            return [Path(own or f"{shared}/gradsweep").expanduser().absolute()]
        except RuntimeError as e:
            raise DataError(f"the cache can't be in {own or shared!r} ({e}): set GRADSWEEP_CACHE to a folder") from None
    home = _home()
    if home and _is_writable(home):
        return [home / CACHE]
    places = [place for place in (_temporary(), home and home / CACHE) if place]
    if not places:
        raise DataError("there is no home and no temporary folder for the cache: set GRADSWEEP_CACHE to a folder")
    return places


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # HOME is not set, and the user is in no list
        return None


def _is_writable(home: Path) -> bool:
    """Whether the cache can be made in a home that is there."""
    folders = [home / CACHE, *(home / CACHE).parents]
    nearest = next(folder for folder in folders if os.path.exists(folder))
    by_effective_ids = os.access in os.supports_effective_ids
    return home.is_dir() and os.access(nearest, os.W_OK | os.X_OK, effective_ids=by_effective_ids)


def _temporary() -> Path | None:
    """A folder of this user's among the temporary ones; None where it can't be made or others can write to it."""
    try:
        place = Path(tempfile.gettempdir(), f"gradsweep-cache-{os.geteuid()}")
        place.mkdir(mode=0o700, exist_ok=True)
        about = place.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022
    return place if is_ours else None


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise DataError(
            f"the cache {cache_folder()} can't be written ({e.strerror or e}): "
            "make room there, or set GRADSWEEP_CACHE to a folder with room that may be written to"
        ) from e


def _save(path: Path, array: NDArray[np.generic]) -> None:
    """Like np.save, but a full disk is an error that says so, and the bytes are on the disk when it returns."""
    array = np.ascontiguousarray(array)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
        file.flush()
        os.fsync(file.fileno())
