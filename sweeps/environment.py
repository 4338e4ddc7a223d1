"""What this process has been given to run in: variables, a Ray cluster, processors, memory, processes."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from trainers.errors import RequestError

CGROUPS = Path("/sys/fs/cgroup")

# Set for a driver in a Pod: how long it has from a signal to its end, and how long it waits for MLflow once it is
# through. What MLflow lacks then, a `gradsweep sync --all` that runs from time to time delivers.
STOP_SECONDS, MIRROR_SECONDS = "GRADSWEEP_STOP_SECONDS", "GRADSWEEP_MIRROR_SECONDS"


@contextmanager
def environment(settings: Mapping[str, str | None]) -> Iterator[None]:
    """`os.environ` with these settings, None removing one; afterwards each is what it was before."""
    former = {name: os.environ.get(name) for name in settings}
    _apply(settings)
    try:
        yield
    finally:
        _apply(former)


def _apply(settings: Mapping[str, str | None]) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def seconds_of(variable: str, default: float) -> float:
    """The seconds that a variable says, or the default where it is unset or empty. Raises RequestError."""
    text = os.environ.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise RequestError(f"{variable}: must be a number of seconds, but got {text!r}")
    return seconds


def ray_address() -> str:
    """The Ray cluster that RAY_ADDRESS names; "" where Ray is started here: unset, empty, or Ray's own word "local"."""
    address = os.environ.get("RAY_ADDRESS", "")
    return "" if address == "local" else address


def cores() -> int:
    """How many processors this process may use: its affinity and its cgroup's quota count, see `joblib.cpu_count`."""
    import joblib

    return int(joblib.cpu_count())


def memory() -> int:
    """How many bytes of memory this process may use: the machine's, or its cgroup's limit, of version 1 or 2."""
    bytes_ = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in (CGROUPS / "memory.max", CGROUPS / "memory" / "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # ValueError: "max"
            bytes_.append(int(file.read_text()))
    return min(bytes_)


def processes_left() -> int | None:
    """How many processes and threads may still be started here, None where nothing limits them.

    Counted against `ulimit -u`, which root is free of, and against the cgroup's `pids.max`, of version 1 or 2.
    """
    left = []
    allowed, user = resource.getrlimit(resource.RLIMIT_NPROC)[0], os.getuid()
    if user and allowed != resource.RLIM_INFINITY:
        left.append(allowed - _threads_of(user))
    for folder in (CGROUPS, CGROUPS / "pids"):
        with suppress(OSError, ValueError):  # ValueError: "max"
            most, current = (int((folder / f"pids.{what}").read_text()) for what in ("max", "current"))
            left.append(most - current)
    return min(left, default=None)


def _threads_of(user: int) -> int:
    threads = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if process.stat().st_uid == user:
                threads += len(os.listdir(process / "task"))
    return threads
