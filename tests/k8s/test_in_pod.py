"""The checks before Ray starts and before a driver is submitted, and what stands around Ray's autoscaler."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.targets.kubernetes.in_pod import not_failed, preflight, same_head
from tests.k8s.containers import Container
from tests.k8s.stand_in import NAMESPACE, RAYJOBS, Cluster, failure
from tests.service.command import until

RAYJOB = {"metadata": {"name": "alpha-r", "labels": {"app.kubernetes.io/part-of": "gradsweep"}}}
USER = 10001


@pytest.fixture
def volume() -> Iterator[Path]:
    """A folder that any user reaches, and that its owner alone can write."""
    with tempfile.TemporaryDirectory(prefix="volume-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def as_user(folder: Path) -> str:
    """What is wrong with the volume for a user that doesn't own it."""
    if os.geteuid():
        folder.chmod(0o555)
        return preflight.wrong_volume(folder)
    os.seteuid(USER)
    try:
        return preflight.wrong_volume(folder)
    finally:
        os.seteuid(0)


def test_a_volume_that_the_user_can_write_is_left_as_it_is(volume: Path) -> None:
    assert preflight.wrong_volume(volume) == ""
    assert list(volume.iterdir()) == []


def test_a_volume_of_somebody_else_is_refused_with_its_owner_and_ours(volume: Path) -> None:
    problem = as_user(volume)
    user, mode = os.geteuid() or USER, volume.stat().st_mode & 0o7777
    assert problem.startswith(
        f"the volume at {volume} can't be written by user {user}: it belongs to user {os.getuid()} and group "
        f"{os.getgid()}, mode {mode:04o}; give it to user {user}: "
    )
    assert "\n" not in problem


def test_a_volume_that_is_not_there_is_refused(volume: Path) -> None:
    nowhere = volume / "nowhere"
    assert preflight.wrong_volume(nowhere) == f"the volume at {nowhere} can't be written: No such file or directory"


@pytest.mark.parametrize("submitted", [None, preflight.version("gradsweep")])
def test_an_image_of_the_right_version_will_do(submitted: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADSWEEP_VERSION", raising=False)
    if submitted:
        monkeypatch.setenv("GRADSWEEP_VERSION", submitted)
    assert preflight.wrong_version() == ""


def test_what_is_wrong_is_said_once_and_the_head_starts_when_it_is_put_right(
    volume: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "SHARED", str(volume / "later"))
    monkeypatch.setattr(preflight, "PAUSE_SECONDS", 0.0)
    looks: list[int] = []

    def wrong_version() -> str:
        looks.append(len(looks))
        if len(looks) == 3:
            (volume / "later").mkdir()
        return ""

    monkeypatch.setattr(preflight, "wrong_version", wrong_version)
    assert preflight.main() == 0
    assert capsys.readouterr().err.count("No such file or directory") == 1
    assert len(looks) == 3


def test_an_image_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADSWEEP_VERSION", "9.9.9")
    monkeypatch.setattr(preflight, "HOLD_SECONDS", 0.0)
    monkeypatch.setattr(preflight, "PAUSE_SECONDS", 0.0)
    assert preflight.main() == 1
    has = preflight.version("gradsweep")
    assert capsys.readouterr().err == (
        f"the image has gradsweep {has}, and the sweep was submitted by gradsweep 9.9.9: name an image with gradsweep "
        f"9.9.9 in pool.yaml, or submit with gradsweep {has}\n"
    )


@pytest.fixture
def pod(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kubelet gives the submitter, the stand-in being the cluster."""
    (tmp_path / "namespace").write_text(NAMESPACE)
    monkeypatch.setattr(not_failed, "NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr(not_failed, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def head() -> Iterator[str]:
    """Where a head answers: HOST:PORT."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize(
    ("status", "metadata", "why"),
    [
        (
            {"jobDeploymentStatus": "Failed", "reason": "JobStatusCheckTimeoutExceeded", "message": "away\ntoo long"},
            {},
            "the RayJob alpha-r is Failed (JobStatusCheckTimeoutExceeded: away too long)",
        ),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, {}, "the RayJob alpha-r is Complete"),
        (
            {"jobDeploymentStatus": "Running"},
            {"deletionTimestamp": "2026-08-19T11:00:00Z"},
            "the RayJob alpha-r is being deleted",
        ),
    ],
)
def test_no_driver_comes_up_in_a_rayjob_that_has_ended(
    cluster: Cluster,
    head: str,
    status: dict[str, str],
    metadata: dict[str, str],
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster.put("rayjobs", {"metadata": RAYJOB["metadata"] | metadata, "status": status | {"dashboardURL": head}})
    assert not_failed.main("alpha-r") == 1
    assert capsys.readouterr().err == f"no driver is started: {why}\n"


@pytest.mark.usefixtures("pod")
def test_it_fails_while_the_submitter_waits_for_a_head(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """Its head is away for longer than KubeRay waits: the new one finds a submitter that has given up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        away = f"127.0.0.1:{probe.getsockname()[1]}"  # bound, and nobody listens
        running = {"jobDeploymentStatus": "Running", "dashboardURL": away}
        cluster.put("rayjobs", RAYJOB | {"status": running})
        answers: list[int] = []
        waiting = threading.Thread(target=lambda: answers.append(not_failed.main("alpha-r")))
        waiting.start()
        cluster.wait_for(f"{RAYJOBS}/alpha-r")
        assert waiting.is_alive()
        cluster.set_status("alpha-r", **running | {"jobDeploymentStatus": "Failed"})
        waiting.join(60)
        assert answers == [1]
    assert "waiting for the head of the RayJob alpha-r\n" in capsys.readouterr().out


@pytest.mark.usefixtures("pod")
def test_a_rayjob_that_goes_on_has_its_driver_when_its_head_is_there(
    cluster: Cluster, head: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.put("rayjobs", RAYJOB | {"status": {"jobDeploymentStatus": "Running", "dashboardURL": head}})
    assert not_failed.main("alpha-r") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (None, "no sweep alpha-r"),  # deleted
        ((403, failure(403, "Forbidden", "rayjobs is forbidden", kind="rayjobs")), "rayjobs is forbidden"),
        ((500, failure(500, "InternalError", "etcd is away")), "etcd is away"),
    ],
)
def test_an_api_server_that_says_nothing_of_it_lets_no_driver_start(
    cluster: Cluster,
    fault: Any,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(not_failed, "API_SECONDS", 0.0)
    cluster.fault = fault
    assert not_failed.main("alpha-r") == 1
    line = capsys.readouterr().err
    assert line.startswith("no driver is started: ") and why in line and line.count("\n") == 1


@pytest.mark.usefixtures("pod")
def test_an_api_server_that_is_away_for_a_moment_is_waited_for(cluster: Cluster, head: str) -> None:
    cluster.put("rayjobs", RAYJOB | {"status": {"jobDeploymentStatus": "Running", "dashboardURL": head}})
    cluster.fault = 500, failure(500, "InternalError", "etcd is away")
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(not_failed.main("alpha-r")))
    waiting.start()
    cluster.wait_for(f"{RAYJOBS}/alpha-r")
    cluster.fault = None
    waiting.join(60)
    assert answers == [0]


def test_a_submitter_that_listens_to_a_former_head_is_not_alive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The former head is 127.0.0.2, from which nothing comes any more."""
    with socket.create_server(("127.0.0.2", 0)) as former:
        port = former.getsockname()[1]
        monkeypatch.setenv("RAY_DASHBOARD_ADDRESS", f"127.0.0.1:{port}")
        assert same_head.main() == 0  # not connected yet
        with socket.create_connection(("127.0.0.2", port)):
            assert same_head.main() == 1
            assert capsys.readouterr().err == "listens to 127.0.0.2, and the head is 127.0.0.1\n"
            monkeypatch.setenv("RAY_DASHBOARD_ADDRESS", f"127.0.0.2:{port}")
            assert same_head.main() == 0
            monkeypatch.setenv("RAY_DASHBOARD_ADDRESS", f"nowhere.invalid:{port}")
            assert same_head.main() == 0  # there is no head now


def test_the_autoscaler_is_started_again_and_ends_at_sigterm(tmp_path: Path) -> None:
    module = "sweeps.targets.kubernetes.in_pod.autoscaler"
    patient = f"import runpy, time; time.sleep = lambda _: None; runpy.run_module({module!r}, run_name='__main__')"
    fails = f"{sys.executable} -c \"print('autoscaler', flush=True); raise SystemExit(3)\""
    container = Container([sys.executable, "-c", patient, fails], os.environ, tmp_path / "log")
    try:
        until(lambda: container.log.read_text().count("autoscaler\n") > 2, 60)
    finally:
        container.terminate()
    assert container.wait() == 0
    assert "the autoscaler has ended with status 3; it is started again\n" in container.log.read_text()


def test_a_check_that_waits_ends_at_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sweeps.targets.kubernetes.in_pod.preflight"]
    container = Container(command, os.environ | {"GRADSWEEP_VERSION": "9.9.9"}, tmp_path / "log")
    try:
        until(lambda: "gradsweep 9.9.9" in container.log.read_text(), 60)
    finally:
        container.terminate()
    assert container.wait() == 1


def test_by_itself_a_command_as_pid_1_ignores_sigterm(tmp_path: Path) -> None:
    """As KubeRay starts the autoscaler, `/bin/bash -c -- "ray kuberay-autoscaler ..."`."""
    quiet = f"{sys.executable} -c \"import time; print('up', flush=True); time.sleep(9999)\""
    container = Container(["/bin/bash", "-c", "--", quiet], os.environ, tmp_path / "log")
    try:
        until(lambda: container.log.read_text() == "up\n", 60)
        assert not container.catches(signal.SIGTERM)
        container.terminate()
        assert container.runs
    finally:
        container.kill()


def test_the_pre_stop_does_nothing_where_pid_1_does_not_run_ray(tmp_path: Path) -> None:
    """On somebody's machine it would end every sweep."""
    (tmp_path / "run").write_text("echo up; sleep 9999")
    driver = f"exec -a gradsweep bash {tmp_path}/run & exec sleep 9999"
    container = Container(["/bin/bash", "-c", driver], os.environ, tmp_path / "log")
    try:
        until(lambda: container.log.read_text() == "up\n", 60)
        hook = container.exec([sys.executable, "-m", "sweeps.targets.kubernetes.in_pod.pre_stop"])
        output, _ = hook.communicate(timeout=600)
        assert (hook.returncode, output) == (1, "PID 1 does not run Ray here: sleep 9999\n")
        assert f"gradsweep {tmp_path}/run" in container.processes()
    finally:
        container.kill()


@pytest.mark.parametrize("module", ["preflight", "pre_stop", "autoscaler", "same_head"])
def test_it_imports_nothing_heavy(module: str) -> None:
    """It starts in a container with half a core."""
    words = ["-X", "importtime", "-c", f"import sweeps.targets.kubernetes.in_pod.{module}"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "sweeps" in imported
    assert not imported & {"torch", "ray", "mlflow", "numpy", "pandas", "kubernetes", "yaml", "pydantic"}
