"""One driver a sweep: a file lock that the operating system gives back however the driver ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ATTEMPTS = 3


class Locked(RuntimeError):
    """Another driver has the sweep: one line, with its process."""


@contextmanager
def driver_lock(file: Path) -> Iterator[None]:
    """Hold the lock in this block. Raises Locked where another process has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a+") as handle:
        # `holder` looks by taking the lock for a moment, which must not pass for a driver.
        for attempt in range(ATTEMPTS):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == ATTEMPTS - 1:
                    handle.seek(0)
                    process = handle.read().strip() or "unknown"
                    raise Locked(f"it is running already, in process {process}") from None
                time.sleep(0.1)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
        handle.truncate(0)


def holder(file: Path) -> str | None:
    """The process that has the lock, None where nobody has it."""
    if not file.exists():
        return None
    with open(file) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return handle.read().strip() or "unknown"
        return None
