"""A clock that jumps back an hour in the middle of a sweep, for the driver, Ray and the workers."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import CONFIGURATIONS, RECORDS, Harness, moments, preloadable

pytestmark = pytest.mark.timeout(3600)
HOUR = 3600 * 10**9


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that puts a process's clock back."""
    return preloadable("clock.c", tmp_path_factory.mktemp("clock"))


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["in-process", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_clock_that_jumps_back(sweep: Harness, noted: Any, shim: Path, tmp_path: Path, executor: str) -> None:
    with noted("faults", f"the clock jumps back an hour, {executor}", seed := 31) as note:
        clock = tmp_path / "clock"
        clock.write_bytes(struct.pack("q", 0))
        sweep.set(LD_PRELOAD=str(shim), GRADSWEEP_TEST_CLOCK=str(clock))
        process, at = sweep.start("run", sweep.spec_file(), "--executor", executor), []
        for times, moment in enumerate(moments(seed, 2), 1):
            at.append(sweep.reach(moment, process))
            with clock.open("r+b") as file:
                file.write(struct.pack("q", -times * HOUR))
        sweep.finish(process)
        assert came_back(sweep) == 2
        note.tried = f"twice, at {' and '.join(map(str, at))} of {RECORDS} records, {CONFIGURATIONS} configurations"
        note.outcome = str(sweep.must_be_sound())


def came_back(sweep: Harness) -> int:
    """How often a record is some 59 minutes older than the one booked before it."""
    with closing(sqlite3.connect(sweep.store.folder / "ledger.db")) as db:
        times = [at for (at,) in db.execute("SELECT at FROM gradsweep_epochs ORDER BY rowid")]
    return sum(later < earlier - 59 * 60_000 for earlier, later in zip(times, times[1:], strict=False))
