"""What only a CUDA device can show: recorded steps, full-size packs, the memory that was stated."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.trainers.cuda.device import DEVICE
from tests.trainers.lanes.judge import regimes_of
from tests.trainers.test_engines import BASE, TINY, member_of
from trainers.cuda import memory
from trainers.cuda.array import Array
from trainers.cuda.engine import CudaEngine, _orders
from trainers.cuda.statistics import TORCH
from trainers.reference import ReferenceEngine
from trainers.states import MemberState, initial_state
from trainers.statistics import columns, layer_statistics, statistics
from trainers.training import Engine, layers_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device"),
    # said at the first use of torch.cuda.set_sync_debug_mode
    pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning"),
]

CHOICES = [(1.0, 0.0, "tanh"), (2.0, 0.01, "logsigmoid"), (1.5, 0.1, "silu"), (1.0, 0.01, "relu")]


def pack(regime: str, seeds: int) -> list[MemberState]:
    base = member_of(regime, initialization="glorot_uniform")
    members = [replace(base, seed=s, alpha=a, r=r, activation=f) for s in range(seeds) for a, r, f in CHOICES]
    return [initial_state(m, layers_of(base, 10)) for m in members]


def hold(trues: Iterable[np.ndarray], others: Iterable[np.ndarray], each: float) -> None:
    """Members agree within what rounding makes of them, and each where it decides the winner of a pooling."""
    pairs = zip(trues, others, strict=True)
    differences = [float(np.linalg.norm(other - true) / np.linalg.norm(true)) for true, other in pairs]
    assert np.median(differences) <= 1e-5
    assert max(differences) <= each


def hold_engines(ours: Engine, judge: Engine, states: list[MemberState]) -> None:
    """Two engines probe, evaluate and train the same members alike."""
    probes = judge.probe(states), ours.probe(states)
    hold(*([p.gradient for p in of] for of in probes), each=1e-2)
    for true, found in zip(*probes, strict=True):
        assert np.allclose(true.saturated, found.saturated, atol=1e-3)
        assert np.allclose(true.dead, found.dead, atol=1e-3)
    assert np.allclose(judge.evaluate(states, "test"), ours.evaluate(states, "test"), rtol=1e-4, atol=1e-4)
    trained = judge.train_epoch(states), ours.train_epoch(states)
    # Adam walks as far for a gradient near 0 as for any other
    hold(*([t.parameters - s.parameters for s, (t, *_) in zip(states, of, strict=True)] for of in trained), each=0.1)
    assert np.allclose(*([means for _, *means in of] for of in trained), rtol=1e-3, atol=1e-3)


def bits(states: list[tuple[MemberState, float, float]]) -> list[tuple[bytes, ...]]:
    return [tuple(v.tobytes() for v in (s.parameters, *s.kept)) for s, _, _ in states]


@pytest.mark.parametrize("regime", regimes_of("cuda"))
def test_a_pack_agrees_with_the_cpu(regime: str) -> None:
    states = pack(regime, 2)
    layers = layers_of(states[0].member, 10)
    hold_engines(CudaEngine(layers, TINY, DEVICE, 1), ReferenceEngine(layers, TINY, "cpu", 2), states)


@pytest.mark.parametrize("regime", regimes_of("cuda"))
def test_one_among_400_has_the_bits_of_one_alone(regime: str) -> None:
    """More blocks of images than programs, so that programs take several in turn; and the same again: no race."""
    states = pack(regime, 100)
    engine = CudaEngine(layers_of(states[0].member, 10), TINY, DEVICE, 1)
    together = engine.train_epoch(states)
    assert bits(engine.train_epoch(states)) == bits(together)
    for i in (0, 1, 2, 399):
        assert bits(engine.train_epoch(states[i : i + 1])) == bits(together[i : i + 1])
        assert engine.evaluate(states[i : i + 1], "train") == engine.evaluate(states, "train")[i : i + 1]
        (alone,), among = engine.probe(states[i : i + 1]), engine.probe(states)[i]
        assert np.array_equal(alone.gradient, among.gradient) and np.array_equal(alone.saturated, among.saturated)


@pytest.mark.parametrize("regime", regimes_of("cuda"))
def test_statistics_are_numpys_and_those_of_one_alone(regime: str) -> None:
    """Sums within 1e-12, the rest to the bit; and of a diverged member what NumPy says."""
    states = pack(regime, 100)
    states[5] = replace(states[5], parameters=np.full_like(states[5].parameters, np.nan))
    before = [replace(s, parameters=s.parameters * np.float32(0.9)) for s in states]
    engine = CudaEngine(layers_of(states[0].member, 10), TINY, DEVICE, 1)
    found = engine.statistics(states, before)
    # those over all units are sums over the layers'
    exact = ("max_abs", "q05", "q25", "q50", "q75", "q95", "vanished", ".saturated", ".dead")
    for ours, numpys in zip(found, layer_statistics(engine.layers, states, before, engine.probe(states)), strict=True):
        assert ours == pytest.approx(numpys, rel=1e-12, abs=0, nan_ok=True)
        for name in (n for n in ours if n.endswith(exact)):
            assert np.array_equal(ours[name], numpys[name], equal_nan=True), name
    for i in (0, 1, 5, 399):
        (alone,) = engine.statistics(states[i : i + 1], before[i : i + 1])
        assert np.array(list(alone.values())).tobytes() == np.array(list(found[i].values())).tobytes()


def test_the_host_does_not_wait_for_statistics() -> None:
    states = pack("combined", 2)
    engine = CudaEngine(layers_of(states[0].member, 10), TINY, DEVICE, 1)
    engine.statistics(states, states)
    of = tuple(torch.tensor(column, device=engine.device) for column in columns(engine.layers, states, states))
    array = Array(engine.workshop, states)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = statistics(engine.layers, of, *array.probe(engine.splits["probe"]), TORCH)
        torch.stack(list(found.values()))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_recorded_steps_have_the_bits_of_launched_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    states = pack("combined", 3)
    engine = CudaEngine(layers_of(states[0].member, 10), TINY, DEVICE, 1)
    recorded = engine.train_epoch(states)

    def launched(step, times: int, device: torch.device) -> None:
        for _ in range(times):
            step()

    monkeypatch.setattr("trainers.cuda.array.repeat", launched)
    assert bits(engine.train_epoch(states)) == bits(recorded)


def test_the_host_waits_for_nothing_within_an_epoch() -> None:
    states = pack("combined", 1)
    engine = CudaEngine(layers_of(states[0].member, 10), TINY, DEVICE, 1)
    engine.train_epoch(states)
    array = Array(engine.workshop, states)
    orders, order_of = _orders(states, len(engine.splits["train"]))
    from trainers.cuda.array import _Batch

    batch = _Batch(array, engine.splits["train"], array._tensor(orders), array._tensor(order_of), 32, 70)
    sums = array._zeros(array.count, dtype=torch.float64), array._zeros(array.count, dtype=torch.int64)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch.forward_backward()
        array._adam(batch, *sums)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_no_more_memory_than_was_stated() -> None:
    states = pack("combined", 50)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    engine = CudaEngine(layers_of(states[0].member, 10), TINY, DEVICE, 1)
    engine.train_epoch(states)
    engine.probe(states)
    engine.statistics(states, states)
    stated = memory.need(engine.plan, engine.sizes, len(states), BASE.batch_size, engine.programs)
    # PyTorch hands memory out in pieces of 512 bytes, some of them of 2 MB
    assert torch.cuda.max_memory_allocated() - before <= stated + 2**21
