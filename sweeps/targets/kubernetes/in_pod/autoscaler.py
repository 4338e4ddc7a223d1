"""Ray's autoscaler, started again when it has ended, and gone at SIGTERM.

    python -m sweeps.targets.kubernetes.in_pod.autoscaler "ray kuberay-autoscaler --cluster-name ..."

The argument is KubeRay's own command for the container. There it would be PID 1, for which SIGTERM does nothing: a head
that is deleted, Ray long gone, would stay for its whole grace period, and the next head waits for that. Nor does
anybody start it again: with the autoscaler v2 KubeRay has `restartPolicy: Never` for the whole Pod.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time

PAUSE_SECONDS = 5.0


def main(command: str) -> None:
    """Run the command again and again, until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    while True:
        with subprocess.Popen(shlex.split(command)) as autoscaler:
            try:
                status = autoscaler.wait()
            finally:
                autoscaler.kill()
        print(f"the autoscaler has ended with status {status}; it is started again", file=sys.stderr, flush=True)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
