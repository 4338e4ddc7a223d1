"""Files that are either whole or absent, and survive a power failure: written under another name, then renamed."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A new file to be written, which takes its target's place at the end; what fails before leaves that as it was."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    new = Path(name)
    try:
        os.close(handle)
        yield new
        synchronize(new)
        # As `open` would have made it; mkstemp lets nobody else read it.
        os.umask(umask := os.umask(0o077))
        new.chmod(0o666 & ~umask)
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)


def synchronize(file: Path) -> None:
    """Write a file's content through to the disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """No other process or thread is in this block for the same folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
