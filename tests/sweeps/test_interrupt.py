"""Signals as flags, and what keeps the time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from sweeps.driver.signals import Interrupt, Interrupted
from trainers.errors import RequestError

STUBBORN = """
import contextlib, sys, time
import sweeps.driver.signals
from sweeps.driver.signals import Interrupt
sweeps.driver.signals.GRACE_SECONDS = float(sys.argv[1])
with Interrupt(lambda: print("farewell", flush=True)) as interrupt:
    print("ready", flush=True)
    while interrupt.number is None:
        time.sleep(0.01)
    with contextlib.suppress(BrokenPipeError):
        print("seen", flush=True)
    time.sleep(600)
"""


def wait_for(interrupt: Interrupt) -> None:
    while interrupt.number is None:
        threading.Event().wait(0.01)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_seen_at_the_next_check(number: int, status: int) -> None:
    with Interrupt() as interrupt:
        interrupt.check()
        os.kill(os.getpid(), number)
        wait_for(interrupt)
        noted: list[str] = []
        interrupt.on_stop = lambda: noted.append("stopping")
        with pytest.raises(Interrupted) as caught:
            interrupt.check()
    assert caught.value.exit_status == status
    assert noted == ["stopping"]


def test_no_library_takes_it_for_a_failure_of_its_own() -> None:
    assert not issubclass(Interrupted, Exception)


def test_the_former_handlers_come_back_and_nothing_is_left() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupt():
        (watcher,) = [t for t in threading.enumerate() if t.name == "signals"]
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) != before
    assert not watcher.is_alive()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.set_wakeup_fd(-1) == -1


def stubborn(grace: float) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN, str(grace)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_ctrl_c_after_another_signal_ends_the_process_on_the_spot() -> None:
    with stubborn(grace=600) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "seen\n"
        process.send_signal(signal.SIGTERM)  # says nothing new
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "farewell\n"
        assert process.wait() == 143


def test_sigterm_after_another_signal_changes_nothing() -> None:
    """Ray sends one to a driver that is stopped, and the preStop of its Pod another."""
    with Interrupt() as interrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
            wait_for(interrupt)
        with pytest.raises(Interrupted) as caught:
            interrupt.check()
    assert caught.value.exit_status == 130


def test_the_environment_says_how_long_an_end_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSWEEP_STOP_SECONDS", "20")
    with Interrupt() as interrupt:
        assert interrupt.left == float("inf")
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(interrupt)
        assert 4 < interrupt.left <= 20
    for wrong in ("soon", "-1", "nan"):
        monkeypatch.setenv("GRADSWEEP_STOP_SECONDS", wrong)
        with pytest.raises(
            RequestError, match=f"GRADSWEEP_STOP_SECONDS: must be a number of seconds, but got '{wrong}'"
        ):
            Interrupt()


def test_it_ends_though_nobody_reads_the_farewell() -> None:
    with stubborn(grace=0.1) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143


def test_an_end_that_takes_too_long_is_cut_short_with_a_farewell() -> None:
    with stubborn(grace=0.1) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().splitlines()[-1] == "farewell"
        assert process.wait() == 130
