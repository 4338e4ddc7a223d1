"""A step from a known gradient: each optimizer, penalty, bound and learning rate against the tables' float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainers import reference
from trainers.data.dataset import Dataset, Split
from trainers.lanes.engine import LaneEngine
from trainers.members import EPSILON_AT, INPUTS, MemberConfig, layers_of
from trainers.optimizers import OPTIMIZERS
from trainers.penalties import PENALIZED, PENALTIES, penalty_gradient
from trainers.reference import ReferenceEngine
from trainers.schedules import SCHEDULES, learning_rates
from trainers.states import MemberState, initial_state
from trainers.statistics import penalized
from trainers.streams import order_of_images

COUNT = 20  # images in a batch, which is an epoch


def split(seed: int, count: int = COUNT) -> Split:
    random = np.random.default_rng(seed)
    return Split(random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), random.integers(0, 10, count))


TRAIN = split(0)
DATA = Dataset("random", tuple("abcdefghij"), TRAIN, split(1), split(2), digest="")

optimized = st.builds(
    MemberConfig,
    regime=st.sampled_from(["large-parameters", "mlp"]),
    init_scale=st.just(0.5),
    blocks=st.sampled_from([0, 1]),
    optimizer=st.sampled_from(list(OPTIMIZERS)),
    epsilon=st.sampled_from([1e-7, 1e-3]),
    epsilon_at=st.sampled_from(list(EPSILON_AT)),
    penalty=st.sampled_from(list(PENALTIES)),
    penalized=st.sampled_from(list(PENALIZED)),
    r=st.sampled_from([0.0, 0.1]),
    clip=st.sampled_from([0.0, 0.5, 100.0]),
    schedule=st.sampled_from(list(SCHEDULES)),
    warmup=st.sampled_from([0, 2]),
    loss=st.sampled_from(["cross_entropy", "squared"]),
    epochs=st.just(4),
    batch_size=st.just(COUNT),
    seed=st.integers(0, 1000),
)


def expected(state: MemberState, gradient: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The parameters and what the optimizer keeps after the step, in float64, given the gradient of the loss."""
    member, layers = state.member, layers_of(state.member, 10)
    array = reference.Array(layers, [state], torch.device("cpu"))
    array.parameters, array.kept = array.parameters.double(), tuple(k.double() for k in array.kept)
    array.r = torch.tensor([member.r], dtype=torch.float64)
    p = state.parameters.astype(np.float64)
    kind, r = np.array(list(PENALTIES).index(member.penalty)), member.r * penalized(member, layers)
    total = gradient + penalty_gradient(kind, p, r, np)
    rate = torch.tensor(learning_rates(member, state.epoch + 1, 1))[None]
    array.update(torch.tensor(total)[None], rate)
    return array.parameters[0].numpy(), [k[0].numpy() for k in array.kept]


def assert_close(found: np.ndarray, true: np.ndarray, tolerance: float) -> None:
    assert found.dtype == np.float32 and np.isfinite(found).all()
    assert np.linalg.norm(found - true) <= tolerance * np.linalg.norm(true)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(member=optimized)
def test_steps_are_those_of_the_tables_in_float64(build: str, member: MemberConfig) -> None:
    layers = layers_of(member, 10)
    engine = LaneEngine(layers, DATA, "cpu", 2)
    state = initial_state(member, layers)
    for _ in range(3):
        # the batch in the order in which the step sees it, so that its gradient is the same to the bit
        engine.splits["probe"] = TRAIN.take(order_of_images(member.seed, state.epoch + 1, COUNT))
        gradient = engine.probe([state])[0].gradient.astype(np.float64)
        parameters, kept = expected(state, gradient)
        ((after, _, _),) = engine.train_epoch([state])
        step = np.abs(parameters - state.parameters)
        assert (np.abs(after.parameters - parameters) <= 1.2e-7 * np.abs(parameters) + 1e-4 * step.max()).all()
        for found, true in zip(after.kept, kept, strict=True):
            assert_close(found, true, 2e-6)
        state = after


@pytest.mark.parametrize("input", INPUTS)
def test_every_input_is_what_the_reference_engine_sees(build: str, input: str) -> None:
    member = MemberConfig(regime="large-parameters", input=input, init_scale=0.2, alpha=300.0, batch_size=8)
    layers = layers_of(member, 10)
    state, engine = initial_state(member, layers), LaneEngine(layers, DATA, "cpu", 1)
    judge = ReferenceEngine(layers, DATA, "cpu", 1)
    np.testing.assert_allclose(engine.evaluate([state], "test"), judge.evaluate([state], "test"), rtol=1e-5)
    found, true = engine.probe([state])[0].gradient, judge.probe([state])[0].gradient
    assert np.linalg.norm(found - true) <= 1e-4 * np.linalg.norm(true)
    (after, *_), (other, *_) = engine.train_epoch([state])[0], judge.train_epoch([state])[0]
    assert np.linalg.norm(after.kept[0] - other.kept[0]) <= 1e-3 * np.linalg.norm(other.kept[0])


def test_bytes_are_exact(build: str) -> None:
    """All 256 of them, read off the gradient by the first weights."""
    levels = np.zeros((1, 3, 32, 32), np.uint8)
    levels[0, 0].flat[:256] = np.arange(256)
    only = Split(levels, np.zeros(1, np.int64))
    member = MemberConfig(regime="mlp", dense=0, dense_bias=False, input="bytes", loss="squared")
    layers = layers_of(member, 10)
    engine = LaneEngine(layers, Dataset("levels", tuple("abcdefghij"), only, only, only, digest=""), "cpu", 1)
    state = initial_state(member, layers)
    state = replace(state, parameters=np.zeros_like(state.parameters))
    gradient = engine.probe([state])[0].gradient.reshape(10, -1)
    # the outputs are 0, so that the gradient by a weight of the right class is -2/10 of the pixel
    assert np.array_equal(gradient[0], np.float32(-0.2) * levels.ravel().astype(np.float32))
