"""Records through the store: into the ledger, from there into the mirrors and back into pandas.

A record is what one member did in one epoch, all of its metrics. 25 seeds a configuration, 40 epochs; the numbers are
random, for nothing is trained.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.load.measured import Measured
from tracking.ledger import Ledger
from tracking.mirrors.follower import Mirrors
from tracking.results import load
from tracking.store import Store
from tracking.types import Configuration, Epoch, Sweep
from trainers.members import MemberConfig
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
        _record(store, configurations, metrics)
        yield _measured("into the ledger", configurations, began)
        began = time.perf_counter()
        mirrors = Mirrors(store, "bench")
        mirrors.start()
        lag = mirrors.close(24 * 3600.0)
        if lag.waiting:
            raise SystemExit(f"{lag.waiting} configurations are not in the mirrors: {lag.problem}")
        size = store.mlflow_db.stat().st_size / 2**20
        yield _measured(f"into the mirrors (mlflow.db: {size:.1f} MiB)", configurations, began)
        began = time.perf_counter()
        frame = load("bench", store)
        yield _measured(f"from the ledger into pandas ({len(frame):,} rows)", configurations, began)


def _record(store: Store, configurations: int, metrics: tuple[str, ...]) -> None:
    ledger = Ledger.create(store.ledger_url)
    sweep = ledger.begin(Sweep("bench", "name: bench\n"))
    values = np.random.default_rng(0).normal(size=(SEEDS, len(metrics)))
    for number in range(configurations):
        member = {**vars(MemberConfig(alpha=1.0 + number / 1000))}
        del member["seed"]
        added = Configuration(number, f"alpha={1 + number / 1000:g}", member, tuple(range(SEEDS)))
        ledger.add(sweep, [added])
        for epoch in range(EPOCHS):
            ledger.record(sweep, {number: Epoch(epoch, "lanes", metrics, values, 0.5)}, [])
        ledger.record(sweep, {}, [replace(added, state="complete", values=(0.5,), order=number)])
    ledger.finish(sweep, "finished", "", trained=True)
    ledger.close()


def _measured(what: str, configurations: int, began: float) -> Measured:
    seconds, count = time.perf_counter() - began, configurations * SEEDS * EPOCHS
    tried = f"{configurations} configurations of {SEEDS} seeds and {EPOCHS} epochs"
    return Measured(f"{count:,} records {what}", tried, f"{seconds:.1f} s, {count / seconds:,.0f} a second")
