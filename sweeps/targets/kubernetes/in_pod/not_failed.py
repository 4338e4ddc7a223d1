"""The submitter's first check: no driver comes up in a RayJob that has ended.

    python -m sweeps.targets.kubernetes.in_pod.not_failed alpha-r

A head that is away for too long ends the RayJob for good, while a new submitter waits for the new head already; once
that came up, a driver would run that nobody knows of. So this one waits for the head, asking the API server all the
time what has become of the RayJob, and ends well only when there is a head and the RayJob still goes on.

Where the API server doesn't answer for API_SECONDS, or refuses, no driver is started either: Kubernetes starts two more
submitters, and then KubeRay a fresh cluster. It has just started this Pod, so what is wrong is likely to be the
namespace's network policy or its rights, which is better seen than left for the day when a RayJob fails.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from sweeps.targets.kubernetes.client import Namespace
from trainers.errors import FAILED, TargetError, flat

NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
ENDED = ("Complete", "Failed", "ValidationFailed")  # KubeRay's JobDeploymentStatus
API_SECONDS, PAUSE_SECONDS, CONNECT_SECONDS = 60.0, 2.0, 5.0


def main(name: str) -> int:
    """0 when the head of the RayJob is there; 1 after a line that says why there must be no driver."""
    namespace, answered, told = Namespace(NAMESPACE.read_text().strip()), time.monotonic(), False
    while True:
        try:
            rayjob = namespace.rayjob(name)
        except TargetError as error:
            if error.exit_code != FAILED or time.monotonic() - answered > API_SECONDS:
                return _refuse(str(error))
        else:
            answered, status = time.monotonic(), rayjob.get("status") or {}
            if rayjob["metadata"].get("deletionTimestamp"):
                return _refuse(f"the RayJob {name} is being deleted")
            if (state := status.get("jobDeploymentStatus")) in ENDED:
                reason = flat(f"{status.get('reason', '')}: {status.get('message', '')}").strip(": ")
                return _refuse(f"the RayJob {name} is {state}" + (f" ({reason})" if reason else ""))
            if _answers(status.get("dashboardURL") or ""):
                return 0
            if not told:
                told = True
                print(f"waiting for the head of the RayJob {name}", flush=True)
        time.sleep(PAUSE_SECONDS)


def _answers(dashboard: str) -> bool:
    """Whether something listens at the dashboard's HOST:PORT, which may be "" as long as there has been none."""
    where = urlsplit(f"//{dashboard.removeprefix('http://')}")
    if not where.hostname:
        return False
    try:
        socket.create_connection((where.hostname, where.port or 80), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _refuse(why: str) -> int:
    print(f"no driver is started: {why}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # as PID 1 it would ignore it
    sys.exit(main(sys.argv[1]))
