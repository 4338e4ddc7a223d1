"""Records without training: numbers that a test can predict, in the shape of the real ones."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from sweeps.driver.driver import epoch_of
from tracking.ledger import Ledger
from tracking.store import Store
from tracking.types import Configuration, Epoch, Sweep
from trainers.members import EpochRecord, MemberConfig

METRICS = (
    "train.loss",
    "train.accuracy",
    "validation.loss",
    "validation.accuracy",
    "test.accuracy",
    "gradient.data.rms",
    "gradient.data.vanished",
    "layer.conv1.saturated",
    "layer.conv1.dead",
    "layer.output.saturated",
    "layer.output.dead",
    "seconds",
)


def value(number: int, seed: int, epoch: int, metric: int) -> float:
    """A number of its own for each place, never exact in binary."""
    return 0.1 + number + seed / 7 + epoch / 11 + metric / 13


class Maker:
    """Writes sweeps whose every number is `value(configuration, seed, epoch, metric)`."""

    metrics = METRICS

    def members(self, number: int, seeds: Sequence[int] = (0, 1, 2)) -> list[MemberConfig]:
        return [MemberConfig(alpha=1.0 + number, seed=s, epochs=2) for s in seeds]

    def records(self, number: int, epoch: int, seeds: Sequence[int] = (0, 1, 2)) -> list[EpochRecord]:
        return [
            EpochRecord(m, epoch, "reference", {k: value(number, m.seed, epoch, i) for i, k in enumerate(METRICS)})
            for m in self.members(number, seeds)
        ]

    def begin(self, ledger: Ledger, name: str = "sweep") -> Sweep:
        return ledger.begin(
            Sweep(
                name=name,
                spec="name: sweep\n",
                question="Is it?",
                settings={"configurations": "3"},
                versions={"torch": "2.15.0"},
                digests={"digits": "abc123"},
                commit="f00",
            )
        )

    def added(self, number: int, seeds: Sequence[int] = (0, 1, 2)) -> Configuration:
        """A configuration as it is added."""
        arm = {0: "plain", 1: "paper"}.get(number, "")
        fields = {k: v for k, v in vars(self.members(number)[0]).items() if k != "seed"}
        return Configuration(
            number, arm or f"alpha={1 + number}", fields, tuple(seeds), arm=arm, parameters={"alpha": 1.0 + number}
        )

    def epoch(self, number: int, epoch: int, seeds: Sequence[int] = (0, 1, 2)) -> Epoch:
        records = self.records(number, epoch, seeds)
        return epoch_of(records, fmean(r.metrics["validation.accuracy"] for r in records))

    def configuration(
        self, ledger: Ledger, sweep: Sweep, number: int, state: str = "complete", epochs: int = 3
    ) -> None:
        added = self.added(number)
        ledger.add(sweep, [added])
        for epoch in range(epochs):
            ledger.record(sweep, {number: self.epoch(number, epoch)}, [])
        if state != "running":
            values, reason = ((0.5,), "") if state == "complete" else (None, "because")
            ledger.record(sweep, {}, [replace(added, state=state, values=values, reason=reason, order=number)])


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / "store").create()


@pytest.fixture
def ledger(store: Store) -> Iterator[Ledger]:
    created = Ledger.create(store.ledger_url)
    yield created
    created.close()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    def wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)

    return wait


class Server:
    """An `mlflow server` of our own on a free port, which may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | settings, stdout=log, stderr=log, start_new_session=True, cwd=self._folder
            )
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError((self._folder / "server.log").read_text()[-2000:])

    def stop(self) -> None:
        if self._process is not None:
            # The group that was started above: the server and its worker.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    made = Server(folder)
    yield made
    made.stop()
