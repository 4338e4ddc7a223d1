"""The submitter's liveness: it listens to the head that there is.

    python -m sweeps.targets.kubernetes.in_pod.same_head

A head whose node is lost closes no connection. KubeRay's submitter would wait for its words for ever, and nobody would
submit the driver to the new head. Here that is a failure: the kubelet ends the submitter, and its Job starts another.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

ESTABLISHED = "01"  # in /proc/net/tcp, see proc(5)


def main() -> int:
    """1 after a line that says so, where the submitter's connections all lead to what is the head no more."""
    host, _, port = os.environ["RAY_DASHBOARD_ADDRESS"].removeprefix("http://").rpartition(":")
    connected = _connected(int(port))
    try:
        heads = {address[0] for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:  # there is none now, so none to submit to
        return 0
    if not connected or connected & heads:
        return 0
    print(f"listens to {', '.join(connected)}, and the head is {', '.join(map(str, heads))}", file=sys.stderr)
    return 1


def _connected(port: int) -> set[str]:
    """The addresses to which this Pod has connections, at that port."""
    addresses = set()
    for file in Path("/proc/net").glob("tcp*"):  # tcp6 is not there where nothing has an IPv6 address
        for _, _, remote, state, *_ in (line.split() for line in file.read_text().splitlines()[1:]):
            address, _, at = remote.partition(":")
            if state == ESTABLISHED and int(at, 16) == port:
                # Words of four bytes, the last byte first.
                packed = b"".join(bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8))
                addresses.add(socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed))
    return addresses


if __name__ == "__main__":
    sys.exit(main())
