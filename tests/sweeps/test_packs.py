"""A pack in the worker: every configuration gets its own end, and none of them disturbs its packmates."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search_spaces.plan import Settings
from sweeps.packs import Pack, PackedConfiguration, PackReport, mean, train_pack
from trainers.members import EpochRecord, MemberConfig

ACCURACY = "validation.accuracy"
Make = Callable[..., PackedConfiguration]


@pytest.fixture(scope="module")
def configuration(images: str) -> Make:
    def make(number: int, seeds: int = 2, **fields: Any) -> PackedConfiguration:
        member = MemberConfig(**{"data": images, "init_scale": 1.0, "epochs": 2, "batch_size": 8} | fields)
        return PackedConfiguration(number, tuple(member.with_seed(s) for s in range(seeds)))

    return make


def pack(*configurations: PackedConfiguration, **fields: Any) -> Pack:
    return Pack("p0", configurations, metrics=(ACCURACY,), epochs=2, **fields)


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
    assert end.values == (mean(alone[-1].records[7], ACCURACY),)


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
    impossible = Settings("threshold", {"lower": 2.0})
    reports = trained(pack(configuration(7, r=0.01), pruner=impossible))
    assert [r.epoch for r in reports] == [0, 1]
    assert reports[-1].last
    end = reports[-1].ended[7]
    assert end.state == "pruned"
    assert end.values == (mean(alone[1].records[7], ACCURACY),)
    assert "epoch 1 of 2" in end.reason


def test_an_error_in_training_is_an_end_with_a_one_line_reason(configuration: Make) -> None:
    reports = trained(pack(configuration(1, data="folder:/nowhere"), configuration(2, data="folder:/nowhere")))
    assert len(reports) == 1
    assert reports[0].last
    assert {n: e.state for n, e in reports[0].ended.items()} == {1: "failed", 2: "failed"}
    reason = reports[0].ended[1].reason
    assert "/nowhere" in reason
    assert "\n" not in reason


def test_a_lost_worker_costs_one_epoch_and_changes_no_bit(
    configuration: Make, alone: list[PackReport], tmp_path: Path
) -> None:
    states = tmp_path / "p0.npz"
    whole = pack(configuration(7, r=0.01, epochs=3))
    lost = train_pack(whole, states)
    seen = [next(lost) for _ in range(3)]
    # Epoch 2 was reported, and the worker was lost before it could save it.
    lost.close()
    assert [numbers(r.records[7]) for r in seen] == [numbers(r.records[7]) for r in alone]
    again = trained(whole, states)
    assert [r.epoch for r in again] == [2, 3]
    assert numbers(again[0].records[7]) == numbers(alone[2].records[7])


def test_what_has_ended_is_not_trained_again(configuration: Make, tmp_path: Path) -> None:
    states = tmp_path / "p0.npz"
    both = (configuration(0, seeds=1, epochs=3), configuration(1, seeds=1, epochs=3, r=0.01))
    lost = train_pack(pack(*both), states)
    for _ in range(3):
        next(lost)
    lost.close()
    assert [(r.epoch, sorted(r.records)) for r in train_pack(pack(both[1]), states)] == [(2, [1]), (3, [1])]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn"])
def test_a_torn_file_of_states_is_as_good_as_none(
    configuration: Make, content: bytes, alone: list[PackReport], tmp_path: Path
) -> None:
    states = tmp_path / "p0.npz"
    states.write_bytes(content)
    again = trained(pack(configuration(7, r=0.01)), states)
    assert [numbers(r.records[7]) for r in again] == [numbers(r.records[7]) for r in alone]


def test_states_of_some_members_only_are_not_used(configuration: Make, alone: list[PackReport], tmp_path: Path) -> None:
    states = tmp_path / "p0.npz"
    lost = train_pack(pack(configuration(7, seeds=1, r=0.01, epochs=3)), states)
    for _ in range(3):
        next(lost)
    lost.close()
    again = trained(pack(configuration(7, r=0.01)), states)
    assert [r.epoch for r in again] == [0, 1, 2]
    assert [numbers(r.records[7]) for r in again] == [numbers(r.records[7]) for r in alone]


def test_a_report_survives_pickling(alone: list[PackReport]) -> None:
    for report in alone:
        copy = pickle.loads(pickle.dumps(report))
        assert copy == report
        assert repr(copy) == f"PackReport('p0', epoch={report.epoch})"


def test_a_report_without_records_survives_pickling(configuration: Make) -> None:
    report = trained(pack(configuration(1, data="folder:/nowhere")))[0]
    assert pickle.loads(pickle.dumps(report)) == report
