"""The folder of a Ray that a driver starts for itself: its sockets, logs and spilled objects.

Ray makes one in the temporary folder, writable by everybody, and leaves it there. Here it is in a folder of this
user's alone that goes with the driver; that of a driver which was killed goes with the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "gradsweep-ray-"


@contextmanager
def session_folder(parent: Path) -> Iterator[Path]:
    """A folder for Ray that is gone afterwards. Its name is short: Ray's sockets have at most 107 characters."""
    _remove_dead(parent)
    folder, descriptor = _locked(parent)
    try:
        yield folder / "r"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
        # Again: the processes of a killed driver's Ray take a moment to follow it.
        _remove_dead(parent)


def _locked(parent: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.exists():  # and not taken for a dead one before it was locked
            return folder, descriptor
        os.close(descriptor)


def _remove_dead(parent: Path) -> None:
    """Remove the folders whose drivers are no more; those of other users can't be opened, and stay."""
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # alive
            pass
        finally:
            os.close(descriptor)
