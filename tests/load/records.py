"""Records through the store: into the spool, from there to MLflow, and from MLflow back into pandas.

A record is what one member did in one epoch, all of its metrics. 25 seeds a configuration, 40 epochs; the numbers are
random, for nothing is trained.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.load.measured import Measured
from tracking.delivery import Delivery
from tracking.results import load
from tracking.spool import Spool, SweepRun
from tracking.store import Store
from trainers.members import EpochRecord, MemberConfig
from trainers.metrics import names
from trainers.regimes import network

SEEDS, EPOCHS = 25, 40


def measure(records: int) -> Iterator[Measured]:
    """One a step."""
    metrics = names(network("combined"))
    configurations = max(1, records // (SEEDS * EPOCHS))
    with tempfile.TemporaryDirectory(prefix="gradsweep-bench-") as folder:
        store = Store.at(Path(folder) / "store").create()
        began = time.perf_counter()
        _spool(store, configurations, metrics)
        yield _measured("into the spool", configurations, began)
        began = time.perf_counter()
        delivery = Delivery(store, "bench")
        delivery.start()
        left = delivery.drain(24 * 3600.0)
        if left.waiting:
            raise SystemExit(f"{left.waiting} events are not in MLflow: {left.problem}")
        size = store.mlflow_db.stat().st_size / 2**20
        yield _measured(
            f"to MLflow ({3 * len(metrics) * configurations * EPOCHS:,} metrics, {size:.0f} MiB)", configurations, began
        )
        for file in store.spool.iterdir():
            file.unlink()
        began = time.perf_counter()
        frame = load("bench", store)
        yield _measured(f"from MLflow into pandas ({len(frame):,} rows)", configurations, began)


def _spool(store: Store, configurations: int, metrics: tuple[str, ...]) -> None:
    spool = Spool.at(store.spool_file("bench"))
    spool.begin(SweepRun("bench"))
    random = np.random.default_rng(0)
    values = random.normal(size=(SEEDS, len(metrics))).tolist()
    for number in range(configurations):
        members = [MemberConfig(alpha=1.0 + number / 1000, seed=seed) for seed in range(SEEDS)]
        spool.start(number, "", f"alpha={1 + number / 1000:g}", members)
        for epoch in range(EPOCHS):
            of = [
                EpochRecord(m, epoch, "lanes", dict(zip(metrics, row, strict=True)))
                for m, row in zip(members, values, strict=True)
            ]
            spool.add(number, of)
        spool.end(number, "complete", (0.5,))
    spool.finish("FINISHED", "")
    spool.close()


def _measured(what: str, configurations: int, began: float) -> Measured:
    seconds, count = time.perf_counter() - began, configurations * SEEDS * EPOCHS
    tried = f"{configurations} configurations of {SEEDS} seeds and {EPOCHS} epochs"
    return Measured(f"{count:,} records {what}", tried, f"{seconds:.1f} s, {count / seconds:,.0f} a second")
