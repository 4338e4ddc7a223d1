"""What a sweep's records take on the disk, told before."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps.cli import _status
from sweeps.disk import SWEEP, disk_of, shortage, shown
from sweeps.plan import disk_bytes
from sweeps.spec.reading import parse
from tracking.store import Store
from trainers.members import MemberConfig

SPEC = """\
name: x
base: {epochs: 2, data: digits}
seeds: 3
arms: {plain: {}, paper: {alpha: 2.0}}
search: {space: {alpha: {low: 1, high: 4}}, configurations: 4, sampler: {name: random, seed: 0}}
"""


def test_every_configuration_counts_and_confirmed_ones_again() -> None:
    member = MemberConfig(epochs=9)
    one = disk_of([([member], 1)]) - SWEEP
    assert disk_of([([member] * 6, 1)]) == SWEEP + 6 * one
    assert one < disk_of([([member], 8)]) - SWEEP < 8 * one  # MLflow has means over the seeds
    assert disk_bytes(parse(SPEC)) == disk_of([([MemberConfig(epochs=2)] * 6, 3)])
    assert disk_bytes(parse(SPEC + "confirm: {top: 2, seeds: 5}\n")) > disk_bytes(parse(SPEC))


def test_the_estimate_is_of_the_size_of_the_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.yaml").write_text(SPEC)
    store = tmp_path / "store"
    assert _status(["run", str(tmp_path / "x.yaml"), "--executor", "in-process", "--store", str(store)]) == 0
    size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    estimate = disk_bytes(parse(SPEC))
    assert estimate / 4 < size < 1.5 * estimate


def test_a_disk_with_less_room_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "not" / "there")
    assert shortage(1, store) == []
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 3_000_000}))
    assert shortage(8_000_000_000, store) == [
        f"the disk of {store.folder} has 3 MB free, and the records may take 8.0 GB"
    ]


def test_numbers_of_bytes() -> None:
    assert [shown(count) for count in (5_200_000, 999_000_000, 8_123_000_000)] == ["5 MB", "999 MB", "8.1 GB"]
