"""What the gradients are said to show is what the records hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tracking.tables import table
from tracking.verdict.causes import causes

VALUES = {"plain": [0.5] * 3, "paper": [0.6] * 3}
PAIR, NAMES = (0, 1), {0: "plain", 1: "paper", 7: "other"}


def sentences(**columns: Any) -> tuple[str, ...]:
    frame, _ = table(VALUES, **columns)
    return causes(frame, [PAIR], NAMES)[1]


def test_the_numbers_of_both_at_both_ends() -> None:
    frame, _ = table(
        VALUES,
        **{
            "gradient.data.rms": {"plain": 1e-9, "paper": 1e-3},
            "gradient.data.vanished": {"plain": 0.97, "paper": 0.02},
            "layer.conv1.saturated": {"plain": 0.875, "paper": (0.5, 0.25)},
        },
    )
    moments, words = causes(frame, [PAIR, PAIR], NAMES)
    numbers = [(m.configuration, m.epoch, m.rms, m.vanished, m.saturated, m.dead) for m in moments]
    assert numbers == [
        ("plain", 0, pytest.approx(1e-9), pytest.approx(0.97), 0.875, 0.0),
        ("plain", 1, pytest.approx(1e-9), pytest.approx(0.97), 0.875, 0.0),
        ("paper", 0, pytest.approx(1e-3), pytest.approx(0.02), 0.5, 0.0),
        ("paper", 1, pytest.approx(1e-3), pytest.approx(0.02), 0.25, 0.0),
    ]
    assert words == (
        "Most of the gradient of `plain` had vanished before the first step.",
        "Most units of `plain` (88%) were saturated at the start; with rescaling by alpha, 50% were.",
    )


def test_rescaling_without_saturation() -> None:
    assert "No unit of `plain` was ever saturated, so rescaling by alpha had nothing to act on." in sentences(
        **{"layer.conv1.saturated": {"plain": 0.0, "paper": 0.0}}
    )
    assert any(
        s.startswith("At most 0.40% of the units in any layer of `plain` were saturated")
        for s in sentences(**{"layer.conv1.saturated": {"plain": (0.0, 0.004), "paper": 0.0}})
    )
    late = sentences(**{"layer.conv1.saturated": {"plain": (0.0, 0.3), "paper": 0.0}})
    assert not any("rescaling" in s for s in late), "it was saturated once: no more is said than that"
    relu = sentences(**{"layer.conv1.saturated": {"plain": 0.0}, "activation": {"paper": "relu"}})
    assert not any("rescaling" in s for s in relu), "another activation is no rescaling"
    normalized = sentences(**{"layer.conv1.saturated": {"plain": 0.0}, "normalization": {"paper": "batch"}})
    assert not any("rescaling" in s for s in normalized), "another network is no rescaling either"
    alike = sentences(**{"layer.conv1.saturated": {"plain": 0.0}, "alpha": {"paper": 1.0}})
    assert not any("rescaling" in s for s in alike)


def test_the_penalty_and_the_layers() -> None:
    words = sentences(
        **{
            "r": {"plain": 0.0, "paper": 0.01},
            "gradient.total.rms": {"plain": 0.001, "paper": 0.05},
            "gradient.first_to_last": {"plain": 1e-6, "paper": 0.3},
        }
    )
    assert "Before the first step, the penalty made the gradient of `paper` 50 times as large." in words
    assert (
        "Before the first step, the first layer's gradient was 1e-06 times the last layer's in `plain` and 0.3 times "
        "in `paper`." in words
    )


def test_without_records_nothing_is_said() -> None:
    frame, _ = table(VALUES)
    assert causes(frame, [(0, 7)], NAMES) == ((), ())


def test_nothing_is_said_of_a_network_that_is_no_longer_finite() -> None:
    frame, _ = table(
        VALUES,
        **{
            "validation.loss": {"plain": (2.3, float("nan")), "paper": 2.0},
            "gradient.data.rms": {"plain": (0.001, float("nan"))},
            "layer.conv1.saturated": {"plain": (0.9, 0.0), "paper": (0.9, 0.1)},
        },
    )
    moments, words = causes(frame, [PAIR], NAMES)
    assert [(m.configuration, m.epoch) for m in moments] == [("plain", 0), ("paper", 0), ("paper", 1)]
    assert not any("nan" in s for s in words)


def test_a_number_that_one_seed_does_not_have_is_none() -> None:
    frame, _ = table(VALUES)
    frame.loc[(frame["configuration"] == 0) & (frame["seed"] == 2), "gradient.data.rms"] = float("nan")
    assert [m.rms for m in causes(frame, [PAIR], NAMES)[0]] == [None, None, pytest.approx(0.001), pytest.approx(0.001)]


def test_what_is_said_of_all_seeds_holds_for_each() -> None:
    frame, _ = table(VALUES, **{"layer.conv1.saturated": {"plain": 0.0}})
    one_seed = (frame["configuration"] == 0) & (frame["seed"] == 2)
    frame.loc[one_seed, "layer.conv1.saturated"] = 0.02
    frame["gradient.first_to_last"] = 0.1
    words = causes(frame, [PAIR], NAMES)[1]
    assert not any("At most" in s for s in words), "one seed had more than the mean"
    assert any("the first layer's gradient was 0.1 times the last layer's" in s for s in words)
    frame.loc[one_seed, "gradient.first_to_last"] = float("nan")
    assert not any("the first layer's" in s for s in causes(frame, [PAIR], NAMES)[1]), "0 by 0 on one seed"
