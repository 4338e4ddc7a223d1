"""States of members in a bucket: a worker on another machine goes on from there, to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.driver.bucket import Bucket, forget, forget_others, mirror
from sweeps.driver.kept import Kept
from sweeps.driver.packs import Pack, PackedConfiguration, PackReport, train_pack
from sweeps.executors.ray_tune import Parcel
from sweeps.executors.ray_tune import _reports as worker_reports
from tracking.store import Store
from trainers.members import MemberConfig
from trainers.objectives import Objective

ACCURACY = "validation.accuracy"


def numbers(report: PackReport) -> list[dict[str, float]]:
    return [{k: v for k, v in r.metrics.items() if k != "seconds"} for r in report.records[0]]


def pack(images: str, past: dict[int, float]) -> Pack:
    member = MemberConfig(data=images, init_scale=1.0, epochs=5, batch_size=8)
    return Pack(
        "p0", (PackedConfiguration(0, (member.with_seed(0),), past),), objectives=(Objective(ACCURACY),), epochs=5
    )


def test_a_worker_elsewhere_goes_on_from_what_is_booked(images: str, tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    undisturbed = list(train_pack(pack(images, {})))
    booked: dict[int, float] = {}
    with mirror(url, "sweep", "p0") as (states, push):
        for report in train_pack(pack(images, {}), states):
            push()
            booked[report.epoch] = report.records[0][0].metrics[ACCURACY]
            if report.epoch == 3:
                break
    assert not states.parent.exists()
    kept = Bucket(url, "sweep", "p0").names()
    assert 1 <= len(kept) <= 3 and all(name.startswith("p0.npz.") for name in kept)
    with mirror(url, "sweep", "p0") as (states, _):
        rest: list[Any] = list(train_pack(pack(images, booked), states))
    assert [r.epoch for r in rest] == [4, 5]
    assert [numbers(r) for r in rest] == [numbers(r) for r in undisturbed[4:]]
    forget(url, "sweep", "p0")
    assert Bucket(url, "sweep", "p0").names() == set()
    forget(url, "sweep", "p0")


def test_a_killed_worker_leaves_nothing_for_long_and_one_that_wakes_up_takes_nothing(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    elsewhere = (tmp_path / "another").as_uri()
    with (
        mirror(url, "sweep", "p0") as (lost, push),
        mirror(url, "sweep", "p1") as (other, _),
        mirror(elsewhere, "sweep", "p0") as (same, _),
    ):
        lost.with_name("p0.npz.1").write_bytes(b"states")
        push()
        with mirror(url, "sweep", "p0") as (new, _):
            assert not lost.parent.exists()
            assert other.parent.exists() and same.parent.exists()
            assert new.with_name("p0.npz.1").read_bytes() == b"states"
            push()
            assert Bucket(url, "sweep", "p0").names() == {"p0.npz.1"}


def test_what_no_pack_goes_on_with_is_deleted(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    forget_others(url, "sweep", ())
    for name in ("p0", "p1", "p2"):
        Bucket(url, "sweep", name).put(f"{name}.npz.1", b"states")
    forget_others(url, "sweep", {"p1"})
    left = {name for name in ("p0", "p1", "p2") if Bucket(url, "sweep", name).names()}
    assert left == {"p1"}


def test_a_bucket_that_can_not_be_used_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        Bucket((tmp_path / "file").as_uri(), "sweep").put("x", b"")


def test_what_is_kept_is_in_the_bucket_before_its_report_and_stays(images: str, tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    store = Store(tmp_path / "store", checkpoints=url)
    kept, reader = Kept.of("sweep", store, "states"), Kept.of("sweep", store)
    there = {r.epoch: reader.numbers() for r in worker_reports(config(images, url) | {"kept": kept})}
    assert there == {0: set(), 1: set(), 2: set(), 3: set(), 4: set(), 5: {0}}
    forget(url, "sweep", "p0")
    forget_others(url, "sweep", ())
    (state,) = reader.load(0)
    assert reader.has_states(0) and not reader.has_states(1)
    assert (state.epoch, state.member.seed, state.trainable) == (5, 0, True)
    assert not (tmp_path / "store").exists()


def test_what_cant_be_kept_in_a_bucket_stops_the_sweep(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.driver.bucket.PATIENCE_SECONDS", 0.1)
    (tmp_path / "file").touch()
    kept = Kept(tmp_path / "store", (tmp_path / "file").as_uri(), "weights")
    *_, last = worker_reports(config(images, (tmp_path / "bucket").as_uri()) | {"kept": kept})
    assert (dict(last.records), dict(last.ended), last.last) == ({}, {}, True)
    assert last.stop.startswith(f"can't save the states of pack p0 in {(tmp_path / 'file').as_uri()}: ")


def config(images: str, url: str) -> dict[str, Any]:
    return {
        "parcel": Parcel(pack(images, {})),
        "states": "",
        "bucket": url,
        "sweep": "sweep",
        "kept": None,
        "cpus": 1,
        "gpus": 0,
    }


def test_a_bucket_that_does_not_come_back_stops_the_sweep_and_fails_nothing(
    images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.driver.bucket.PATIENCE_SECONDS", 0.1)
    bucket = tmp_path / "bucket"
    (bucket / "sweep").mkdir(parents=True)
    worker = worker_reports(config(images, bucket.as_uri()))
    seen = [next(worker), next(worker)]
    bucket.rename(tmp_path / "away")
    bucket.touch()
    (last,) = worker
    assert [r.epoch for r in seen] == [0, 1]
    assert (dict(last.records), dict(last.ended), last.last) == ({}, {}, True)
    assert last.stop.startswith("can't keep the states of pack p0 in file://")


def test_a_bucket_that_comes_back_is_waited_for(images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, away = tmp_path / "bucket", tmp_path / "away"
    (bucket / "sweep").mkdir(parents=True)
    worker = worker_reports(config(images, bucket.as_uri()))
    first = [next(worker), next(worker)]
    bucket.rename(away)
    bucket.touch()

    def back(_: float) -> None:
        bucket.unlink()
        away.rename(bucket)

    monkeypatch.setattr("tenacity.nap.time.sleep", back)
    rest = list(worker)
    assert [r.epoch for r in (*first, *rest)] == [0, 1, 2, 3, 4, 5]
    assert not any(r.stop for r in rest)
