"""The driver's machine loses its power in the middle of a sweep: of each file only what was synchronized is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import CONFIGURATIONS, RECORDS, Harness, moments, preloadable

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that keeps what has been synchronized."""
    return preloadable("power.c", tmp_path_factory.mktemp("power"))


def lose_power(sweep: Harness, kept: Path) -> int:
    """Every file of the driver's as it was when it was last synchronized; how many have lost something."""
    store, lost = sweep.store, 0
    for file in store.folder.rglob("*"):
        if file.is_file():
            copy = kept / str(file.stat().st_ino)
            safe = copy.read_bytes() if copy.exists() else b""
            lost += file.read_bytes() != safe
            file.write_bytes(safe)
    return lost


@pytest.mark.slow
def test_the_power_fails(sweep: Harness, noted: Any, shim: Path, tmp_path: Path) -> None:
    with noted("faults", "the power of the driver's machine fails", seed := 61) as note:
        sweep.set(LD_PRELOAD=str(shim), GRADSWEEP_TEST_POWER=str(tmp_path))
        words, at = ["run", sweep.spec_file(), "--executor", "in-process"], []
        for moment in moments(seed, 4):
            process = sweep.start(*words)
            at.append(sweep.reach(moment, process))
            process.kill()
            process.communicate()
            # The index of a write-ahead log is in memory: it at least is lost.
            assert lose_power(sweep, tmp_path)
            assert sweep.records() >= at[-1]
            words = [*words[:4], "--resume"]
        sweep(*words)
        note.tried = (
            f"four times, at {' and '.join(map(str, at))} of {RECORDS} records, {CONFIGURATIONS} configurations: all "
            "that had not been synchronized is gone; then run --resume"
        )
        note.outcome = str(sweep.must_be_sound())
