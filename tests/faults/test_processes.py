"""Processes that are killed, stopped, or asked to end, at moments drawn from a seed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import CONFIGURATIONS, NAME, RECORDS, Harness, moments, stopped

pytestmark = pytest.mark.timeout(3600)
OF = f"of {RECORDS} records, {CONFIGURATIONS} configurations"


GRACE = 30.0  # Kubernetes kills what is still there then


def waits(process: int, number: signal.Signals) -> bool:
    """Whether a signal has been sent to a process that has not yet taken it."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text()
        return any(int(status.split(f"{name}:")[1].split()[0], 16) >> (number - 1) & 1 for name in ("SigPnd", "ShdPnd"))
    return False


def listed(numbers: list[int]) -> str:
    return " and ".join(map(str, numbers))


@pytest.mark.slow
def test_the_driver_is_killed_and_resumed(sweep: Harness, noted: Any) -> None:
    with noted("faults", "SIGKILL of the driver, in-process", seed := 1) as note:
        words, at = ["run", sweep.spec_file(), "--executor", "in-process"], []
        for moment in moments(seed, 2):
            process = sweep.start(*words)
            at.append(sweep.reach(moment, process))
            process.kill()
            process.communicate()
            words = [*words[:4], "--resume"]
        sweep(*words)
        note.tried = f"two drivers, at {listed(at)} {OF}; then run --resume"
        note.outcome = str(sweep.must_be_sound())


@pytest.mark.slow
def test_two_resume_the_same_sweep(sweep: Harness, noted: Any) -> None:
    with noted("faults", "two resume the same sweep at once", seed := 3) as note:
        words = ["run", sweep.spec_file(), "--executor", "in-process"]
        process = sweep.start(*words)
        (moment,) = moments(seed, 1)
        at = sweep.reach(moment, process)
        process.kill()
        process.communicate()
        both = [sweep.start(*words, "--resume") for _ in range(2)]
        said = [p.communicate()[1] for p in both]
        assert sorted(p.returncode for p in both) == [0, 2], said
        (refused,) = [err for p, err in zip(both, said, strict=True) if p.returncode == 2]
        assert refused.startswith(f"gradsweep: sweep '{NAME}' is already running (process ")
        assert len(refused.splitlines()) == 1
        note.tried = f"after SIGKILL of the driver at {at} {OF}"
        note.outcome = f"one is refused in one line, exit 2; {sweep.must_be_sound()}"


@pytest.mark.ray
@pytest.mark.slow
def test_workers_are_killed(sweep: Harness, noted: Any) -> None:
    with noted("faults", "SIGKILL of a trial's worker", seed := 2) as note:
        process, at = sweep.start("run", sweep.spec_file()), []
        for moment in moments(seed, 3):
            at.append(sweep.reach(moment, process))
            sweep.wait(partial(sweep.signal_worker, random.Random(moment), signal.SIGKILL), process)
        sweep.finish(process)
        note.tried = f"three workers, at {listed(at)} {OF}"
        note.outcome = str(sweep.must_be_sound())


@pytest.mark.ray
@pytest.mark.slow
def test_all_workers_are_killed_again_and_again(sweep: Harness, noted: Any) -> None:
    with noted("faults", "SIGKILL of all workers, nine times", seed := 11) as note:
        process, at = sweep.start("run", sweep.spec_file()), []
        for moment in moments(seed, 9):
            at.append(sweep.reach(moment, process))
            sweep.wait(sweep.kill_workers, process)
        sweep.finish(process)
        note.tried = f"both workers, training or between two packs, at {listed(at)} {OF}"
        note.outcome = str(sweep.must_be_sound())


@pytest.mark.ray
@pytest.mark.slow
def test_the_driver_is_killed_and_resumed_on_ray(sweep: Harness, noted: Any) -> None:
    with noted("faults", "SIGKILL of the driver, on Ray", seed := 4) as note:
        words, at = ["run", sweep.spec_file()], []
        for moment in moments(seed, 2):
            process = sweep.start(*words)
            at.append(sweep.reach(moment, process))
            process.kill()
            process.communicate()
            words = [*words[:2], "--resume"]
        sweep(*words)
        note.tried = f"two drivers, at {listed(at)} {OF}; then run --resume"
        note.outcome = str(sweep.must_be_sound())


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [10, 60])
def test_a_worker_stands_still(sweep: Harness, noted: Any, seconds: int) -> None:
    with noted("faults", f"SIGSTOP of a worker for {seconds} s", seed := 5) as note:
        process = sweep.start("run", sweep.spec_file())
        (moment,) = moments(seed, 1)
        at = sweep.reach(moment, process)
        worker = sweep.wait(partial(sweep.signal_worker, random.Random(seed), signal.SIGSTOP), process)
        with stopped(worker):
            # The fault is the time itself.
            time.sleep(seconds)
        sweep.finish(process)
        note.tried = f"one of two workers, at {at} {OF}"
        note.outcome = str(sweep.must_be_sound())


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "number", "times", "status"),
    [
        ("Ctrl-C", signal.SIGINT, 1, 130),
        ("Ctrl-C twice", signal.SIGINT, 2, 130),
        ("SIGTERM with 30 s of grace", signal.SIGTERM, 1, 143),
    ],
)
def test_a_signal_and_a_resume(
    sweep: Harness, noted: Any, what: str, number: signal.Signals, times: int, status: int
) -> None:
    with noted("faults", what, seed := 6 + times + number) as note:
        process = sweep.start("run", sweep.spec_file())
        (moment,) = moments(seed, 1)
        at = sweep.reach(moment, process)
        began = time.monotonic()
        # Kubernetes signals the process, a terminal the whole group.
        for _ in range(times):
            os.kill(process.pid, number) if number == signal.SIGTERM else os.killpg(process.pid, number)
            # Two of a kind that wait are one.
            sweep.wait(lambda: not waits(process.pid, number))
        err = sweep.finish(process, status)
        took = time.monotonic() - began
        assert took < GRACE
        assert "To continue: gradsweep run" in err
        # Where the end had to be quick, Ray's processes follow the driver's.
        sweep.wait(lambda: not sweep.processes())
        found = sweep.json("audit", NAME)
        assert found["state"] == "stopped"
        sweep("run", sweep.spec_file(), "--resume")
        note.tried = f"at {at} {OF}; then run --resume"
        note.outcome = f"exit {status} after {took:.1f} s, what is there is sound; resumed: {sweep.must_be_sound()}"
