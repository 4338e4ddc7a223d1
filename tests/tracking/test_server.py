"""Delivery over HTTP to a real server, which dies in the middle and comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tracking import mlflow_api
from tracking.delivery import Delivered, Delivery
from tracking.outbox import Outbox
from tracking.results import load, outcomes, sweeps
from tracking.spool import Spool
from tracking.store import Store


def test_a_server_that_dies_and_comes_back_has_every_record_once(
    store: Store, spool: Spool, maker: Any, server: Any, until: Callable[..., None]
) -> None:
    server.start()
    maker.begin(spool)
    delivery = Delivery(store, "sweep", server.uri)
    delivery.start()
    maker.configuration(spool, 0)
    maker.configuration(spool, 1, "running", epochs=1)
    until(lambda: spool.waiting() == 0)
    # Dies with something under way, perhaps.
    maker.configuration(spool, 2)
    server.stop()
    for number in (3, 4):
        maker.configuration(spool, number)
    for epoch in (1, 2):
        spool.add(1, maker.records(1, epoch))
    spool.end(1, "pruned", (0.5,), "")
    # What is down holds nobody up: all of that was written while nothing could be delivered.
    assert spool.waiting() >= 13
    server.start()
    (store.report("sweep") / "figures").mkdir(parents=True)
    (store.report("sweep") / "report.html").write_text("a page")
    (store.report("sweep") / "figures" / "seeds.svg").write_text("<svg/>")
    spool.finish("FINISHED", "Done.")
    assert delivery.drain(60) == Delivered(0, None)

    client = mlflow_api.MlflowClient(server.uri, registry_uri=server.uri)
    experiment = client.get_experiment_by_name("sweep")
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(r.info.run_name for r in runs) == ["alpha=3", "alpha=4", "alpha=5", "paper", "plain", "sweep"]
    (parent,) = [r for r in runs if r.info.run_name == "sweep"]
    assert "report.html" in [f.path for f in client.list_artifacts(parent.info.run_id)]
    assert [f.path for f in client.list_artifacts(parent.info.run_id, "figures")] == ["figures/seeds.svg"]
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert len(children) == 5
    assert {r.info.status for r in runs} == {"FINISHED"}
    for run in children:
        number = int(run.data.tags["gradsweep.configuration"])
        assert len(run.data.metrics) == 3 * len(maker.metrics)
        history = client.get_metric_history(run.info.run_id, "validation.accuracy/mean")
        assert [(m.step, m.timestamp) for m in history] == [(e.epoch, e.at) for e in spool.epochs(number)]

    # Another machine, where no spool lies, reads the same table.
    import pandas.testing

    elsewhere = Store.at(store.folder.parent / "elsewhere")
    pandas.testing.assert_frame_equal(load("sweep", elsewhere, server.uri), load("sweep", store), check_exact=True)
    assert outcomes("sweep", elsewhere, server.uri) == outcomes("sweep", store)
    assert [(s.name, s.status) for s in sweeps(elsewhere, server.uri)] == [("sweep", "FINISHED")]


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


@pytest.mark.parametrize(("status", "mendable"), [(500, True), (503, True), (401, False), (403, False)])
def test_what_a_server_refuses_waits_in_the_spool(
    store: Store, spool: Spool, maker: Any, status: int, mendable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    handler = type("Handler", (Refusing,), {"status": status})
    with HTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            maker.begin(spool)
            maker.configuration(spool, 0)
            delivery = Delivery(store, "sweep", f"http://127.0.0.1:{http.server_port}")
            delivery.start()
            # It is no use to wait for what no retry can mend, and so it is not done.
            left = delivery.drain(2 if mendable else 600)
        finally:
            http.shutdown()
            thread.join()
    assert left.waiting == 6
    assert left.problem is not None and str(status) in left.problem and "\n" not in left.problem
    assert len([r for r in caplog.records if r.name == "gradsweep" and r.levelname == "WARNING"]) == 1
    assert len(Outbox(spool).waiting()) == 1
