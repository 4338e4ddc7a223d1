"""A pack in the worker: every configuration gets its own end, and none of them disturbs its packmates."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import pytest
import torch

from sweeps.driver.kept import Kept
from sweeps.driver.packs import Pack, PackedConfiguration, PackReport, train_pack
from trainers.errors import DeviceLost
from trainers.members import EpochRecord, MemberConfig
from trainers.objectives import Objective
from trainers.training import train

ACCURACY = "validation.accuracy"
Make = Callable[..., PackedConfiguration]


@pytest.fixture(scope="module")
def configuration(images: str) -> Make:
    def make(number: int, seeds: int = 2, **fields: Any) -> PackedConfiguration:
        member = MemberConfig(**{"data": images, "init_scale": 1.0, "epochs": 2, "batch_size": 8} | fields)
        return PackedConfiguration(number, tuple(member.with_seed(s) for s in range(seeds)))

    return make


def pack(*configurations: PackedConfiguration, **fields: Any) -> Pack:
    return Pack("p0", configurations, objectives=(Objective(ACCURACY),), epochs=2, **fields)


def trained(pack: Pack, states: Path | None = None) -> list[PackReport]:
    return list(train_pack(pack, states))


def numbers(records: tuple[EpochRecord, ...]) -> list[dict[str, float]]:
    """The metrics without the time they took, which is no property of the member."""
    return [{k: v for k, v in r.metrics.items() if k != "seconds"} for r in records]


@pytest.fixture(scope="module")
def alone(configuration: Make) -> list[PackReport]:
    return trained(pack(configuration(7, r=0.01)))


def test_a_report_an_epoch_with_all_seeds_and_the_end_in_the_last(alone: list[PackReport]) -> None:
    assert [r.epoch for r in alone] == [0, 1, 2]
    assert [[m.member.seed for m in r.records[7]] for r in alone] == [[0, 1]] * 3
    assert [dict(r.ended) for r in alone[:2]] == [{}, {}]
    assert [r.last for r in alone] == [False, False, True]
    end = alone[-1].ended[7]
    assert end.state == "complete"
    assert end.values == (fmean(r.metrics[ACCURACY] for r in alone[-1].records[7]),)


def test_a_diverging_configuration_ends_alone_with_its_last_records(
    configuration: Make, alone: list[PackReport]
) -> None:
    wild = configuration(3, activation="relu", learning_rate=1e30)
    reports = trained(pack(wild, configuration(7, r=0.01)))
    ends = {number: (r.epoch, end) for r in reports for number, end in r.ended.items()}
    epoch, end = ends[3]
    assert end.state == "diverged"
    assert end.values is None
    assert f"epoch {epoch}" in end.reason
    assert 3 in reports[epoch].records
    assert all(3 not in r.records for r in reports[epoch + 1 :])
    assert ends[7][1].state == "complete"
    assert [numbers(r.records[7]) for r in reports] == [numbers(r.records[7]) for r in alone]


def test_configurations_of_different_lengths_end_when_they_are_done(configuration: Make) -> None:
    reports = trained(pack(configuration(0, seeds=1, epochs=1), configuration(1, seeds=1, epochs=2)))
    assert [sorted(r.records) for r in reports] == [[0, 1], [0, 1], [1]]
    assert [sorted(r.ended) for r in reports] == [[], [0], [1]]


def test_two_equal_configurations_share_their_members(configuration: Make, alone: list[PackReport]) -> None:
    reports = trained(pack(configuration(7, r=0.01), configuration(8, r=0.01)))
    assert [numbers(r.records[8]) for r in reports] == [numbers(r.records[7]) for r in reports]
    assert [numbers(r.records[8]) for r in reports] == [numbers(r.records[7]) for r in alone]
    assert {n: e.state for n, e in reports[-1].ended.items()} == {7: "complete", 8: "complete"}


def test_a_pruner_drops_a_configuration_with_all_of_its_seeds(configuration: Make, alone: list[PackReport]) -> None:
    impossible = {"name": "threshold", "lower": 2.0}
    reports = trained(pack(configuration(7, r=0.01), pruner=impossible))
    assert [r.epoch for r in reports] == [0, 1]
    assert reports[-1].last
    end = reports[-1].ended[7]
    assert end.state == "pruned"
    assert end.values == (fmean(r.metrics[ACCURACY] for r in alone[1].records[7]),)
    assert "epoch 1 of 2" in end.reason


def test_an_error_in_training_is_an_end_with_a_one_line_reason(configuration: Make) -> None:
    reports = trained(pack(configuration(1, data="folder:/nowhere"), configuration(2, data="folder:/nowhere")))
    assert len(reports) == 1
    assert reports[0].last
    assert {n: e.state for n, e in reports[0].ended.items()} == {1: "failed", 2: "failed"}
    reason = reports[0].ended[1].reason
    assert "/nowhere" in reason
    assert "\n" not in reason
    assert reports[0].ended[1].traceback == "", "an error of ours has nothing to trace"


def test_a_programming_error_keeps_its_traceback(configuration: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("no such thing")

    monkeypatch.setattr("trainers.training.train", broken)
    report = pickle.loads(pickle.dumps(next(train_pack(pack(configuration(1))))))
    assert report.ended[1].reason == "KeyError: 'no such thing'"
    assert "in broken" in report.ended[1].traceback


def test_what_can_not_be_imported_is_no_end(configuration: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pack could be trained here: it is for the executor to end the sweep."""
    monkeypatch.setitem(sys.modules, "trainers.training", None)
    with pytest.raises(ImportError):
        next(train_pack(pack(configuration(1))))


def test_a_gpu_that_takes_no_more_work_is_no_end(configuration: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore")

    nowhere = pack(configuration(1, data="folder:/nowhere"))
    assert [r.ended[1].state for r in train_pack(nowhere, device="cuda")] == ["failed"]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    with pytest.raises(DeviceLost, match="^the GPU takes no more work: AcceleratorError: CUDA error: .*encountered$"):
        next(train_pack(nowhere, device="cuda"))
    assert [r.ended[1].state for r in train_pack(nowhere)] == ["failed"]


def test_an_error_after_an_end_that_was_not_reported_is_an_end_of_that_one_too(
    configuration: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr("sweeps.driver.checkpoints.save_states", no_memory)
    # Of different lengths: the states are saved for the second when the first has just ended.
    both = pack(configuration(0, seeds=1, epochs=1), configuration(1, seeds=1, epochs=2))
    reports = trained(both, tmp_path / "p0.npz")
    assert {n: e.state for r in reports for n, e in r.ended.items()} == {0: "failed", 1: "failed"}
    assert reports[-1].last


def known(configuration: PackedConfiguration, booked: int) -> PackedConfiguration:
    """The configuration as the driver issues it again after this epoch."""
    return replace(configuration, past=dict.fromkeys(range(booked + 1), 0.5))


def lost(pack: Pack, states: Path, reports: int) -> list[PackReport]:
    """What a worker reports that is lost after so many, the last of which may not have been booked."""
    worker = train_pack(pack, states)
    seen = [next(worker) for _ in range(reports)]
    worker.close()
    return seen


def test_a_lost_worker_costs_the_epoch_it_was_in_and_changes_no_bit(
    configuration: Make, alone: list[PackReport], tmp_path: Path
) -> None:
    states, whole = tmp_path / "p0.npz", configuration(7, r=0.01, epochs=4)
    seen = lost(pack(whole), states, 4)
    assert [numbers(r.records[7]) for r in seen[:3]] == [numbers(r.records[7]) for r in alone]
    # Epoch 3 was reported: whether it was booked is the driver's to say.
    booked, unbooked = (trained(pack(known(whole, epoch)), states) for epoch in (3, 2))
    assert [r.epoch for r in booked] == [4]
    assert [r.epoch for r in unbooked] == [3, 4]
    assert numbers(unbooked[0].records[7]) == numbers(seen[3].records[7])
    assert numbers(unbooked[1].records[7]) == numbers(booked[0].records[7])


def test_what_has_ended_is_not_trained_again(configuration: Make, tmp_path: Path) -> None:
    states = tmp_path / "p0.npz"
    both = (configuration(0, seeds=1, epochs=3), configuration(1, seeds=1, epochs=3, r=0.01))
    lost(pack(*both), states, 3)
    again = train_pack(pack(known(both[1], 1)), states)
    assert [(r.epoch, sorted(r.records)) for r in again] == [(2, [1]), (3, [1])]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn"])
@pytest.mark.parametrize(("torn", "first"), [((3,), 3), ((3, 2), 2), ((3, 2, 1), 0)])
def test_a_torn_file_of_states_costs_one_epoch(
    configuration: Make, content: bytes, torn: tuple[int, ...], first: int, tmp_path: Path
) -> None:
    whole = configuration(7, r=0.01, epochs=4)
    seen = lost(pack(whole), tmp_path / "p0.npz", 4)
    for epoch in torn:
        (tmp_path / f"p0.npz.{epoch}").write_bytes(content)
    again = trained(pack(known(whole, 3)), tmp_path / "p0.npz")
    assert [r.epoch for r in again] == list(range(first, 5))
    assert [numbers(r.records[7]) for r in again[:-1]] == [numbers(r.records[7]) for r in seen[first:]]


def test_states_of_some_members_only_are_not_used(configuration: Make, alone: list[PackReport], tmp_path: Path) -> None:
    states = tmp_path / "p0.npz"
    lost(pack(configuration(7, seeds=1, r=0.01, epochs=3)), states, 3)
    again = trained(pack(known(configuration(7, r=0.01), 2)), states)
    assert [r.epoch for r in again] == [0, 1, 2]
    assert [numbers(r.records[7]) for r in again] == [numbers(r.records[7]) for r in alone]


def test_two_epochs_are_kept_and_none_where_no_worker_is_to_follow(configuration: Make, tmp_path: Path) -> None:
    states = tmp_path / "p0.npz"
    files = []
    for report in train_pack(pack(configuration(7, seeds=1, epochs=5)), states):
        files.append((report.epoch, sorted(f.suffix for f in tmp_path.iterdir())))
    assert files == [
        (0, []),
        (1, [".1"]),
        (2, [".1", ".2"]),
        (3, [".1", ".2", ".3"]),
        (4, [".2", ".3", ".4"]),
        (5, [".3", ".4"]),
    ]


def test_old_states_that_cant_be_deleted_are_no_end(configuration: Make, tmp_path: Path) -> None:
    (tmp_path / "p0.npz.0").mkdir()
    reports = trained(pack(configuration(7, seeds=1, epochs=3)), tmp_path / "p0.npz")
    assert reports[-1].ended[7].state == "complete"


def test_where_the_states_cant_be_saved_the_sweep_stops_and_nothing_has_ended(
    configuration: Make, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    first, last = trained(pack(configuration(7, epochs=3)), tmp_path / "file" / "p0.npz")
    assert (first.epoch, first.stop, first.last) == (0, "", False)
    assert (dict(last.records), dict(last.ended), last.last) == ({}, {}, True)
    assert last.stop.startswith("can't save the states of pack p0 in ")
    assert pickle.loads(pickle.dumps(last)) == last


def test_the_last_states_are_kept_before_the_report_that_says_complete(
    configuration: Make, alone: list[PackReport], tmp_path: Path
) -> None:
    kept = Kept(tmp_path / "kept", keep="states")
    wild = configuration(3, activation="relu", learning_rate=1e30)
    short = configuration(1, seeds=1, epochs=1)
    # Two equal ones, as an arm and a suggestion may be.
    both = pack(short, wild, configuration(7, r=0.01), configuration(8, r=0.01))
    there = {r.epoch: kept.numbers() for r in train_pack(both, tmp_path / "states" / "p0.npz", kept)}
    assert there == {0: set(), 1: {1}, 2: {1, 7, 8}}
    for number in (7, 8):
        states = kept.load(number)
        assert [s.member for s in states] == list(configuration(7, r=0.01).members)
        assert {(s.epoch, s.trainable) for s in states} == {(2, True)}
    ours, theirs = ([s.parameters.tobytes() for s in kept.load(number)] for number in (7, 8))
    assert ours == theirs
    more = [MemberConfig(**vars(m) | {"epochs": 3}) for m in configuration(7, r=0.01).members]
    assert [r.epoch for r in train(more, [replace(s, member=m) for s, m in zip(states, more, strict=True)])] == [3, 3]


def test_weights_are_kept_without_what_the_optimizer_keeps(configuration: Make, tmp_path: Path) -> None:
    sizes = {}
    kinds: tuple[Literal["weights", "states"], ...] = ("weights", "states")
    for keep in kinds:
        kept = Kept(tmp_path, keep=keep)
        list(train_pack(pack(configuration(7, seeds=1)), None, kept))
        sizes[keep] = (tmp_path / f"7.{keep}.npz").stat().st_size
        assert kept.numbers() == {7}
        assert kept.has_states(7) is kept.load(7)[0].trainable is (keep == "states")
    assert 2 * 1078 * 4 <= sizes["states"] - sizes["weights"] <= 2 * 1078 * 4 + 1000


def test_a_pruned_configuration_is_not_kept(configuration: Make, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", keep="weights")
    pruned = pack(configuration(7), pruner={"name": "threshold", "lower": 2.0})
    assert [r.epoch for r in train_pack(pruned, None, kept)] == [0, 1]
    assert kept.numbers() == set()


def test_a_replacement_worker_keeps_the_same_bits(configuration: Make, tmp_path: Path) -> None:
    whole, kept = (
        configuration(7, r=0.01, epochs=4),
        [Kept(tmp_path / name, keep="weights") for name in ("undisturbed", "lost")],
    )
    list(train_pack(pack(whole), None, kept[0]))
    lost(pack(whole), tmp_path / "p0.npz", 4)
    list(train_pack(pack(known(whole, 3)), tmp_path / "p0.npz", kept[1]))
    assert [s.parameters.tobytes() for s in kept[0].load(7)] == [s.parameters.tobytes() for s in kept[1].load(7)]


def test_where_nothing_can_be_kept_the_sweep_stops_and_nothing_has_ended(configuration: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    *_, last = train_pack(pack(configuration(7)), None, Kept(tmp_path / "file" / "kept", keep="weights"))
    assert (dict(last.records), dict(last.ended), last.last) == ({}, {}, True)
    assert last.stop.startswith(f"can't save the states of pack p0 in {tmp_path / 'file' / 'kept'}: ")


def test_a_report_survives_pickling(alone: list[PackReport]) -> None:
    for report in alone:
        copy = pickle.loads(pickle.dumps(report))
        assert copy == report
        assert repr(copy) == f"PackReport('p0', epoch={report.epoch})"


def test_a_report_without_records_survives_pickling(configuration: Make) -> None:
    report = trained(pack(configuration(1, data="folder:/nowhere")))[0]
    assert pickle.loads(pickle.dumps(report)) == report
