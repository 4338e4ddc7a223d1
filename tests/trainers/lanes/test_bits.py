"""The same bits: alone or among others, on one thread or several, straight through or resumed."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainers.lanes.judge import Case, cases, glorot, images, members
from tests.trainers.lanes.members import data as few
from tests.trainers.lanes.members import members as any_members
from tests.trainers.lanes.members import started
from trainers.data.dataset import Dataset, Split
from trainers.lanes import kernels
from trainers.lanes.engine import MEMBERS_A_CALL, LaneEngine
from trainers.layers import IMAGE, Dense
from trainers.members import MemberConfig, layers_of
from trainers.optimizers import OPTIMIZERS
from trainers.regimes import network
from trainers.states import MemberState, initial_state, load_states, save_states
from trainers.streams import order_of_images

lanes_settings = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

State = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def start(case: Case) -> State:
    p = case.parameters
    return p.copy(), np.zeros_like(p), np.zeros_like(p), np.zeros(len(p), np.int64)


def epochs(case: Case, state: State, which: range, batch_size: int, threads: int) -> list[np.ndarray]:
    """Train for these epochs in place; everything that could differ: losses, states, evaluation, probe."""
    found = []
    for epoch in which:
        n = len(case.split.labels)
        orders = np.stack([order_of_images(m.seed, epoch, n) for m in case.members])
        rates = np.array([[m.learning_rate] * -(-n // batch_size) for m in case.members])
        parameters, *kept, steps = state
        buffers = np.zeros((len(steps), 0), np.float32)
        arrays = (parameters, kept, buffers, steps, rates)
        found += kernels.train_epoch(case.layers, case.members, *arrays, case.split, orders, batch_size, threads)
        found += [a.copy() for a in state]
        found += kernels.evaluate(case.layers, case.members, state[0], buffers, case.split, threads)
        found += kernels.probe_gradient(case.layers, case.members, state[0], case.split, threads)
    return found


def only(case: Case, i: int) -> Case:
    return Case(case.layers, case.split, case.members[i : i + 1], case.parameters[i : i + 1])


def bits(arrays: list[np.ndarray], i: int | None = None) -> list[bytes]:
    return [(a if i is None else a[i : i + 1]).tobytes() for a in arrays]


@lanes_settings
@given(
    case=cases(most_images=100, most_members=9),
    batch_size=st.integers(1, 120),
    threads=st.integers(2, 5),
    data=st.data(),
)
def test_alone_in_a_pack_on_threads_and_resumed(
    build: str, case: Case, batch_size: int, threads: int, data: st.DataObject
) -> None:
    together = epochs(case, start(case), range(1, 3), batch_size, 1)
    assert bits(epochs(case, start(case), range(1, 3), batch_size, threads)) == bits(together)

    i = data.draw(st.integers(0, len(case.members) - 1), label="member")
    alone = only(case, i)
    state = start(alone)
    before = epochs(alone, state, range(1, 2), batch_size, threads)
    resumed = tuple(np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape).copy() for a in state)
    assert bits(before + epochs(alone, resumed, range(2, 3), batch_size, 1)) == bits(together, i)


def test_one_among_64(build: str) -> None:
    layers = network("combined")
    some = tuple(MemberConfig(seed=s, alpha=1 + s / 10, activation=("tanh", "silu")[s % 2]) for s in range(64))
    parameters = np.stack([glorot(layers, (3, 32, 32), s) for s in range(64)])
    case = Case(layers, images(37, (3, 32, 32), 10, 0), some, parameters)
    together = epochs(case, start(case), range(1, 2), 32, 2)
    for i in (0, 63):
        alone = only(case, i)
        assert bits(epochs(alone, start(alone), range(1, 2), 32, 1)) == bits(together, i)


DENSE = (Dense("wide", 70, True), Dense("narrow", 3), Dense("last", 200), Dense("output", 10, True, activated=False))


@pytest.mark.parametrize(
    "layers, image", [(network("large-parameters"), IMAGE), (DENSE, (3, 5, 7)), (network("recurrent"), IMAGE)]
)
def test_a_large_batch_that_is_summed_in_several_goes(build: str, layers: tuple, image: tuple) -> None:
    """More groups of images than are on their way at a time (MOST_KEPT in network.h), for a team and alone."""
    split = images(700, image, 10, 1)
    case = Case(layers, split, (MemberConfig(),), glorot(layers, image, 1)[None])
    found = [epochs(case, start(case), range(1, 2), 650, threads) for threads in (1, 2, 3)]
    assert bits(found[0]) == bits(found[1]) == bits(found[2])


def whole_states(engine: LaneEngine, states: list[MemberState], epochs: int) -> list[list[bytes]]:
    """Train for so many epochs: everything of each member that could differ."""
    for _ in range(epochs):
        states = [state for state, *_ in engine.train_epoch(states)]
    scores, probes = engine.evaluate(states, "test"), engine.probe(states)
    return [
        bits([s.parameters, s.buffers, *s.kept, np.array(score), *probe])
        for s, score, probe in zip(states, scores, probes, strict=True)
    ]


@lanes_settings
@given(member=any_members, optimizer=st.sampled_from(list(OPTIMIZERS)), threads=st.integers(2, 3))
def test_a_member_of_any_kind(
    build: str, tmp_path_factory: pytest.TempPathFactory, member: MemberConfig, optimizer: str, threads: int
) -> None:
    """In a pack of five of which it shares the network alone, on threads, and interrupted."""
    member = replace(member, optimizer=optimizer)
    others = [replace(member, seed=s, alpha=1 + s / 10, r=s / 100, learning_rate=0.01 / (1 + s)) for s in range(4)]
    dataset, layers = few(50), layers_of(member, 10)
    states = [started(m, dataset) for m in (*others, member)]
    alone = LaneEngine(layers, dataset, "cpu", 1)
    expected = whole_states(alone, states[-1:], 2)[0]
    assert whole_states(LaneEngine(layers, dataset, "cpu", threads), states, 2)[-1] == expected
    ((after, *_),) = LaneEngine(layers, dataset, "cpu", threads).train_epoch(states[-1:])
    path = tmp_path_factory.mktemp("states") / "one.npz"
    save_states([after], path)
    assert whole_states(alone, list(load_states(path)), 1)[0] == expected


@lanes_settings
@given(case=cases(most_images=30), member=members)
def test_a_diverged_member_leaves_the_others_alone(build: str, case: Case, member: MemberConfig) -> None:
    broken = np.full_like(case.parameters[0], np.nan)
    both = Case(case.layers, case.split, (*case.members, member), np.stack([case.parameters[0], broken]))
    found = epochs(both, start(both), range(1, 2), 16, 2)
    assert bits(found, 0) == bits(epochs(case, start(case), range(1, 2), 16, 1))
    assert np.isnan(found[0][1])  # its loss says so


def test_a_large_pack_is_evaluated_in_several_calls_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between calls an interrupt is seen."""
    if kernels.builds() == ():
        pytest.skip("the lane engine was not compiled")
    member = MemberConfig(regime="large-parameters")
    layers = network("large-parameters")
    parts = [Split(s.images, s.labels) for s in (images(37, (3, 32, 32), 10, i) for i in range(3))]
    engine = LaneEngine(layers, Dataset("few", tuple("abcdefghij"), *parts, digest=""), "cpu", threads=2)
    states = [initial_state(member.with_seed(s), layers) for s in range(2 * MEMBERS_A_CALL + 3)]
    members, parameters = [s.member for s in states], np.stack([s.parameters for s in states])
    whole = kernels.evaluate(
        layers, members, parameters, np.zeros((len(states), 0), np.float32), engine.splits["test"], 2
    )
    probed = kernels.probe_gradient(layers, members, parameters, engine.splits["probe"], 2)
    calls = {name: Mock(wraps=getattr(kernels, name)) for name in ("evaluate", "probe_gradient")}
    for name, call in calls.items():
        monkeypatch.setattr(kernels, name, call)
    assert engine.evaluate(states, "test") == list(zip(*(column.tolist() for column in whole), strict=True))
    for found, rows in zip(engine.probe(states), zip(*probed, strict=True), strict=True):
        assert bits([found.gradient, found.saturated, found.dead]) == bits(list(rows))
    for call in calls.values():
        assert [len(c.args[1]) for c in call.call_args_list] == [2 * MEMBERS_A_CALL, 3]
