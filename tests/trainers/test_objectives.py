"""What a course of epochs is worth under each goal and each choice of epochs, and what it is called."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.metrics import described, on_log_scale
from trainers.objectives import FARTHEST, Epochs, Near, Objective

RATIO = "gradient.first_to_last"
COURSE = {0: 0.1, 1: 0.4, 2: 0.8, 3: 0.6, 4: 0.7}
GOALS = st.sampled_from(["maximize", "minimize", Near(0.5)])
EPOCHS = st.one_of(
    st.sampled_from([Epochs(), Epochs("best")]),
    st.builds(Epochs, st.just("mean_of_last"), st.integers(1, 5)),
    st.builds(Epochs, st.just("first_above"), st.floats(-1, 1), st.just(99)),
)
OBJECTIVES = st.builds(Objective, st.sampled_from(["validation.accuracy", RATIO]), GOALS, EPOCHS)
VALUES = st.one_of(st.floats(-1, 1), st.sampled_from([math.nan, math.inf, 0.0]))


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        (Objective(), 0.7),
        (Objective(epoch=Epochs("best")), 0.8),
        (Objective(goal="minimize", epoch=Epochs("best")), 0.4),  # not that of epoch 0, before the first step
        (Objective(goal=Near(0.65), epoch=Epochs("best")), 0.05),
        (Objective(epoch=Epochs("mean_of_last", 2)), 0.65),
        (Objective(epoch=Epochs("mean_of_last", 9)), 0.625),  # all that there are
        (Objective(goal="minimize", epoch=Epochs("first_above", 0.5, 5)), 2),
        (Objective(goal="minimize", epoch=Epochs("first_above", 0.8, 5)), 5),
        (Objective(goal=Near(1.0)), 0.3),
        (Objective(RATIO, Near(1.4)), math.log(2)),
        (Objective(RATIO, Near(1.0), Epochs("mean_of_last", 2)), -math.log(0.6 * 0.7) / 2),
    ],
)
def test_what_a_course_is_worth(objective: Objective, value: float) -> None:
    assert objective.value(COURSE) == pytest.approx(value)


def test_epoch_0_counts_where_it_is_all_there_is() -> None:
    for epochs in (Epochs(), Epochs("best"), Epochs("mean_of_last", 3)):
        assert Objective(epoch=epochs).value({0: 0.1}) == 0.1
    assert Objective(goal="minimize", epoch=Epochs("first_above", 0.0, 5)).value({0: 0.1}) == 5
    untrained = Objective(goal="minimize", epoch=Epochs("first_above", 0.05).within(0))
    assert (untrained.value({0: 0.1}), untrained.value({0: 0.01})) == (0, 1)


def test_a_network_without_a_gradient_is_the_farthest_from_any_ratio() -> None:
    near = Objective(RATIO, Near(1e-300))
    largest = near.score(1.7e308)
    for nothing in (0.0, math.inf, math.nan):
        assert largest < near.score(nothing) == FARTHEST
    assert near.score(1e-300) == 0


def test_twice_as_large_is_as_far_as_half() -> None:
    near = Objective(RATIO, Near(1.0))
    assert near.score(2.0) == near.score(0.5) < near.score(4.0)


@given(OBJECTIVES, st.lists(VALUES, min_size=1, max_size=9))
def test_what_counts_so_far_is_all_that_later_epochs_need(objective: Objective, values: list[float]) -> None:
    """So a worker keeps that of each seed, and its last value is the one that the records give."""
    kept: dict[int, float] = {}
    for epoch, value in enumerate(values):
        kept = objective.counted(kept | {epoch: value})
    assert repr(kept) == repr(objective.counted(dict(enumerate(values))))
    assert repr(objective.value(kept)) == repr(objective.value(dict(enumerate(values))))


@given(GOALS, st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_no_epoch_is_better_than_the_best(goal: str | Near, values: list[float]) -> None:
    best = Objective(goal=goal, epoch=Epochs("best"))
    scores = [best.score(value) for value in values[1:]]
    assert best.value(dict(enumerate(values))) == (max if best.direction == "maximize" else min)(scores)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0, 1))
def test_never_is_worse_than_late(values: list[float], above: float) -> None:
    first = Objective(goal="minimize", epoch=Epochs("first_above", above).within(len(values)))
    epoch = first.value(dict(enumerate(values, 1)))
    assert epoch == next((e for e, v in enumerate(values, 1) if v > above), len(values) + 1)


def test_sizes_and_ratios_are_on_a_log_scale() -> None:
    on_log = {name for name in described() if on_log_scale(name)}
    assert {RATIO, "gradient.data.rms", "layer.NAME.update_to_weight", "layer.NAME.gradient.total.rms"} < on_log
    assert not on_log & {"validation.accuracy", "train.loss", "gradient.data.q50", "saturated", "seconds"}
    assert on_log_scale("layer.dense1.gradient.data.rms") and not on_log_scale("layer.dense1.dead")


@pytest.mark.parametrize(
    ("objective", "name", "direction"),
    [
        (Objective(), "validation.accuracy", "maximize"),
        (Objective("train.loss", "minimize", Epochs("best")), "train.loss at its best epoch", "minimize"),
        (Objective(epoch=Epochs("mean_of_last", 5)), "validation.accuracy over the last 5 epochs", "maximize"),
        (Objective(RATIO, Near(1.0)), "log distance of gradient.first_to_last from 1", "minimize"),
        (Objective("dead", Near(0.5), Epochs("best")), "distance of dead from 0.5 at its best epoch", "minimize"),
        (
            Objective(goal="minimize", epoch=Epochs("first_above", 0.5)),
            "first epoch with validation.accuracy above 0.5",
            "minimize",
        ),
    ],
)
def test_the_name_says_what_the_value_is(objective: Objective, name: str, direction: str) -> None:
    assert (objective.name, objective.direction) == (name, direction)
