"""The device's statistics against NumPy's, on the CPU: PyTorch's operations on elements round alike on both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainers.cuda.device import DEVICE
from tests.trainers.cuda.fake_device import Allocated, Operations
from tests.trainers.lanes.judge import regimes_of
from tests.trainers.test_engines import BASE, TINY
from trainers.cuda import memory
from trainers.cuda.array import Array, Resident
from trainers.cuda.engine import CudaEngine
from trainers.cuda.statistics import TORCH
from trainers.layers import Layer, parameter_count, places
from trainers.regimes import network
from trainers.states import MemberState, initial_state
from trainers.statistics import NUMPY, Probe, gradient_statistics, layer_statistics, statistics

# Of sums the order is another one; the rest is the same numbers.
SUMS = ("mean_abs", "rms", "weight_norm", "update_to_weight", "first_to_last")

# PyTorch's operations that only lay numbers out, work on each by itself, or answer the same whatever their order.
LAYOUT = "_to_copy alias constant_pad_nd full_like lift_fresh select slice split stack unbind unsqueeze zeros_like"
ELEMENTS = "abs add bitwise_and div eq isnan lt mul sign sqrt sub where"
ANY_ORDER = "amax any sort"

# What engines measure is float32: anything, some of it often, around what counts as vanished, and what is no number.
values = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-7, -1e-7, 9.9e-8, 1e-45]),
)
odd = st.one_of(values, st.sampled_from([np.inf, -np.inf, np.nan]))
rows = st.integers(1, 200).flatmap(
    lambda n: st.lists(
        st.one_of(st.lists(values, min_size=n, max_size=n), st.lists(odd, min_size=n, max_size=n)),
        min_size=1,
        max_size=4,
    )
)


def agree(found: dict[str, torch.Tensor], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, column in expected.items():
        ours = found[name].numpy()
        assert ours.dtype == np.float64
        if name.endswith(SUMS):
            assert np.allclose(ours, column, rtol=1e-12, atol=0, equal_nan=True), name
        else:
            assert np.array_equal(ours, column, equal_nan=True), name


@settings(max_examples=50)
@given(rows)
def test_of_coordinates_they_are_numpys(members: list[list[float]]) -> None:
    gradients = np.array(members)
    with np.errstate(all="ignore"):
        agree(gradient_statistics(torch.tensor(gradients), TORCH), gradient_statistics(gradients, NUMPY))


def pack(layers: tuple[Layer, ...], count: int) -> tuple[tuple[np.ndarray, ...], list[np.ndarray]]:
    """Members of every kind: some stand still, some have vanished or have ties, some are no numbers any more."""
    random = np.random.default_rng(count)
    size, depth = parameter_count(layers), len(places(layers))
    parameters = random.normal(size=(count, size)).astype(np.float32).astype(np.float64)
    earlier = parameters + random.choice([0, 0.01], (count, 1)) * random.normal(size=parameters.shape)
    gradient = random.normal(size=(count, size)) * 10.0 ** random.uniform(-12, 3, (count, 1))
    parameters[1::7, :300], earlier[1::7, :300], gradient[1::7, :300] = 0, 0, 0
    gradient[2::7] = random.choice([-1.0, 0.0, 2.0], gradient[2::7].shape)
    parameters[3::7, 5], parameters[4::7, -1], gradient[4::7, 100] = np.nan, np.inf, -np.inf
    gradient[5::7, 7] = np.nan
    l1, r = random.random((count, 1)) < 0.5, random.choice([0.0, 0.01, 3.0], (count, 1))
    units = [random.integers(0, 5, (count, depth)) / 4 for _ in range(2)]
    return (parameters, earlier, l1, r), [gradient.astype(np.float32), *units]


def on_the_device(
    layers: tuple[Layer, ...], of: tuple[np.ndarray, ...], probed: list[np.ndarray], which: slice
) -> dict[str, torch.Tensor]:
    columns = tuple(torch.tensor(column[which]) for column in of)
    return statistics(layers, columns, *(torch.tensor(p[which]) for p in probed), TORCH)


@pytest.mark.parametrize("regime", regimes_of("cuda"))
def test_of_layers_they_are_numpys_and_of_one_among_many_those_of_one_alone(regime: str) -> None:
    layers = network(regime)
    of, probed = pack(layers, 37)
    together = on_the_device(layers, of, probed, slice(None))
    with np.errstate(all="ignore"):
        gradient, *units = probed
        agree(together, statistics(layers, of, gradient.astype(np.float64), *units, NUMPY))
    assert 0 < np.isfinite(together["gradient.total.rms"].numpy()).sum() < 37
    for part in [slice(i, i + 1) for i in range(37)] + [slice(0, 2), slice(3, 20), slice(20, 37)]:
        found = on_the_device(layers, of, probed, part)
        assert all(found[name].numpy().tobytes() == together[name].numpy()[part].tobytes() for name in together)


def test_nothing_is_left_to_pytorchs_order_of_sums() -> None:
    layers = network("combined")
    seen: list[str] = []
    with Operations(seen):
        on_the_device(layers, *pack(layers, 3), slice(None))
    used = {what.split(".")[1] for what in seen if what.startswith("aten")}
    assert used <= {*LAYOUT.split(), *ELEMENTS.split(), *ANY_ORDER.split()}


@pytest.mark.parametrize("regime", regimes_of("cuda"))
def test_they_take_no_more_memory_than_was_stated(regime: str) -> None:
    layers, members = network(regime), 20
    of, probed = pack(layers, members)
    with Allocated() as allocated:
        on_the_device(layers, of, probed, slice(None))
    stated = members * 8 * memory.STATISTICS * parameter_count(layers)
    assert stated / 2 < allocated.most <= stated


def test_the_engine_takes_them_of_what_it_probed_in_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels stand still here: a probe's gradient is the parameters' own numbers."""

    def probe(array: Array, split: Resident) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        units = array.parameters[:, :10].double().abs()
        return -array.parameters, units, units / 2

    monkeypatch.setattr(Array, "probe", probe)
    layers = network("combined")
    members = [replace(BASE, seed=s, r=s / 10, penalty=("l1", "l2")[s % 2]) for s in range(5)]
    before: list[MemberState] = [initial_state(m, layers) for m in members]
    states = [replace(s, parameters=s.parameters * np.float32(1.1)) for s in before]
    engine = CudaEngine(layers, TINY, DEVICE, 1)
    found = engine.statistics(states, before)
    units = [np.abs(s.parameters[:10].astype(np.float64)) for s in states]
    probes = [Probe(-s.parameters, u, u / 2) for s, u in zip(states, units, strict=True)]
    for ours, numpys in zip(found, layer_statistics(layers, states, before, probes), strict=True):
        assert ours == pytest.approx(numpys, rel=1e-12, abs=0)
    engine._at_once = 2
    assert engine.statistics(states, before) == found
