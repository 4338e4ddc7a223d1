"""What every engine promises, on data small enough to check: one set of tests for all of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainers.cuda.device import DEVICE
from tests.trainers.lanes.judge import Case, regimes_of, smooth
from trainers import reference
from trainers.activations import ACTIVATIONS, SCALINGS
from trainers.cuda.engine import CudaEngine
from trainers.data.dataset import Dataset, Split, probe
from trainers.engines import SUPPORTS
from trainers.lanes import available
from trainers.lanes.engine import LaneEngine
from trainers.layers import CELLS, NORMALIZATIONS, buffer_shapes
from trainers.losses import LOSSES
from trainers.measurements.subject import measured
from trainers.members import EPSILON_AT, INPUTS, LEARN_ALPHA, EpochRecord, MemberConfig
from trainers.metrics import names
from trainers.optimizers import OPTIMIZERS
from trainers.penalties import PENALIZED, PENALTIES
from trainers.reference import ReferenceEngine, forward
from trainers.regimes import REGIMES
from trainers.schedules import SCHEDULES
from trainers.states import MemberState, initial_state, load_states, save_states
from trainers.statistics import layer_statistics
from trainers.training import Engine, Training, layers_of, train

BuildEngine = Callable[..., Engine]


def split(count: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    # brighter where the label is higher, so that there is something to learn
    images = random.integers(0, 100, (count, 3, 32, 32)) + 15 * labels[:, None, None, None]
    return Split(images.astype(np.uint8), labels)


TINY = Dataset("tiny", tuple("abcdefghij"), split(70, 0), split(20, 1), split(30, 2), digest="")
# Two of the cuda engine's blocks of images, the second one incomplete.
FEW = Dataset("few", tuple("abcdefghij"), split(34, 0), split(5, 1), split(6, 2), digest="")


def member_of(regime: str = "combined", **fields: Any) -> MemberConfig:
    """A member of a regime, whose network and initial values are filled in, and of which nothing more is measured."""
    return MemberConfig(**{"regime": regime, "init_scale": 1.0, "epochs": 3, "batch_size": 32, "measure": ()} | fields)


BASE = member_of()


# Under Triton's interpreter the cuda engine takes minutes for what takes the others a second.
MINUTES = [] if DEVICE == "cuda" else [pytest.mark.slow, pytest.mark.timeout(1800)]


REGIMES_OF = {"reference": list(REGIMES)} | {name: regimes_of(name) for name in SUPPORTS}
every_regime = pytest.mark.parametrize(
    "build, regime",
    [
        pytest.param(engine, regime, marks=MINUTES if engine == "cuda" else [])
        for engine, regimes in REGIMES_OF.items()
        for regime in regimes
    ],
    indirect=["build"],
)


def by_reference(member: MemberConfig, threads: int, data: Dataset = TINY) -> Engine:
    return ReferenceEngine(layers_of(member, 10), data, "cpu", threads)


@pytest.fixture(params=["reference", "lanes", pytest.param("cuda", marks=MINUTES)])
def build(request: pytest.FixtureRequest) -> BuildEngine:
    if request.param == "lanes" and available() is None:
        pytest.skip("the lane engine was not compiled")
    if request.param == "reference":
        return by_reference
    engines = {"lanes": LaneEngine, "cuda": CudaEngine}
    device = DEVICE if request.param == "cuda" else "cpu"
    return lambda member, threads, data=TINY: engines[request.param](layers_of(member, 10), data, device, threads)


@pytest.fixture
def not_interpreted(request: pytest.FixtureRequest) -> str:
    """The engine's name."""
    engine: str = request.node.callspec.params["build"]
    if engine == "cuda" and DEVICE == "cpu":
        pytest.skip("hours under Triton's interpreter: tests/trainers/cuda/test_bits.py is its share")
    return engine


def training_of(states: Sequence[MemberState], engine: Engine, data: Dataset = TINY) -> Training:
    """The training that `train` makes of them, on any data."""
    return Training(states, engine, partial(measured, layers=engine.layers, dataset=data, threads=1))


def records(
    build: BuildEngine, members: list[MemberConfig], threads: int = 1, data: Dataset = TINY
) -> list[EpochRecord]:
    layers = layers_of(members[0], 10)
    states = [initial_state(m, layers, data) for m in members]
    return list(training_of(states, build(members[0], threads, data), data))


def numbers(record: EpochRecord) -> tuple[MemberConfig, int, list[bytes]]:
    """What must be equal to the bit: all but the time it took."""
    values = [np.float64(v).tobytes() for name, v in record.metrics.items() if name != "seconds"]
    return record.member, record.epoch, values


@every_regime
def test_a_record_a_member_and_epoch_with_every_metric(build: BuildEngine, regime: str) -> None:
    members = [member_of(regime, seed=s, epochs=1 + s) for s in range(2)]
    found = records(build, members)
    assert [(r.member.seed, r.epoch) for r in found] == [(0, 0), (1, 0), (0, 1), (1, 1), (1, 2)]
    for record in found:
        assert tuple(record.metrics) == names(layers_of(members[0], 10), members[0].measure or ())
        assert all(type(v) is float and np.isfinite(v) for v in record.metrics.values())
        assert 0 <= record.metrics["train.accuracy"] <= 1
    assert found[0].metrics["layer.output.update_to_weight"] == 0
    assert found[2].metrics["layer.output.update_to_weight"] > 0


@st.composite
def packs(draw: st.DrawFn, engine: str) -> list[MemberConfig]:
    """Members that the engine trains together; on the reference engine of any network, optimizer, loss and input."""
    common, own, learned = {"regime": draw(st.sampled_from(REGIMES_OF[engine]))}, {}, False
    if engine == "reference":
        learned = draw(st.booleans())
        tables = {"normalization": NORMALIZATIONS, "learn_alpha": LEARN_ALPHA, "loss": LOSSES, "input": INPUTS}
        tables |= {"optimizer": OPTIMIZERS}
        common |= {name: draw(st.sampled_from(list(table))) for name, table in tables.items()}
        if REGIMES[common["regime"]].cell != "none":
            common |= {"cell": draw(st.sampled_from(list(CELLS))), "scaled_gates": draw(st.booleans())}
            common |= {"steps": 8, "normalization": "none"}
        own = {"schedule": st.sampled_from(list(SCHEDULES)), "warmup": st.integers(0, 1), "clip": st.floats(0, 1)}
        own |= {"penalized": st.sampled_from(list(PENALIZED)), "epsilon_at": st.sampled_from(list(EPSILON_AT))}
    known = SUPPORTS[engine].fields if engine in SUPPORTS else {"activation": ACTIVATIONS, "penalty": PENALTIES}
    own |= {
        "activation": st.sampled_from([name for name in known["activation"] if ACTIVATIONS[name].learned == learned]),
        "scaling": st.sampled_from(SCALINGS),
        "penalty": st.sampled_from(list(known["penalty"])),
        "alpha": st.floats(0.5, 4.0),
        "r": st.sampled_from([0.0, 0.01]),
        "learning_rate": st.floats(1e-4, 1e-2),
        "seed": st.integers(0, 2**40),
        "epochs": st.integers(1, 2),
    }
    members = st.builds(lambda **fields: member_of(**common, **fields), **own)
    return draw(st.lists(members, min_size=1, max_size=4, unique=True))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_same_bits_alone_in_a_pack_on_threads_and_resumed(
    build: BuildEngine, not_interpreted: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Running statistics, random slopes and what an optimizer keeps included."""
    members = data.draw(packs(not_interpreted))
    chosen, stop = (
        data.draw(st.sampled_from(members)),
        data.draw(st.integers(0, 2), label="interrupted after this epoch"),
    )
    hold_bits(build, members, chosen, stop, tmp_path_factory.mktemp("states") / "pack.npz")


def hold_bits(build: BuildEngine, members: list[MemberConfig], chosen: MemberConfig, stop: int, path: Path) -> None:
    """One of them alone has the bits that it has among the others, and all of them those from a file after an epoch."""
    together = records(build, members, threads=2)
    alone = records(build, [chosen])
    assert [numbers(r) for r in together if r.member == chosen] == [numbers(r) for r in alone]

    layers = layers_of(members[0], 10)
    training = training_of([initial_state(m, layers, TINY) for m in members], build(members[0], 1))
    next(record for record in training if record.epoch == min(stop, max(m.epochs for m in members)))
    save_states(training.state(), path)
    resumed = training_of(load_states(path), build(members[0], 2))
    assert [numbers(r) for r in resumed if r.epoch > stop] == [numbers(r) for r in together if r.epoch > stop]


@pytest.mark.parametrize("threads", [1, 2])
def test_running_statistics_and_random_slopes_are_a_members_own(threads: int, tmp_path: Path) -> None:
    fields = {"normalization": "batch", "activation": "rrelu", "optimizer": "nesterov", "initialization": "orthogonal"}
    fields |= {"learn_alpha": "layer", "scaling": "naive", "clip": 1.0, "schedule": "cosine"}
    members = [member_of(seed=s, epochs=2, **fields) for s in (3, 4, 3 + 2**32)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        hold_bits(by_reference, members, members[1], 1, tmp_path / "pack.npz")
        last = [r.metrics["validation.loss"] for r in records(by_reference, members) if r.epoch == 2]
        assert len(set(last)) == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("where", ["evaluate", "statistics"])
def test_an_interrupted_epoch_is_delivered_when_it_goes_on(epoch: int, where: str, monkeypatch) -> None:
    """However the evaluation ended: no record is lost, none comes twice, and `state` is that of what is complete."""
    layers = layers_of(BASE, 10)
    members = [replace(BASE, seed=s, epochs=2) for s in range(2)]
    whole = list(training_of([initial_state(m, layers) for m in members], ReferenceEngine(layers, FEW, "cpu", 1), FEW))
    engine = ReferenceEngine(layers, FEW, "cpu", 1)
    training = training_of([initial_state(m, layers) for m in members], engine, FEW)
    seen = [next(training) for _ in range(2 * epoch)]
    for ends in (KeyboardInterrupt, MemoryError):
        with monkeypatch.context() as patched:
            patched.setattr(engine, where, Mock(side_effect=ends))
            with pytest.raises(ends):
                next(training)
        assert [s.epoch for s in training.state()] == [max(0, epoch - 1)] * 2
    seen += training
    assert [numbers(r) for r in seen] == [numbers(r) for r in whole]


def test_a_dropped_member_leaves_and_the_others_go_on(build: BuildEngine) -> None:
    members = [replace(BASE, seed=s) for s in range(3)]
    whole = records(build, members, data=FEW)
    layers = layers_of(BASE, 10)
    training = training_of([initial_state(m, layers) for m in members], build(BASE, 1, FEW), FEW)
    seen = []
    for record in training:
        seen.append(record)
        if record.epoch == 1 and record.member.seed == 0:
            training.drop(members[1])
    left_out = {(members[1], 1), (members[1], 2), (members[1], 3)}
    assert [numbers(r) for r in seen] == [numbers(r) for r in whole if (r.member, r.epoch) not in left_out]
    assert [s.member for s in training.state()] == [members[0], members[2]]


def test_a_diverged_member_leaves_after_its_last_record(build: BuildEngine) -> None:
    wild = replace(BASE, activation="relu", initialization="he_normal", init_scale=1e18, seed=1)
    members = [BASE, wild]
    found = records(build, members, data=FEW)
    assert [r.epoch for r in found if r.member == BASE] == [0, 1, 2, 3]
    last = [r for r in found if r.member == wild][-1]
    assert last.diverged and last.epoch < 3
    assert [numbers(r) for r in found if r.member == BASE] == [numbers(r) for r in records(build, [BASE], data=FEW)]


@every_regime
@pytest.mark.parametrize("activation", ["tanh", "logsigmoid", "relu6"])
def test_the_probes_gradient_is_float64_autograds(build: BuildEngine, regime: str, activation: str) -> None:
    # With this seed no two values that a pooling compares are so near that float32 prefers another one than float64.
    member = member_of(regime, activation=activation, initialization="glorot_uniform", alpha=2.0, seed=4)
    layers = layers_of(member, 10)
    state = initial_state(member, layers)
    (found,) = build(member, 1).probe([state])
    images = torch.from_numpy(probe(TINY).images.astype(np.float64)) / 255
    parameters = torch.from_numpy(state.parameters.astype(np.float64)).requires_grad_()
    labels = torch.tensor(probe(TINY).labels)
    alpha, buffers = torch.tensor(2.0, dtype=torch.float64), torch.from_numpy(state.buffers.astype(np.float64))
    loss = torch.zeros((), dtype=torch.float64)
    # batch normalization takes them in batches of the member's
    for batch in torch.arange(len(labels)).split(member.batch_size if any(buffer_shapes(layers)) else len(labels)):
        logits, arguments, *_ = forward(layers, member, parameters, alpha, images[batch], buffers, by_batch=True)
        loss = loss + F.cross_entropy(logits, labels[batch], reduction="sum") / len(labels)
    (expected,) = torch.autograd.grad(loss, parameters)
    error = np.linalg.norm(found.gradient - expected.numpy()) / np.linalg.norm(expected.numpy())
    assert error <= 1e-5
    assert found.saturated.shape == found.dead.shape == (len(arguments) + 1,)


def test_saturated_and_dead_units(build: BuildEngine) -> None:
    member = replace(BASE, activation="relu")
    layers = layers_of(member, 10)
    state = initial_state(member, layers)
    negative = replace(state, parameters=-np.abs(state.parameters))
    positive = replace(state, parameters=np.abs(state.parameters))
    dead, alive = build(member, 1).probe([negative, positive])
    assert dead.saturated[0] > 0.99 and dead.dead[0] > 0.9
    assert alive.dead[:-1].max() == 0
    assert dead.dead[-1] == dead.saturated[-1] == 0  # the output has no activation


def test_statistics_are_those_of_the_probe(build: BuildEngine) -> None:
    """Whoever takes them, wherever: sums in an order of their own, the rest to the bit."""
    members = [replace(BASE, r=0.1, seed=1), replace(BASE, activation="relu", penalty="l1", r=0.01)]
    layers = layers_of(BASE, 10)
    before = [initial_state(m, layers) for m in members]
    states = [replace(s, parameters=s.parameters * np.float32(0.9)) for s in before]
    engine = build(BASE, 1, FEW)
    found = engine.statistics(states, before)
    for ours, numpys in zip(found, layer_statistics(layers, states, before, engine.probe(states)), strict=True):
        assert ours == pytest.approx(numpys, rel=1e-12, abs=0)
        assert [ours[f"gradient.data.{q}"] for q in ("q05", "q50", "max_abs")] == [
            numpys[f"gradient.data.{q}"] for q in ("q05", "q50", "max_abs")
        ]


def adam_by_torch(member: MemberConfig, state: MemberState) -> np.ndarray:
    """One epoch with torch.optim.Adam and nothing of ours but the network."""
    layers = layers_of(member, 10)
    parameters = torch.from_numpy(state.parameters.astype(np.float64)).requires_grad_()
    buffers = torch.from_numpy(state.buffers.astype(np.float64))
    optimizer = torch.optim.Adam([parameters], lr=member.learning_rate, eps=1e-7)
    images = torch.from_numpy(TINY.train.images.astype(np.float64)) / 255
    labels = torch.tensor(TINY.train.labels)
    order = torch.from_numpy(reference.order_of_images(member.seed, 1, len(labels)))
    for batch in order.split(member.batch_size):
        optimizer.zero_grad()
        logits = forward(layers, member, parameters, member.alpha, images[batch], buffers, by_batch=True).logits
        penalty = (
            member.r * parameters.abs().sum() if member.penalty == "l1" else member.r / 2 * parameters.square().sum()
        )
        (F.cross_entropy(logits, labels[batch]) + penalty).backward()
        optimizer.step()
    return parameters.detach().numpy()


@pytest.mark.parametrize("penalty", ["l1", "l2"])
@pytest.mark.parametrize("scaling", ["rescaled", "naive"])
@every_regime
def test_an_epoch_is_torchs_adam_on_the_penalized_loss(
    build: BuildEngine, regime: str, scaling: str, penalty: str
) -> None:
    member = member_of(
        regime,
        scaling=scaling,
        penalty=penalty,
        alpha=1.5,
        r=0.02,
        initialization="glorot_normal",
        learning_rate=0.003,
    )
    state = initial_state(member, layers_of(member, 10))
    ((after, loss, _),) = build(member, 1).train_epoch([state])
    expected = adam_by_torch(member, state)
    differences = np.sort(np.abs(after.parameters - expected))
    # Adam walks as far for a gradient near 0 as for any other: of very many some are turned by rounding
    assert differences[-1 - len(expected) // 2_000] < 5e-5
    assert after.step == 3 and after.epoch == 1
    assert np.isfinite(loss)


def test_the_batched_array_agrees_with_one_by_one() -> None:
    """What a CUDA device does with a pack, here on the CPU: the same numbers within float32.

    For one step on images without near-ties, of which rounding could take either side: the two sum in different orders.
    """
    base = replace(BASE, initialization="glorot_uniform", batch_size=70)
    members = [replace(base, seed=s, alpha=a) for s in range(2) for a in (1.0, 2.0)]
    layers = layers_of(BASE, 10)
    states = [initial_state(m, layers) for m in members]
    case = smooth(Case(layers, TINY.train, tuple(members), np.stack([s.parameters for s in states])))
    assert case is not None and len(case.split.labels) > 10
    train_split = Split(case.split.images, case.split.labels)
    engine = ReferenceEngine(layers, replace(TINY, train=train_split), "cpu", 1)
    array = reference.Array(layers, states, torch.device("cpu"))
    for one, many in zip(engine.probe(states), engine._probe(array), strict=True):
        assert np.allclose(one.gradient, many.gradient, rtol=1e-3, atol=1e-7)
        assert np.array_equal(one.saturated, many.saturated) and np.array_equal(one.dead, many.dead)
    assert np.allclose(engine.evaluate(states, "test"), engine._evaluate(array, "test"), rtol=1e-5)
    pairs = zip(engine.train_epoch(states), engine._train_epoch(array), strict=True)
    for (one_state, one_loss, one_hits), (many_state, many_loss, many_hits) in pairs:
        assert np.allclose(one_state.parameters, many_state.parameters, atol=2e-5)
        assert (one_loss, one_hits) == pytest.approx((many_loss, many_hits), rel=1e-5)


@pytest.mark.parametrize("engine", ["auto", "lanes", "reference"])
def test_no_threads_and_states_of_another_network_are_refused_whatever_the_engine(engine: str) -> None:
    if engine == "lanes" and available() is None:
        pytest.skip("the lane engine was not compiled")
    member = replace(BASE, engine=engine)
    with pytest.raises(ValueError, match="threads must be at least 1, but got 0"):
        train([member], threads=0)
    deep = member_of("many-layers")
    other = initial_state(deep, layers_of(deep, 10))
    with pytest.raises(
        ValueError, match="states to resume must be of the members' network, .* parameters, but one has"
    ):
        train([member], [replace(other, member=member)])
