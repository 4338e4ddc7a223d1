"""The preStop of heads and workers: the driver ends, then Ray in this container, and PID 1 with it.

The kubelet sends SIGTERM to PID 1 alone. That is the shell in which KubeRay starts Ray, which ignores it until it is
killed, or Ray itself (bash 5.1 and newer), which waits 30 s for whatever runs here. Nobody tells the driver, except
`gradsweep stop`, through Ray; from a node that is drained it would be gone without a word.

A head ends as in a crash: KubeRay's submitter then fails, and submits the driver again as soon as there is a new head.
Had Ray closed its connections, the submitter would have ended well, and the RayJob would have lost its cluster, one of
its `retries`. A worker leaves Ray's list of nodes before it ends, so that its pack continues elsewhere at once.

1.0 s on a head without a driver, 2.2 s on a worker (two busy cores).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

DRIVER_SECONDS = 35.0  # Ray itself kills a driver 30 s after SIGTERM (RAY_JOB_STOP_WAIT_TIME_S)


def main() -> int:
    """Return when Ray is about to end: PID 1 is gone within two seconds. 1, and nothing done, where it is not Ray's."""
    running = dict(_processes())
    if "ray start" not in " ".join(running.get(1, [])):
        print(f"PID 1 does not run Ray here: {' '.join(running.get(1, ['not to be seen']))}", file=sys.stderr)
        return 1
    _end([process for process, words in running.items() if _is_driver(words)])
    running = dict(_processes())
    starters = {process: words for process, words in running.items() if _starts_ray(words)}
    if any("--head" in words for words in starters.values()):
        # `ray start` ends when the others are gone. At a SIGTERM it would let them close their connections.
        for process in running.keys() - starters - {1, os.getpid()}:
            _send(process, signal.SIGKILL)
    else:
        for process in starters:
            _send(process, signal.SIGTERM)
    return 0


def _processes() -> Iterator[tuple[int, Sequence[str]]]:
    """The processes that this container sees, with their command lines, as words."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            words = (folder / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
            yield int(folder.name), words


def _is_driver(words: Sequence[str]) -> bool:
    """Whether it is `gradsweep run`, started by whatever Python; a shell has its command as one word."""
    return ("gradsweep", "run") in pairwise(Path(word).name for word in words)


def _starts_ray(words: Sequence[str]) -> bool:
    """Whether it is `ray start --block`, which watches over the others of Ray's processes."""
    return "--block" in words and ("ray", "start") in pairwise(Path(word).name for word in words)


def _end(drivers: Sequence[int]) -> None:
    """SIGTERM to the drivers, and return when they have ended, DRIVER_SECONDS later at most.

    One that Ray has told already takes no notice: for a driver a second SIGTERM says nothing new.
    """
    ended = []
    for process in drivers:
        with suppress(ProcessLookupError):
            ended.append(os.pidfd_open(process))  # can be read when it has ended
            _send(process, signal.SIGTERM)
    end = time.monotonic() + DRIVER_SECONDS
    for descriptor in ended:
        select.select([descriptor], [], [], max(0.0, end - time.monotonic()))


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


if __name__ == "__main__":
    sys.exit(main())
