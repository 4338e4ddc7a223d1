"""A sweep that is killed or interrupted goes on, and ends as one that nobody disturbed."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from tracking.locks import driver_lock

EPOCHS = 40
SPEC = f"""\
name: disturbed
base: {{init_scale: 1.0, data: "IMAGES", epochs: {EPOCHS}, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
search:
  space: {{alpha: {{low: 0.5, high: 8.0, log: true}}}}
  sampler: {{name: random, seed: 0}}
  configurations: 5
resources: {{cpus: 1, pack: 2, concurrent: 2}}
"""
EPOCHS_IN_ALL = 6 * (EPOCHS + 1)


@pytest.fixture(scope="module")
def undisturbed(make_command: Callable[[], Any], images: str) -> pd.DataFrame:
    command = make_command()
    command("run", command.spec("s", SPEC.replace("IMAGES", images)), "--executor", "in-process")
    return command.table("disturbed")


@pytest.fixture
def spec(command: Any, images: str) -> str:
    return str(command.spec("s", SPEC.replace("IMAGES", images)))


def as_if_undisturbed(command: Any, undisturbed: pd.DataFrame) -> None:
    """Everything is there once, and to the bit what it would have been."""
    status = command.json("status", "disturbed")
    assert (status["state"], status["complete"], status["running"]) == ("finished", 6, 0)
    assert status["undelivered"] == 0
    assert command.epochs("disturbed") == EPOCHS_IN_ALL
    assert sweep_status(command) == "finished"
    pd.testing.assert_frame_equal(command.table("disturbed"), undisturbed, check_exact=True)
    assert list(command.store.states("disturbed").rglob("*")) == []


def sweep_status(command: Any) -> str | None:
    """How the sweep stands in the ledger."""
    with command.ledger("disturbed") as (_, sweep):
        return str(sweep.status)


@pytest.mark.ray
def test_a_killed_worker_and_a_killed_driver(command: Any, spec: str, undisturbed: pd.DataFrame) -> None:
    process = command.start("run", spec)
    command.until(lambda: command.epochs("disturbed") >= 8, process)
    workers = [number for number, line in command.processes().items() if line.startswith("ray::ImplicitFunc")]
    os.kill(workers[0], signal.SIGKILL)
    seen = command.epochs("disturbed")
    command.until(lambda: command.epochs("disturbed") >= max(seen + 10, 66), process)
    process.kill()
    process.communicate()
    assert command.epochs("disturbed") < EPOCHS_IN_ALL
    status = command.json("status", "disturbed")
    assert status["state"] == "stopped"
    assert status["running"] > 0
    command("run", spec, "--resume")
    as_if_undisturbed(command, undisturbed)


@pytest.mark.ray
def test_ctrl_c_and_the_command_that_it_prints(command: Any, spec: str, undisturbed: pd.DataFrame) -> None:
    process = command.start("run", spec)
    command.until(lambda: command.epochs("disturbed") >= 20, process)
    # As a terminal does: to the whole group.
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert sweep_status(command) == "killed"
    status = command.json("status", "disturbed")
    assert status["state"] == "stopped"
    assert status["running"] > 0
    said = err.splitlines()[-1]
    assert said.startswith("Interrupted. To continue: gradsweep run ")
    words = shlex.split(said.partition(": gradsweep ")[2])
    assert words == ["run", spec, "--resume"]
    command(*words)
    as_if_undisturbed(command, undisturbed)
    command.until(lambda: not command.processes())


@pytest.mark.ray
def test_a_time_that_is_up(command: Any, spec: str, undisturbed: pd.DataFrame) -> None:
    """Here after 66 epochs: the workers of two packs are in the middle of theirs, on whatever machine."""
    driver = (
        "from sweeps.cli import main\n"
        "from sweeps.driver.driver import Driver\n"
        "Driver.time_is_up = property(lambda driver: driver.progress.epochs >= 66)\n"
        "main()\n"
    )
    process = command.start("run", spec, "--set", "resources.within=2h", program=("-c", driver))
    out, err = process.communicate()
    assert process.returncode == 0, err
    status = command.json("status", "disturbed")
    assert (status["state"], status["undelivered"]) == ("stopped", 0)
    assert status["running"] > 0
    assert 66 <= command.epochs("disturbed") < EPOCHS_IN_ALL
    assert err.splitlines()[-1] == (
        f"The time (within: 2h) is up: {status['ended']} of 6 configurations have ended. "
        f"To continue: gradsweep run {spec} --resume --set resources.within=2h"
    )
    assert out.startswith("validation.accuracy")
    assert sweep_status(command) == "killed"
    assert list(command.store.states("disturbed").glob("*.npz*"))
    command("run", spec, "--resume")
    as_if_undisturbed(command, undisturbed)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_in_process(number: signal.Signals, status: int, command: Any, spec: str) -> None:
    words = ["run", spec, "--executor", "in-process", "--set", "resources.concurrent=2"]
    process = command.start(*words)
    command.until(lambda: command.epochs("disturbed") >= 20, process)
    process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out) == (status, "")
    assert command.json("status", "disturbed")["state"] == "stopped"
    assert shlex.split(err.splitlines()[-1].partition(": gradsweep ")[2])[1:] == [
        spec,
        "--resume",
        *words[4:],
        *words[2:4],
    ]


def test_a_second_driver_is_refused(command: Any, spec: str) -> None:
    store = command.store.create()
    with driver_lock(store.ledger_url, "disturbed", store.lock_file("disturbed")):
        refused = command("run", spec, status=2)
    *_, line = refused.stderr.splitlines()  # after what the data are
    assert line == f"gradsweep: sweep 'disturbed' is already running (process {os.getpid()})"


def test_a_signal_before_anything_was_begun(command: Any, spec: str) -> None:
    process = command.start("run", spec)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    # Python may not even have got to our handler.
    assert process.returncode in (143, -signal.SIGTERM)
    assert command.json("list") == []
