"""The mirror over HTTP to a real server, which dies in the middle and comes back; and on a real PostgreSQL."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.service.servers import DATABASE_PASSWORD, Postgres
from tests.tracking.mirrors.conftest import Made, client_of, in_mlflow, in_optuna, mirrored
from tracking.ledger import Ledger
from tracking.mirrors.follower import Lag, Mirrors, check_login, refuse_foreign
from tracking.mirrors.mlflow import MlflowMirror
from tracking.store import Address, Store
from trainers.errors import StoreError, Unavailable


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back_has_every_record_once(
    store: Store,
    ledger: Ledger,
    maker: Any,
    server: Any,
    until: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gradsweep")
    server.start()
    sweep = maker.begin(ledger)
    mirrors = Mirrors(store, "sweep", server.uri)
    mirrors.start()
    maker.configuration(ledger, sweep, 0)
    maker.configuration(ledger, sweep, 1, "running", epochs=1)
    until(lambda: mirrors.waiting() == 0)
    # Dies with something under way, perhaps.
    maker.configuration(ledger, sweep, 2)
    server.stop()
    for number in (3, 4):
        maker.configuration(ledger, sweep, number)
    for epoch in (1, 2):
        ledger.record(sweep, {1: maker.epoch(1, epoch)}, [])
    ledger.record(sweep, {}, [replace(maker.added(1), state="pruned", order=1)])
    # What is down holds nobody up: all of that was written while nothing could be sent.
    assert mirrors.waiting() >= 3
    server.start()
    store.report("sweep").mkdir(parents=True)
    (store.report("sweep") / "report.html").write_text("a page")
    ledger.finish(sweep, "finished", "Done.", trained=True)
    assert mirrors.close(60) == Lag(0, None)

    client = client_of(store, server.uri)
    number = client.get_experiment_by_name("sweep").experiment_id
    assert f"MLflow: {server.uri}/#/experiments/{number}/runs?workflowType=machine_learning" in caplog.messages
    assert client.get_experiment_by_name("sweep").artifact_location.startswith("mlflow-artifacts:")
    over_http = in_mlflow(store, server.uri)
    assert over_http["sweep"][-1].keys() == {"spec.yaml", "report.html"}
    # As a database on this machine has it that was never away.
    ledger.forget(sweep, "mlflow")
    assert mirrored(store) == Lag(0, None)
    assert over_http == in_mlflow(store)


@pytest.mark.slow
def test_what_a_configuration_costs(
    store: Store, ledger: Ledger, maker: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch per configuration and round; the run, its end, its two files, and where these are put."""
    server.start()
    asked: list[str] = []
    request = requests.Session.request

    def noted(self: requests.Session, method: str, url: str, *more: Any, **options: Any) -> requests.Response:
        asked.append(f"{method} {url.rpartition('/')[2]}")
        return request(self, method, url, *more, **options)

    monkeypatch.setattr(requests.Session, "request", noted)
    sweep = maker.begin(ledger)
    mirror = MlflowMirror(store, ledger, server.uri)
    assert mirror.round(sweep, True)
    for number in range(3):
        maker.configuration(ledger, sweep, number, "running", epochs=5)
    asked.clear()
    assert mirror.round(sweep, True)
    assert Counter(asked) == {"POST create": 3, "POST log-batch": 3}
    for number in range(3):
        ledger.record(sweep, {number: maker.epoch(number, 5)}, [])
    asked.clear()
    assert mirror.round(sweep, True)
    assert asked == ["POST log-batch"] * 3
    for number in range(3):
        end = replace(maker.added(number), state="complete", values=(0.5,), order=number)
        ledger.record(sweep, {number: maker.epoch(number, 6)}, [end])
    asked.clear()
    assert mirror.round(sweep, True)
    mirror.close()
    files = dict.fromkeys(["PUT records.parquet", "PUT layers.parquet"], 3)
    # The fourth batch is the sweep's own.
    assert Counter(asked) == {"GET get": 3, **files, "POST log-batch": 4, "POST update": 3}


class Refusing(BaseHTTPRequestHandler):
    """A server that answers with one status, whatever it is asked."""

    status = 500

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"no")

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def refusing(status: int) -> Iterator[str]:
    handler = type("Handler", (Refusing,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "mendable"), [(500, True), (503, True), (401, False), (403, False)])
def test_what_a_server_refuses_is_still_known_to_be_lacking(
    store: Store, made: Made, status: int, mendable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made("complete")
    with refusing(status) as uri:
        mirrors = Mirrors(store, "sweep", uri)
        mirrors.start()
        # It is no use to wait for what no retry can mend, and so it is not done.
        lag = mirrors.close(1 if mendable else 600)
        if mendable:
            check_login(uri)
        else:
            with pytest.raises(StoreError, match="refuses this driver .*MLFLOW_TRACKING_USERNAME"):
                check_login(uri)
        refuse_foreign(store, "free", uri)
    assert lag.waiting == 2
    assert lag.problem is not None and str(status) in lag.problem and "\n" not in lag.problem
    assert len([r for r in caplog.records if r.name == "gradsweep" and r.levelname == "WARNING"]) == 1


def test_a_database_that_does_not_answer_is_said_in_one_line(store: Store, made: Made, tmp_path: Path) -> None:
    sweep = made("complete")
    ledger = Ledger.create(store.ledger_url)
    mirror = MlflowMirror(store, ledger, f"postgresql://ann:secret@/mlflow?host={tmp_path}")
    with pytest.raises(Unavailable) as raised:
        mirror.round(sweep, True)
    mirror.close()
    ledger.close()
    assert "\n" not in str(raised.value) and "secret" not in str(raised.value)


@pytest.mark.postgres
def test_a_sweep_on_postgres_is_what_it_is_on_sqlite(store: Store, made: Made, ledger: Ledger, maker: Any) -> None:
    sweep = made("complete", "pruned", "diverged", "failed", status="finished")
    assert mirrored(store) == Lag(0, None)
    postgres = Postgres(DATABASE_PASSWORD)
    try:
        uri = str(postgres.create("mlflow"))
        team = replace(store, ledger=Address(plain=str(postgres.create("team"))))
        elsewhere = Ledger.create(team.ledger_url)
        copied = elsewhere.begin(sweep)
        configurations = ledger.configurations(sweep)
        elsewhere.add(copied, [replace(c, epoch=-1, state="running", ended=None) for c in configurations])
        for number, epoch in ledger.epochs(sweep):
            elsewhere.record(copied, {number: epoch}, [])
        elsewhere.record(copied, {}, configurations)
        elsewhere.finish(copied, "finished", "**Confirmed.**", trained=True)
        assert mirrored(team, uri) == Lag(0, None)
        elsewhere.close()
        uri = uri.replace("postgresql:", "postgresql+psycopg:")
        once = in_mlflow(team, uri), in_optuna(team)
        assert once[0]["#0 plain"][2]["gradsweep.mark"] == copied.mark
        here = in_mlflow(store)
        for name in ("#0 plain", "#1 paper", "#2 alpha=3", "#3 alpha=4"):
            assert once[0][name] == (*here[name][:2], here[name][2] | {"gradsweep.mark": copied.mark}, *here[name][3:])
        assert once[1]["sweep"][-1] == in_optuna(store)["sweep"][-1]
        assert mirrored(team, uri, rebuild=True) == Lag(0, None)
        assert (in_mlflow(team, uri), in_optuna(team)) == once
    finally:
        postgres.stop()
