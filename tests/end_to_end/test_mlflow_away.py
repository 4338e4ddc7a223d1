"""An MLflow server that goes away during a sweep and comes back: the sweep does not wait, and nothing is missing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

EPOCHS = 15
SPEC = f"""\
name: away
base: {{init_scale: 1.0, data: "IMAGES", epochs: {EPOCHS}, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
search:
  space: {{alpha: {{low: 0.5, high: 8.0, log: true}}}}
  sampler: {{name: random, seed: 0}}
  configurations: 5
resources: {{cpus: 1, pack: 1}}
tracking: {{uri: "URI"}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/files"]
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words], cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


@pytest.mark.slow
def test_a_server_that_is_stopped_and_started_again(command: Any, images: str, tmp_path: Path) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    spec = command.spec("away", SPEC.replace("IMAGES", images).replace("URI", uri))
    with server(tmp_path, port) as first:
        command.until(lambda: answers(uri), None)
        process = command.start("run", spec, "--executor", "in-process")
        client = MlflowClient(uri)

        def children() -> int:
            found = [e.experiment_id for e in client.search_experiments() if e.name == "away"]
            return sum("mlflow.parentRunId" in r.data.tags for r in client.search_runs(found)) if found else 0

        command.until(lambda: children() >= 1, process)
        first.terminate()
        first.wait()
        seen = command.epochs("away")
        # The sweep goes on without it.
        command.until(lambda: command.epochs("away") >= min(seen + EPOCHS, 6 * (EPOCHS + 1)), process)
    with server(tmp_path, port):
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert "plain" in out
        client = MlflowClient(uri)
        (experiment,) = [e for e in client.search_experiments() if e.name == "away"]
        runs = [r for r in client.search_runs([experiment.experiment_id]) if "mlflow.parentRunId" in r.data.tags]
        assert len(runs) == 6
        for run in runs:
            history = client.get_metric_history(run.info.run_id, "accuracy/validation")
            assert sorted(m.step for m in history) == list(range(EPOCHS + 1))
        assert command.json("status", "away")["undelivered"] == 0
