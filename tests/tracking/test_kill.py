"""SIGKILL of a process that spools and delivers, at random moments, and one more that finishes."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracking import mlflow_api
from tracking.spool import Spool
from tracking.store import Store

CONFIGURATIONS = 24
DRIVER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from conftest import Maker
from tracking.delivery import Delivery
from tracking.spool import Spool
from tracking.store import Store

store, maker = Store.at(sys.argv[1]), Maker()
spool = Spool.at(store.spool_file("sweep"))
maker.begin(spool)
delivery = Delivery(store, "sweep")
delivery.start()
for number in range(int(sys.argv[3])):
    # What a resumed driver does: everything again, from the first epoch.
    maker.configuration(spool, number, "running")
    if number >= len(spool.configurations()) - 1:
        time.sleep(0.05)
    spool.end(number, "complete", (0.5,))
spool.finish("FINISHED", "Done.")
left = delivery.drain(60)
sys.exit(f"{left}" if left.waiting else 0)
"""


def start(store: Store) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(store.folder), str(here), str(CONFIGURATIONS)])


def runs_in(store: Store) -> int:
    try:
        db = sqlite3.connect(f"file:{store.mlflow_db}?mode=ro", uri=True)
        try:
            return int(db.execute("SELECT COUNT(*) FROM runs").fetchone()[0])
        finally:
            db.close()
    except sqlite3.Error:
        return 0


def test_a_killed_driver_is_finished_by_the_next(
    store: Store, maker: Any, until: Callable[..., None], capfd: Any
) -> None:
    draw = random.Random(7)
    for at_least in sorted(draw.sample(range(1, CONFIGURATIONS), 2)):
        driver = start(store)
        until(lambda n=at_least, d=driver: runs_in(store) >= n or d.poll() is not None)
        os.kill(driver.pid, signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL
    assert start(store).wait(120) == 0

    spool = Spool.at(store.spool_file("sweep"))
    assert spool.waiting() == 0
    client = mlflow_api.MlflowClient(store.mlflow_uri, registry_uri=store.mlflow_uri)
    experiment = client.get_experiment_by_name("sweep")
    runs = client.search_runs([experiment.experiment_id])
    numbers = Counter(r.data.tags.get("gradsweep.configuration") for r in runs)
    assert numbers == Counter([None, *map(str, range(CONFIGURATIONS))])
    assert {r.info.status for r in runs} == {"FINISHED"}
    for run in runs:
        if number := run.data.tags.get("gradsweep.configuration"):
            epochs = spool.epochs(int(number))
            history = client.get_metric_history(run.info.run_id, "train.loss/mean")
            assert [(m.step, m.timestamp) for m in history] == [(e.epoch, e.at) for e in epochs]
            assert [m.step for m in history] == [0, 1, 2]
            for epoch in epochs:
                expected = [list(r.metrics.values()) for r in maker.records(int(number), epoch.epoch)]
                assert epoch.values.tolist() == expected
    spool.close()
