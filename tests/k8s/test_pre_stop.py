"""A head's end, for real: KubeRay's start command as PID 1 of its own, our entrypoint and our preStop as rendered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.targets.kubernetes.rayjob import DOCUMENTS, SHARED, render
from sweeps.targets.target import RESUME_COMMAND
from tests.k8s.containers import Container, ray_start
from tests.service.cluster import free_port
from tests.service.command import until
from tracking.ledger import Ledger
from tracking.types import Sweep

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1800)]

BIN = Path(sys.executable).parent
RESUME = "gradsweep resume entry --to k8s://gradsweep"
SPEC = """\
name: entry
question: What has it written when its head is taken away?
base: {regime: combined, data: digits, epochs: 100, batch_size: 32}
seeds: 2
arms: {plain: {alpha: 1.0}}
resources: {cpus: 1, gpus: 0, pack: 2}
"""


class Head:
    """A head with a processor, so that it needs no worker, and databases in files."""

    def __init__(self, rayjob: dict[str, Any], folder: Path, temporary: Path, shell: str) -> None:
        template = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
        rendered = template["spec"]["containers"][0]
        self.pre_stop: list[str] = rendered["lifecycle"]["preStop"]["exec"]["command"]
        self._temporary = temporary
        self.folder, self.ledger = folder, f"sqlite:///{folder}/ledger.db"
        (folder / "spec.yaml").write_text(template["metadata"]["annotations"]["gradsweep/spec"])
        (folder / "store.yaml").write_text(yaml.safe_dump({"folder": str(folder / "mnt"), "ledger": self.ledger}))
        self.entrypoint = self.here(rayjob["spec"]["entrypoint"])
        self.environment = {
            **{entry["name"]: self.here(entry["value"]) for entry in rendered["env"] if "value" in entry},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "disabled",
            "RAY_raylet_start_wait_time_s": "900",  # this machine may be busy
            "RAY_agent_register_timeout_ms": "900000",
        }
        port = free_port()
        parameters = {
            "num-cpus": 1,
            "object-store-memory": 100_000_000,
            "dashboard-host": "127.0.0.1",
            "dashboard-port": port,
            "dashboard-agent-listen-port": free_port(),
            "metrics-export-port": free_port(),
            "node-ip-address": "127.0.0.1",
            "port": free_port(),
            "ray-client-server-port": free_port(),
            "temp-dir": temporary,
        }
        *words, command = ray_start(parameters, head=True)
        self.address = f"http://127.0.0.1:{port}"
        self.container = Container([*words, shell.format(command)], self.environment, folder / "head.log")
        until(lambda: "Ray runtime started" in self.container.log.read_text())

    def here(self, text: str) -> str:
        """With the test's folders in the place of those that are mounted."""
        return text.replace(DOCUMENTS, str(self.folder)).replace(SHARED, str(self.folder / "mnt"))

    def submit(self) -> None:
        words = ["ray", "job", "submit", "--address", self.address, "--no-wait", "--submission-id", "entry-1", "--"]
        output, _ = self.container.exec([*words, *self.entrypoint.split()]).communicate(timeout=600)
        assert "submitted successfully" in output, output

    def stop_job(self) -> None:
        """What KubeRay does first when a RayJob is deleted."""
        with urllib.request.urlopen(f"{self.address}/api/jobs/entry-1/stop", data=b"{}", timeout=60) as answer:
            assert answer.status == 200

    def sweep(self) -> Sweep | None:
        """As the ledger has it."""
        if (ledger := Ledger.open(self.ledger)) is None:
            return None
        with closing(ledger):
            return next(iter(ledger.sweeps()), None)

    def epochs(self) -> int:
        """How many are recorded, of all members."""
        if (ledger := Ledger.open(self.ledger)) is None:
            return 0
        with closing(ledger):
            return sum(c.epoch + 1 for sweep in ledger.sweeps() for c in ledger.configurations(sweep))

    def output(self) -> str:
        """What the driver has printed."""
        (log,) = self._temporary.glob("session_latest/logs/job-driver-entry-1.log")
        return log.read_text()


# Bash 5.1 and newer give way to the last command of a list; PID 1 is then Ray itself. An older one stays.
SHELLS = {"PID 1 is Ray": "{}", "PID 1 is the shell": "{}; exit $?"}


@pytest.fixture(params=SHELLS)
def head(request: pytest.FixtureRequest, parts: SimpleNamespace, tmp_path: Path) -> Iterator[Head]:
    """With a driver that trains."""
    _, _, pool = parts.job("dev")
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as temporary:
        rayjob = render("entry", SPEC, pool, commands={RESUME_COMMAND: RESUME})
        started = Head(rayjob, tmp_path, Path(temporary), SHELLS[request.param])
        try:
            started.submit()
            until(lambda: started.epochs() > 0)
            yield started
        finally:
            started.container.kill()


@pytest.mark.parametrize("told", [False, True], ids=["drained", "stopped"])
def test_the_driver_ends_and_then_ray_and_pid_1(head: Head, told: bool) -> None:
    """Whether Ray has told it, as in `gradsweep stop`, or nobody has, as when a node is drained."""
    if told:
        head.stop_job()
    output, _ = (hook := head.container.exec(head.pre_stop)).communicate(timeout=600)
    assert (hook.returncode, output) == (0, "")
    # Nobody but the driver has written that, and it had the time for its last line.
    sweep = head.sweep()
    assert sweep and (sweep.status, sweep.note) == ("killed", "Interrupted; it can be resumed.")
    assert head.output().splitlines()[-1] == f"Interrupted. To continue: {RESUME}"
    # PID 1 doesn't wait for the kubelet's SIGTERM.
    head.container.wait()
    assert head.container.processes() == []

    before = head.epochs()
    words = [*head.entrypoint.split(), "--executor", "in-process"]
    done = subprocess.run([str(BIN / words[0]), *words[1:]], env=head.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 < before < head.epochs() == 101


def test_without_it_nobody_tells_the_driver(head: Head) -> None:
    """What the kubelet alone does."""
    head.container.terminate()
    if head.container.first.name() == "bash":
        assert not head.container.catches(signal.SIGTERM)
        head.container.kill()
    head.container.wait()
    sweep = head.sweep()
    assert sweep and sweep.status == "running"
