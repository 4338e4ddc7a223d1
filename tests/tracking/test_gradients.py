"""What is reported of the gradients is what the records hold, and nothing else."""

from __future__ import annotations

import pytest

from tests.tracking.tables import table
from tracking.verdict.gradients import gradients
from tracking.verdict.sections import sections
from tracking.verdict.verdict import judge

VALUES = {"plain": [0.5] * 3, "paper": [0.6] * 3}
NAMES = {0: "plain", 1: "paper", 7: "other"}


def test_the_numbers_of_each_at_both_ends() -> None:
    frame, _ = table(
        VALUES,
        **{
            "gradient.data.rms": {"plain": 1e-9, "paper": 1e-3},
            "gradient.data.vanished": {"plain": 0.97, "paper": 0.02},
            "layer.conv1.saturated": {"plain": 0.875, "paper": (0.5, 0.25)},
        },
    )
    moments = gradients(frame, [1, 0, 7], NAMES)
    numbers = [(m.configuration, m.epoch, m.rms, m.vanished, m.saturated, m.dead) for m in moments]
    assert numbers == [
        ("paper", 0, pytest.approx(1e-3), pytest.approx(0.02), 0.5, 0.0),
        ("paper", 1, pytest.approx(1e-3), pytest.approx(0.02), 0.25, 0.0),
        ("plain", 0, pytest.approx(1e-9), pytest.approx(0.97), 0.875, 0.0),
        ("plain", 1, pytest.approx(1e-9), pytest.approx(0.97), 0.875, 0.0),
    ]


def test_the_table_has_a_column_per_arm_and_no_sentence() -> None:
    """Rescaling tripled the gradient and gained 10 points though no unit was saturated: no cause is named for that."""
    frame, outcomes = table(
        VALUES | {"alpha=3": [0.4] * 3, "alpha=4": [0.7] * 3},
        **{
            "gradient.data.rms": {"plain": 0.001, "paper": (0.003, 0.002)},
            "gradient.total.rms": {"plain": 0.001, "paper": (0.004, 0.002)},
            "layer.conv1.saturated": dict.fromkeys(VALUES, (0.0063, 0.0)),
        },
    )
    last = sections(judge(frame, outcomes, [], sweep="made"))[-1]
    (shown,) = last.tables
    assert (last.title, last.sentences) == ("What the gradients show", ())
    assert shown.columns == ("measured~", "epoch#", "plain#", "paper#")
    rows = dict(((row[0], row[1]), row[2:]) for row in shown.rows)
    assert rows["rms of the loss's gradient", "0"] == ("0.001", "0.003")
    assert rows["rms of the loss's gradient", "1"] == ("0.001", "0.002")
    assert rows["rms with the penalty", "0"] == ("0.001", "0.004")
    assert rows["saturated units", "0"] == ("0.6%", "0.6%")
    assert not any("first layer" in name for name, _ in rows), "it was not recorded"
    assert shown.title.startswith("Medians of sizes and means of shares over the seeds")


def test_one_seed_is_not_the_size_and_counts_as_one_in_shares() -> None:
    """A mean of 180 with a median of 0.8 is what one seed of five made of it."""
    frame, _ = table({"plain": [0.5] * 5})
    frame["gradient.data.rms"] = frame["seed"].map({0: 0.7, 1: 0.8, 2: 0.9, 3: 0.8, 4: 900.0})
    frame["gradient.first_to_last"] = frame["seed"].map({4: float("inf")}).fillna(0.5)
    frame["gradient.data.vanished"] = frame["dead_layers"] = frame["seed"].map({4: 1.0}).fillna(0.0)
    first, _ = gradients(frame, [0], NAMES)
    assert (first.rms, first.first_to_last, first.vanished, first.dead_layers) == (0.8, 0.5, 0.2, 0.2)


@pytest.mark.parametrize(
    ("activations", "rows"),
    [
        (("tanh", "sigmoid"), ("saturated units", "units with no slope on any image")),
        (("relu", "gelu"), ("inactive units", "dead units", "wholly dead layers")),
        (
            ("tanh", "relu"),
            ("saturated units (of relu: inactive)", "units with no slope on any image (of relu: dead)"),
        ),
        (("identity", "none of ours"), ("saturated units",)),
    ],
)
def test_units_are_called_by_what_their_activation_does(activations: tuple[str, str], rows: tuple[str, ...]) -> None:
    frame, outcomes = table(VALUES)
    frame["activation"] = frame["configuration"].map(dict(enumerate(activations)))
    frame["dead_layers"] = float("relu" in activations[0])
    (shown,) = sections(judge(frame, outcomes, [], sweep="made"))[-1].tables
    named = [row[0] for row in shown.rows if row[1] == "0"]
    assert [name for name in named if "units" in name or "layers" in name][: len(rows)] == [*rows]
    assert ("dead layers" in named[-1]) == ("relu" in activations[0]), "it is shown where there are some"


def test_nothing_is_counted_of_a_network_that_is_no_longer_finite() -> None:
    frame, _ = table(
        VALUES,
        **{
            "validation.loss": {"plain": (2.3, float("nan")), "paper": 2.0},
            "gradient.data.rms": {"plain": (0.001, float("nan"))},
            "layer.conv1.saturated": {"plain": (0.9, 0.0), "paper": (0.9, 0.1)},
        },
    )
    assert [(m.configuration, m.epoch) for m in gradients(frame, [0, 1], NAMES)] == [
        ("plain", 0),
        ("paper", 0),
        ("paper", 1),
    ]


def test_a_number_that_one_seed_does_not_have_is_none() -> None:
    frame, _ = table(VALUES)
    frame.loc[(frame["configuration"] == 0) & (frame["seed"] == 2), "gradient.data.rms"] = float("nan")
    assert [m.rms for m in gradients(frame, [0, 1], NAMES)] == [None, None, pytest.approx(0.001), pytest.approx(0.001)]
