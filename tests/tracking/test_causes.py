"""What the gradients are said to show is what the records hold."""

from __future__ import annotations

from typing import Any

from tests.tracking.tables import table
from tracking.verdict.causes import causes

VALUES = {"plain": [0.5] * 3, "paper": [0.6] * 3}


def said(**columns: Any) -> tuple[str, ...]:
    frame, _ = table(VALUES, **columns)
    return causes(frame, 0, 1, ("plain", "paper"))


def test_numbers_beside_each_other() -> None:
    found = said(
        **{
            "gradient.data.rms": {"plain": 1e-9, "paper": 1e-3},
            "gradient.data.vanished": {"plain": 0.97, "paper": 0.02},
            "layer.conv1.saturated": {"plain": 0.88, "paper": 0.45},
        }
    )
    assert found[0] == (
        "At epoch 0, plain and paper: rms of the data gradient 1e-09 and 0.001; vanished coordinates 97% and 2%; "
        "saturated units 88% and 45%; dead units 0% and 0%."
    )
    assert found[1].startswith("At epoch 1, plain and paper:")
    assert "Most units of plain were saturated at the start (88%); with rescaling by alpha 45% were." in found
    assert "Most of plain's gradient had vanished before the first step." in found


def test_rescaling_without_saturation() -> None:
    assert "No unit of plain was ever saturated, so that rescaling by alpha had nothing to act on." in said(
        **{"layer.conv1.saturated": {"plain": 0.0, "paper": 0.0}}
    )
    assert any(
        s.startswith("Never more than 0.40% of plain's units in a layer were saturated")
        for s in said(**{"layer.conv1.saturated": {"plain": (0.0, 0.004), "paper": 0.0}})
    )
    late = said(**{"layer.conv1.saturated": {"plain": (0.0, 0.3), "paper": 0.0}})
    assert not any("rescaling" in s for s in late), "it was saturated once: no more is said than that"
    other = said(**{"layer.conv1.saturated": {"plain": 0.0}, "activation": {"paper": "relu"}})
    assert not any("rescaling" in s for s in other), "another activation is no rescaling"
    alike = said(**{"layer.conv1.saturated": {"plain": 0.0}, "alpha": {"paper": 1.0}})
    assert not any("rescaling" in s for s in alike)


def test_the_penalty_and_the_layers() -> None:
    found = said(
        **{
            "r": {"plain": 0.0, "paper": 0.01},
            "gradient.total.rms": {"plain": 0.001, "paper": 0.05},
            "layer.conv1.saturated": {"plain": (0.9, 0.8), "paper": (0.9, 0.1)},
            "gradient.first_to_last": {"plain": 1e-6, "paper": 0.3},
        }
    )
    assert "Before the first step the penalty made paper's gradient 50 times that of the data." in found
    assert (
        "From the first epoch to the last, saturated units went from 90% to 80% in plain and from 90% to 10% in paper."
        in found
    )
    assert (
        "Before the first step the first layer's gradient was 1e-06 of the last layer's in plain, 0.3 in paper."
        in found
    )


def test_without_records_nothing_is_said() -> None:
    frame, _ = table(VALUES)
    assert causes(frame, 0, 7, ("plain", "other")) == ()


def test_nothing_is_said_of_a_network_that_is_no_longer_finite() -> None:
    found = said(
        **{
            "r": {"plain": 0.0, "paper": 0.01},
            "validation.loss": {"plain": (2.3, float("nan")), "paper": 2.0},
            "gradient.data.rms": {"plain": (0.001, float("nan"))},
            "layer.conv1.saturated": {"plain": (0.9, 0.0), "paper": (0.9, 0.1)},
        }
    )
    assert [s for s in found if "nan" in s] == []
    assert not any(s.startswith("From the first epoch to the last") and "to 0% in plain" in s for s in found), found


def test_what_is_said_of_all_seeds_holds_for_each() -> None:
    frame, _ = table(VALUES, **{"layer.conv1.saturated": {"plain": 0.0}})
    one = (frame["configuration"] == 0) & (frame["seed"] == 2)
    frame.loc[one, "layer.conv1.saturated"] = 0.02
    frame["gradient.first_to_last"] = 0.1
    found = causes(frame, 0, 1, ("plain", "paper"))
    assert not any("Never more than" in s for s in found), "one seed had more than the mean"
    assert any("the first layer's gradient was 0.1 of the last layer's" in s for s in found)
    frame.loc[one, "gradient.first_to_last"] = float("nan")
    assert not any("the first layer's" in s for s in causes(frame, 0, 1, ("plain", "paper"))), "0 by 0 on one seed"
