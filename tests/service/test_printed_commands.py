"""Every command that the product prints works as it is printed: typed into a shell, in any folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.service.command import Gradsweep

SPEC = """\
name: x
base: {init_scale: 1.0, data: "IMAGES", epochs: EPOCHS, batch_size: 8}
seeds: 1
arms:
  plain: {alpha: 1.0}
resources: {cpus: 1}
"""
COMMAND = re.compile(r"(?:MLFLOW_TRACKING_URI=(?:'[^']*'|\S+) )?\b(?:gradsweep|mlflow) [a-z](?:'[^']*'|[^;()'\n])*")


class Typed:
    """A shell in a folder of its own, with the command of this environment on its path."""

    def __init__(self, gradsweep: Gradsweep, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = gradsweep.environment | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}

    @contextmanager
    def start(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """A process that is running; Ctrl-C ends it at the latest at the end of this block."""
        with subprocess.Popen(
            ["sh", "-c", f"exec env {command}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGINT)

    def __call__(self, command: str) -> str:
        """What it prints, where it succeeds; it leaves nothing in the current folder."""
        with self.start(command) as process:
            out, err = process.communicate()
        assert process.returncode == 0, f"{command}: {process.returncode}\n{out}\n{err}"
        assert list(self.folder.iterdir()) == [], command
        return out + err

    def until_stopped(self, command: str, lines: int) -> list[str]:
        """The first lines of one that goes on until Ctrl-C."""
        with self.start(command) as process:
            assert process.stdout is not None
            first = [process.stdout.readline().rstrip("\n") for _ in range(lines)]
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
            assert (process.returncode, out, err) == (130, "", ""), f"{command}: {first}{out}{err}"
        return first


def printed(text: str, *beginning: str) -> str:
    """The one command in a text that begins with these words, after a variable perhaps."""
    wanted = " ".join(beginning)
    commands = {command.strip() for command in COMMAND.findall(text) if wanted in command}
    assert len(commands) == 1, f"{wanted}: {commands} in {text}"
    return commands.pop()


@pytest.fixture
def typed(gradsweep: Gradsweep, tmp_path: Path) -> Typed:
    return Typed(gradsweep, tmp_path / "elsewhere")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_to_look_at_a_sweep_and_to_restore_what_was_deleted(gradsweep: Gradsweep, typed: Typed, images: str) -> None:
    store = str(gradsweep.folder / "a folder")
    spec = gradsweep.spec(SPEC.replace("IMAGES", images).replace("EPOCHS", "1"))
    words = ["run", spec, "--executor", "in-process", "--store", store]
    out = gradsweep(*words).stdout
    uri = f"sqlite:///{store}/mlflow.db"

    last = out.splitlines()[-1]
    where, link = typed.until_stopped(printed(last, "gradsweep ui"), lines=2)
    assert where == f"MLflow on {store} (Ctrl-C stops it)"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#/experiments/1/runs\?workflowType=machine_learning", link)

    MlflowClient(uri).delete_experiment("1")
    status = gradsweep("status", "x", "--store", store).stdout  # nobody has noticed yet
    assert "gradsweep sync" not in status
    refused = gradsweep(*words, "--resume")
    restore = printed(refused.stderr, "mlflow experiments restore")
    assert restore == f"MLFLOW_TRACKING_URI='{uri}' mlflow experiments restore -x 1"
    audited = gradsweep("audit", "x", "--store", store, status=1).stdout
    lacking = gradsweep("status", "x", "--store", store).stdout
    commands = {printed(text, "gradsweep sync") for text in (refused.stderr, audited, lacking)}
    assert commands == {f"gradsweep sync x --store '{store}'"}
    typed(restore)
    assert "configurations written" in typed(commands.pop())
    assert gradsweep("audit", "x", "--store", store).stdout.splitlines()[-1] == "x (finished): sound"


def test_to_look_at_a_sweep_with_a_tracking_address(gradsweep: Gradsweep, typed: Typed, images: str) -> None:
    uri, store = f"sqlite:///{gradsweep.folder}/shared.db", str(gradsweep.folder / "store")
    spec = gradsweep.spec(SPEC.replace("IMAGES", images).replace("EPOCHS", "1"))
    out = gradsweep("run", spec, "--executor", "in-process", "--store", store, "--set", f"tracking.uri={uri}").stdout
    last = out.splitlines()[-1]
    assert last == f"In the browser (the records are in {uri}): gradsweep ui --store {store}"
    with typed.start(printed(last, "gradsweep ui")) as process:
        assert process.stdout is not None and process.stderr is not None
        where, link = (process.stdout.readline().rstrip("\n") for _ in range(2))
        assert where == f"MLflow on {uri} (Ctrl-C stops it)"
        with urllib.request.urlopen(link.partition("#")[0], timeout=60) as page:
            assert b"<title>MLflow</title>" in page.read()
        # Where a server has the records, its pages are named.
        server = link.partition("/#")[0]
        spec = gradsweep.spec(SPEC.replace("IMAGES", images).replace("EPOCHS", "1").replace("name: x", "name: y"))
        other = ["--executor", "in-process", "--store", str(gradsweep.folder / "other")]
        out = gradsweep("run", spec, *other, "--set", f"tracking.uri={server}").stdout
        told = typed(printed(out.splitlines()[-1], "gradsweep ui"))
        assert told.splitlines()[0].endswith(f"are in MLflow at {server}")
        assert told.splitlines()[-1] == link.replace("/1/runs", "/2/runs")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr.read() == ""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_to_begin_and_to_continue(gradsweep: Gradsweep, typed: Typed, images: str) -> None:
    store = ["--store", str(gradsweep.folder / "s")]
    spec = gradsweep.spec(SPEC.replace("IMAGES", images).replace("EPOCHS", "2000"))
    look = gradsweep("submit", spec, *store).stdout
    lines = {line.split()[0]: line for line in look.splitlines()}
    assert "running" in typed(printed(lines["status"], "gradsweep status"))
    assert printed(gradsweep.refused("delete", "x", "--yes", *store), "gradsweep stop") in lines["stop"]
    typed(printed(lines["stop"], "gradsweep stop"))
    stopped = typed(printed(lines["logs"], "gradsweep logs"))
    typed(printed(stopped.splitlines()[-1], "gradsweep resume"))
    typed(printed(lines["stop"], "gradsweep stop"))
    typed(printed(lines["resume"], "gradsweep resume"))
    typed(printed(lines["stop"], "gradsweep stop"))
    typed.until_stopped(printed(lines["ui"], "gradsweep ui"), lines=2)

    words = ["run", spec, "--name", "z", *store, "--executor", "in-process"]
    process = gradsweep.start(*words, "--set", "resources.pack=1")
    assert process.stderr is not None
    assert any("epochs, " in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    again = printed(err, "gradsweep run")
    with typed.start(again) as process:
        assert process.stderr is not None
        assert any("epochs, " in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130

    process = gradsweep.start("extend", "z", "--seeds", "2", *store, "--executor", "in-process")
    assert process.stderr is not None
    assert any("epochs, " in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    with typed.start(printed(err, "gradsweep extend")) as process:
        assert process.stderr is not None
        assert any("epochs, " in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate()

    nothing = str(gradsweep.folder / "nothing here")
    begun = printed(gradsweep("list", "--store", nothing).stdout, "gradsweep run")
    assert printed(gradsweep.refused("ui", "--store", nothing), "gradsweep run") == begun
    typed(begun)
