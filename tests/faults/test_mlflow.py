"""An MLflow server that is killed, errs, takes half a minute for an answer, or is gone for the rest of the sweep."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import CONFIGURATIONS, NAME, Harness
from tests.faults.proxy import Proxy
from tests.tracking.conftest import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
REQUESTS = range(10, 90)  # of some 150 that a sweep without faults makes


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.stop()


def run(sweep: Harness, uri: str) -> str:
    """Run the sweep against this server to its end; what it said on standard error."""
    process = sweep.start("run", sweep.spec_file(tracking={"uri": uri}), "--executor", "in-process")
    return sweep.finish(process)


@pytest.mark.parametrize("action", ["error", "drop", "lose"])
def test_the_server_errs(sweep: Harness, server: Server, noted: Any, action: str) -> None:
    what = {
        "error": "the MLflow server answers 500",
        "drop": "requests to MLflow are lost",
        "lose": "answers of MLflow are lost",
    }[action]
    with noted("faults", what, seed := 11) as note:
        wrong = set(random.Random(seed).sample(REQUESTS, 12))
        with Proxy(server.uri, lambda number: action if number in wrong else "pass") as proxy:
            err = run(sweep, proxy.uri)
            assert proxy.done.count(action) == len(wrong)
            note.tried = f"12 of {len(proxy.done)} requests, {CONFIGURATIONS} configurations"
            note.outcome = str(sweep.must_be_sound())
        assert "MLflow unreachable; retrying in the background" in err
        assert "MLflow is written again" in err


def test_the_server_takes_half_a_minute_for_an_answer(sweep: Harness, server: Server, noted: Any) -> None:
    with noted("faults", "the MLflow server answers after 30 s", seed := 12) as note:
        slow = set(random.Random(seed).sample(REQUESTS, 3))
        with Proxy(server.uri, lambda number: "wait" if number in slow else "pass") as proxy:
            run(sweep, proxy.uri)
            assert proxy.done.count("wait") == len(slow)
            note.tried = f"3 of {len(proxy.done)} requests, {CONFIGURATIONS} configurations"
            note.outcome = str(sweep.must_be_sound())


class Killed:
    """Kills the server in the middle of chosen requests, or of the first ones after it has come back."""

    def __init__(self, server: Server, at: set[int], seed: int) -> None:
        self._server, self._at, self._draw = server, sorted(at), random.Random(seed)
        self.dead = threading.Event()

    def __call__(self, number: int) -> str:
        if not self._at or number < self._at[0] or self.dead.is_set():
            return "pass"
        del self._at[0]
        # With its work half done: the request is passed on and the server killed at some moment of it.
        threading.Timer(self._draw.uniform(0, 0.05), self._kill).start()
        return "lose"

    def _kill(self) -> None:
        self._server.stop()
        self.dead.set()


def test_the_server_is_killed_and_started_again(sweep: Harness, server: Server, noted: Any) -> None:
    with noted("faults", "the MLflow server is killed and restarted", seed := 13) as note:
        killed = Killed(server, set(random.Random(seed).sample(REQUESTS, 2)), seed)
        with Proxy(server.uri, killed) as proxy:
            process = sweep.start("run", sweep.spec_file(tracking={"uri": proxy.uri}), "--executor", "in-process")
            for _ in range(2):
                sweep.wait(killed.dead.is_set, process)
                server.start()
                killed.dead.clear()
            sweep.finish(process)
            note.tried = f"SIGKILL twice in the middle of a request, of {len(proxy.done)}"
            note.outcome = str(sweep.must_be_sound())


def test_the_server_is_gone_for_the_rest_of_the_sweep(sweep: Harness, server: Server, noted: Any) -> None:
    with noted(
        "faults", "the MLflow server is gone for the rest of the sweep, then gradsweep sync", seed := 14
    ) as note:
        killed = Killed(server, {random.Random(seed).choice(REQUESTS)}, seed)
        with Proxy(server.uri, killed) as proxy:
            err = run(sweep, proxy.uri)
            assert f"gradsweep sync {NAME}" in err
            waiting = sweep.json("status", NAME)["undelivered"]
            assert waiting > 0
            assert not sweep.json("audit", NAME, status=1)["sound"]
            left = sweep.json("sync", NAME, status=1)
            assert (left["delivered"], left["waiting"]) == (0, waiting)
            server.start()
            assert sweep.json("sync", NAME) == {"name": NAME, "delivered": waiting, "waiting": 0, "problem": None}
            assert sweep.json("sync", NAME)["delivered"] == 0
            note.tried = (
                f"SIGKILL in the middle of a request; {waiting} configurations were lacking at the end; sync wrote them"
            )
            note.outcome = str(sweep.must_be_sound())
