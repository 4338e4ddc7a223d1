"""Records through the store: into the ledger, from there into the mirrors, and from the ledger into pandas.

A record is what one member did in one epoch, all of its metrics. 25 seeds per configuration, 40 epochs; the numbers are
random, for nothing is trained.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
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
NAME = "bench"


def measure(records: int) -> Iterator[Measured]:
    """One per step."""
    metrics = names(network("combined"))
    configurations = max(1, records // (SEEDS * EPOCHS))
    with tempfile.TemporaryDirectory(prefix="gradsweep-bench-") as folder:
        store = Store.at(Path(folder) / "store").create()
        began = time.perf_counter()
        _record(store, configurations, metrics)
        yield _measured("into the ledger", configurations, began)
        began = time.perf_counter()
        mirrors = Mirrors(store, NAME)
        mirrors.start()
        lag = mirrors.close(24 * 3600.0)
        if lag.waiting:
            raise SystemExit(f"{lag.waiting} configurations are not in the mirrors: {lag.problem}")
        size = store.mlflow_db.stat().st_size / 2**20 / configurations
        yield _measured(f"into the mirrors ({size:.2f} MiB of mlflow.db per configuration)", configurations, began)
        began = time.perf_counter()
        frame = load(NAME, store)
        yield _measured(f"from the ledger into pandas ({len(frame):,} rows)", configurations, began)


def _record(store: Store, configurations: int, metrics: tuple[str, ...]) -> None:
    values = np.random.default_rng(0).normal(size=(SEEDS, len(metrics)))
    with closing(Ledger.create(store.ledger_url)) as ledger:
        sweep = ledger.begin(Sweep(NAME, f"name: {NAME}\n"))
        for number in range(configurations):
            alpha = 1.0 + number / 1000
            member = asdict(MemberConfig(alpha=alpha, epochs=EPOCHS))
            del member["seed"]
            seeds, parameters = tuple(range(SEEDS)), {"alpha": alpha}
            running = Configuration(number, f"alpha={alpha:g}", member, seeds, parameters=parameters)
            ledger.add(sweep, [running])
            for epoch in range(EPOCHS):
                last = epoch == EPOCHS - 1
                ended = [replace(running, state="complete", values=(0.5,), order=number)] if last else []
                ledger.record(sweep, {number: Epoch(epoch, "lanes", metrics, values, 0.5)}, ended)
        ledger.finish(sweep, "finished", "", trained=True)


def _measured(what: str, configurations: int, began: float) -> Measured:
    seconds, count = time.perf_counter() - began, configurations * SEEDS * EPOCHS
    tried = f"{configurations} configurations of {SEEDS} seeds and {EPOCHS} epochs"
    return Measured(f"{count:,} records {what}", tried, f"{seconds:.1f} s, {count / seconds:,.0f} per second")
