"""A real Ray cluster on this machine: its own ports and folders, its processes ended one by one.

Its Python has what ours has but for gradsweep itself: a plain Ray with our dependencies, as a cluster that was not made
for us.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from tests.service.command import until

PATIENCE = 600.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_python(folder: Path) -> Path:
    """A Python that has every package of ours, and not gradsweep: the `bin` folder."""
    packages = folder / "packages"
    packages.mkdir()
    for found in (p for entry in sys.path if entry.endswith("site-packages") for p in Path(entry).iterdir()):
        if "gradsweep" not in found.name and not (packages / found.name).exists():
            (packages / found.name).symlink_to(found)
    home = folder / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (inside,) = home.glob("lib/python*/site-packages")
    (inside / "packages.pth").write_text(f"{packages}\n")
    return home / "bin"


class Cluster:
    """A head and its nodes.

    >>> cluster = Cluster(bin, folder, cpus=1)
    >>> cluster.join(cpus=1)
    >>> cluster.address
    'http://127.0.0.1:41234'
    """

    def __init__(
        self, bin: Path, folder: Path, environment: Mapping[str, str] | None = None, **resources: float
    ) -> None:
        self._bin = bin
        # Not in the test's own folder, whose name is too long for a socket's.
        self._temporary = tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self._logs = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._numbers = count()
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "GRADSWEEP_", "MLFLOW_"))}
        self._environment = clean | {
            "PATH": f"{bin}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "disabled",
            "RAY_raylet_start_wait_time_s": "900",  # a machine may be busy with other tests
            "RAY_USAGE_STATS_ENABLED": "0",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "GRADSWEEP_CACHE": str(folder / "cache"),
            **(environment or {}),
        }
        self.gcs = free_port()
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        words = ["--head", f"--port={self.gcs}", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"]
        words += [f"--ray-client-server-port={free_port()}"]
        self._start(words, resources)

    def join(self, within: Sequence[str] = (), **resources: float) -> subprocess.Popen[bytes]:
        """A further node; `within` is a command that starts another one."""
        return self._start([f"--address=127.0.0.1:{self.gcs}"], resources, within)

    def nodes(self) -> int:
        """How many nodes are alive, as far as the head knows; without a token."""
        return sum(node["state"] == "ALIVE" for node in self.get("/api/v0/nodes")["data"]["result"]["result"])

    @property
    def head(self) -> subprocess.Popen[bytes]:
        """The process that the head's others hang on."""
        return self._processes[0]

    def kill(self, node: subprocess.Popen[bytes], noticed: bool = True) -> None:
        """SIGKILL of a node with all of its processes; back when the cluster has noticed, where there still is one."""
        noticed = noticed and node is not self.head
        alive = self.nodes() if noticed else 0
        found = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        for process in found:
            # Some end by themselves as soon as their parent is gone.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()
        psutil.wait_procs(found, timeout=30)
        self._processes.remove(node)
        if noticed:
            until(lambda: self.nodes() < alive)

    def close(self) -> None:
        """End all of it."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._temporary.cleanup()

    def _start(
        self, words: list[str], resources: Mapping[str, float], within: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        # A folder of its own, as on a machine of its own: two that share one take away each other's code.
        number = next(self._numbers)
        words = [*words, f"--temp-dir={self.folder}/{number}"]
        sizes = [f"--num-{name}={size:g}" for name, size in {"gpus": 0, **resources}.items()]
        words = [*words, *sizes, "--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
        words += [
            f"--dashboard-agent-listen-port={free_port()}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--disable-usage-stats",
            "--block",
        ]
        said = self._logs / f"ray-{number}.log"
        with said.open("ab") as log:
            process = subprocess.Popen(
                [*within, str(self._bin / "python"), "-m", "ray.scripts.scripts", "start", *words],
                cwd=self._logs,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        end = time.monotonic() + PATIENCE
        while "Ray runtime started" not in said.read_text():
            if time.monotonic() > end or process.poll() is not None:
                self.close()
                raise AssertionError(said.read_text()[-3000:])
            time.sleep(0.1)
        return process

    def get(self, path: str) -> Any:
        """What the dashboard answers, where no token is asked for."""
        with urllib.request.urlopen(self.address + path, timeout=10) as answer:
            return json.load(answer)
