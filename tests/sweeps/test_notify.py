"""A notice of a sweep's end, at a real server: what it says, and that nothing about the server troubles the sweep."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sweeps.driver import notify
from sweeps.driver.driver import Driver
from sweeps.driver.notify import PATIENCE_SECONDS, Notice
from sweeps.driver.signals import Interrupt
from sweeps.driver.status import look_at
from sweeps.driver.sweep import Outcome, run
from sweeps.spec.reading import parse
from tracking.store import Store
from trainers.errors import LedgerError, RequestError, SpecError

SPEC = """\
name: told
question: Is it better?
base: {{init_scale: 1.0, data: "{images}", epochs: 1, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
  paper: {{alpha: 2.0, r: 0.01}}
claim: paper
tracking: {{notify: "{url}"}}
"""


class Hook(ThreadingHTTPServer):
    """Takes notices; answers each with the next of `answers`, then with 204, once `open` is set."""

    def __init__(self) -> None:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/json"
                hook.taken.append(json.loads(body))
                hook.open.wait()
                self.send_response(hook.answers.pop(0) if hook.answers else 204)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.taken: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.url = f"http://127.0.0.1:{self.server_port}/hooks/secret"


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.open.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / "store")


Go = Callable[..., Outcome]


@pytest.fixture
def go(images: str, store: Store) -> Go:
    def go(url: str, resume: bool = False, *settings: str) -> Outcome:
        spec = parse(SPEC.format(images=images, url=url), settings=settings)
        with Interrupt() as interrupt:
            return run(spec, store, interrupt, executor="in-process", resume=resume, show=lambda *_: nullcontext())

    return go


@pytest.fixture(autouse=True)
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "gradsweep")
    return caplog


def test_a_finished_sweep(go: Go, hook: Hook, store: Store, warnings: pytest.LogCaptureFixture) -> None:
    outcome = go(hook.url)
    (notice,) = hook.taken
    assert outcome.verdict is not None
    assert (notice["name"], notice["state"], notice["question"]) == ("told", "finished", "Is it better?")
    assert notice["counts"] == {
        "total": 2,
        "ended": 2,
        "complete": 2,
        "pruned": 0,
        "diverged": 0,
        "failed": 0,
        "running": 0,
    }
    assert (notice["failures"], notice["reason"], notice["store"]) == ({}, None, str(store.where))
    assert notice["verdict"] == outcome.verdict.text
    assert [(c["name"], c["answer"]) for c in notice["claims"]] == [(c.name, c.answer) for c in outcome.verdict.claims]
    best = outcome.verdict.objectives[0].ranking[0]
    assert notice["best"] == {"name": best.name, "metric": "validation.accuracy", "value": best.mean}
    assert notice["report"] == f"gradsweep report told --store {store.where}"
    assert notice["ui"] == f"gradsweep ui --store {store.where}"
    assert warnings.text == ""


def test_a_sweep_whose_time_is_up(go: Go, hook: Hook) -> None:
    go(hook.url, False, "resources.within=0.0001s")
    (notice,) = hook.taken
    assert (notice["state"], notice["counts"]["ended"], notice["best"]) == ("stopped", 0, None)
    assert notice["reason"] == "The time (within: 0.0001s) is up: 0 of 2 configurations have ended."


def test_a_sweep_that_a_signal_ends(go: Go, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Driver.record

    def recording(driver: Driver, report: Any) -> None:
        record(driver, report)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "record", recording)
        outcome = go(hook.url)
    assert outcome.interrupted == 143
    (notice,) = hook.taken
    assert (notice["state"], notice["verdict"], notice["claims"]) == ("interrupted", None, [])


def test_a_sweep_that_fails(go: Go, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise LedgerError("can't use the ledger postgresql://me:secret@host/db: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "record", fails)
        with pytest.raises(LedgerError):
            go(hook.url)
    (notice,) = hook.taken
    assert notice["state"] == "failed"
    assert notice["reason"] == "LedgerError: can't use the ledger postgresql://***@host/db: the disk is full"


def test_a_server_that_is_busy_is_asked_again(hook: Hook, warnings: pytest.LogCaptureFixture) -> None:
    hook.answers = [500, 429]
    Notice(hook.url, {"state": "finished"}).wait(PATIENCE_SECONDS, lambda: False)
    assert hook.taken == [{"state": "finished"}] * 3
    assert warnings.text == ""


@pytest.mark.parametrize(("answers", "tries"), [([500] * 3, 3), ([404], 1), ([302], 1)])
def test_a_server_that_does_not_take_it_is_a_warning(
    hook: Hook, warnings: pytest.LogCaptureFixture, answers: list[int], tries: int
) -> None:
    hook.answers = list(answers)
    Notice(hook.url, {}).wait(PATIENCE_SECONDS, lambda: False)
    assert len(hook.taken) == tries
    (record,) = warnings.records
    assert record.getMessage() == f"the notice could not be sent to http://127.0.0.1: it answers {answers[0]}"


def test_a_server_that_is_down_is_a_warning(go: Go, store: Store, warnings: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert go(f"http://127.0.0.1:{port}/hooks/secret").counts.complete == 2
    (record,) = warnings.records
    assert "Connection refused" in record.getMessage() and "secret" not in record.getMessage()
    assert look_at("told", store)["state"] == "finished"


def test_a_server_that_does_not_answer_is_not_waited_for(
    go: Go, hook: Hook, store: Store, warnings: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "PATIENCE_SECONDS", 0.2)
    hook.open.clear()
    assert go(hook.url).counts.complete == 2
    (record,) = warnings.records
    assert record.getMessage() == "the notice could not be sent to http://127.0.0.1: it does not answer"
    assert look_at("told", store)["state"] == "finished"


def test_a_signal_is_not_kept_waiting(hook: Hook, warnings: pytest.LogCaptureFixture) -> None:
    hook.open.clear()
    Notice(hook.url, {}).wait(PATIENCE_SECONDS, lambda: bool(hook.taken))
    assert warnings.records[0].getMessage().endswith("it does not answer")


def test_a_request_that_is_refused_posts_nothing(go: Go, hook: Hook) -> None:
    go(hook.url)
    with pytest.raises(RequestError, match="already exists"):
        go(hook.url)
    assert len(hook.taken) == 1


def test_it_may_be_changed_when_a_sweep_is_resumed(go: Go, hook: Hook) -> None:
    go(hook.url.replace("secret", "other"), True)
    go(hook.url, True)
    assert [notice["state"] for notice in hook.taken] == ["finished"] * 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/x", "must be like https://HOST/PATH, but got 'ftp://host/x'"),
        ("host/x", "must be like https://HOST/PATH"),
        ("http://", "must be like https://HOST/PATH"),
        ("http://host:99999/", "must be like https://HOST/PATH: Port out of range"),
        ("https://me:hush@host/", "must not hold a user or a password"),
        ("https://me@host/", "must not hold a user or a password"),
        ("https://host/?password=hush", "must not hold a user or a password"),
    ],
)
def test_an_address_that_is_none_or_holds_a_password(images: str, url: str, says: str) -> None:
    with pytest.raises(SpecError, match=r"spec:9: tracking\.notify: ") as error:
        parse(SPEC.format(images=images, url=url))
    assert says in str(error.value) and "hush" not in str(error.value)


def test_it_is_in_the_spec_only_where_it_is_given(images: str) -> None:
    spec = parse(SPEC.format(images=images, url="https://host/x"))
    assert "notify: 'https://host/x'" in spec.to_yaml() and parse(spec.to_yaml()) == spec
    assert "notify" not in parse(spec.to_yaml(), settings=["tracking.notify=null"]).to_yaml()
