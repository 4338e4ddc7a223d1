"""The head's first check: its process can write to the volume, and the image is of the version that submitted.

What is wrong is said at once, and is looked at again until it has been put right: the head then starts, and no cluster
is spent. KubeRay deletes a head that has failed with all that it said, and makes another one without end, so that a
check that failed at once would be a new Pod every few seconds that nobody can read. After HOLD_SECONDS it does fail, so
that a Pod whose volume has been mounted anew gets its turn.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from sweeps.targets.kubernetes.environment import SHARED

HOLD_SECONDS, PAUSE_SECONDS = 120.0, 5.0


def main() -> int:
    """0 when all is well; 1 where it is not after HOLD_SECONDS, each problem having been said in one line."""
    end, told = time.monotonic() + HOLD_SECONDS, ""
    while problem := wrong_version() or wrong_volume(Path(SHARED)):
        if problem != told:
            print(told := problem, file=sys.stderr, flush=True)
        if time.monotonic() > end:
            return 1
        time.sleep(PAUSE_SECONDS)
    return 0


def wrong_version() -> str:
    """Why this image is not the one for the RayJob; "" where it is, or the RayJob doesn't say."""
    image, submitted = version("gradsweep"), os.environ.get("GRADSWEEP_VERSION") or version("gradsweep")
    if image == submitted:
        return ""
    return (
        f"the image has gradsweep {image}, and the sweep was submitted by gradsweep {submitted}: name an image with "
        f"gradsweep {submitted} in pool.yaml, or submit with gradsweep {image}"
    )


def wrong_volume(folder: Path) -> str:
    """Why this process can't write to the volume mounted at `folder`; "" where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except PermissionError:
        owner, user = folder.stat(), os.geteuid()
        return (
            f"the volume at {folder} can't be written by user {user}: it belongs to user {owner.st_uid} and group "
            f"{owner.st_gid}, mode {owner.st_mode & 0o7777:04o}; give it to user {user}: chown on the NFS server, an "
            "access point of that user on EFS (neither applies the Pod's fsGroup)"
        )
    except OSError as error:
        return f"the volume at {folder} can't be written: {error.strerror}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # as PID 1 it would ignore it
    sys.exit(main())
