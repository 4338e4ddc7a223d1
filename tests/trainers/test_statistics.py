"""The statistics against their definitions, on numbers small enough to work out."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.cuda.statistics import TORCH
from trainers.measurements import MEASUREMENTS
from trainers.members import MemberConfig
from trainers.metrics import described, names
from trainers.penalties import PENALTIES, penalty_gradient
from trainers.regimes import network
from trainers.states import initial_state
from trainers.statistics import NUMPY, QUANTILES, Probe, columns, gradient_statistics, layer_statistics, statistics


def test_of_coordinates() -> None:
    found = gradient_statistics(np.array([[-3.0, 1e-8, 0.0, 1.0], [2.0, 2.0, 2.0, 2.0]]), NUMPY)
    assert found["mean_abs"] == pytest.approx([1.0, 2.0])
    assert found["rms"] == pytest.approx([np.sqrt(10 / 4), 2.0])
    assert found["max_abs"].tolist() == [3.0, 2.0]
    assert found["q50"] == pytest.approx([5e-9, 2.0])
    assert found["q25"] == pytest.approx([-0.75, 2.0])
    assert found["vanished"].tolist() == [0.5, 0.0]
    assert found["zero"].tolist() == [0.25, 0.0]


def test_zeros_are_counted_whatever_their_sign_and_not_what_is_small_or_no_number() -> None:
    found = gradient_statistics(np.array([[0.0, -0.0, 1e-45, -1e-45], [np.nan, 2.0, 0.0, 1.0]]), NUMPY)
    assert found["zero"].tolist() == [0.5, 0.25]


@given(st.lists(st.one_of(st.floats(), st.sampled_from([0.0, -0.0])), min_size=1))
def test_quantiles_are_numpys_to_the_sign_of_zero(values: list[float]) -> None:
    with np.errstate(all="ignore"):
        found, expected = NUMPY.quantiles(np.array([values])), np.quantile([values], QUANTILES, axis=-1)
    assert np.array_equal(found, expected, equal_nan=True)
    assert np.array_equal(np.signbit(found[found == 0]), np.signbit(expected[expected == 0]))


@pytest.mark.parametrize("value", [0.5, -0.5, np.inf, np.nan])
@pytest.mark.parametrize("gradient", [-0.0, 1.0])
def test_without_a_penalty_the_total_is_the_same_beside_one_with_a_penalty(value: float, gradient: float) -> None:
    """Alone it is not computed where it is the data's."""
    layers = network("combined")
    states = [initial_state(MemberConfig(r=r, init_scale=1.0), layers) for r in (0.0, 0.5)]
    states[0].parameters[:] = value
    probes = [Probe(np.full_like(s.parameters, gradient), np.zeros(10), np.zeros(10)) for s in states]
    alone, beside = (layer_statistics(layers, states[:n], states[:n], probes[:n])[0] for n in (1, 2))
    assert repr(alone) == repr(beside)
    assert np.isfinite(alone["gradient.total.rms"]) == np.isfinite(value)
    if value == 0.5:
        assert str(alone["gradient.total.q50"]) == str(abs(gradient))


def test_of_layers_and_of_the_penalty() -> None:
    layers = network("combined")
    member = MemberConfig(r=0.5, init_scale=1.0)
    state = initial_state(member, layers)
    gradient = np.linspace(-1, 1, state.parameters.size).astype(np.float32)
    probes = [Probe(gradient, np.arange(10) / 10, np.arange(10) / 20)]
    (found,) = layer_statistics(layers, [state], [state], probes)
    assert set(found) | {"seconds", *names(layers)[:5]} == set(names(layers))
    assert found["layer.conv2.saturated"] == 0.1
    assert found["layer.conv2.dead"] == 0.05
    units = [3 * 32 * 32] * 2 + [3 * 16 * 16] * 2 + [3 * 8 * 8] * 2 + [8] * 3
    assert found["saturated"] == pytest.approx(np.average(np.arange(9) / 10, weights=units))
    assert found["dead"] == pytest.approx(np.average(np.arange(9) / 20, weights=units))
    assert found["layer.conv1.weight_norm"] == pytest.approx(np.linalg.norm(state.parameters[:81]))
    assert found["layer.conv1.update_to_weight"] == 0.0
    total = gradient.astype(float) + 0.5 * state.parameters
    assert found["gradient.total.max_abs"] == pytest.approx(np.abs(total).max())
    assert found["layer.output.gradient.total.mean_abs"] == pytest.approx(np.abs(total[-80:]).mean())
    assert found["gradient.first_to_last"] == pytest.approx(
        np.sqrt(np.mean(gradient[:81] ** 2.0) / np.mean(gradient[-80:] ** 2.0)), rel=1e-6
    )


@pytest.mark.parametrize("by", ["NumPy", "PyTorch"])
def test_a_layer_is_dead_where_every_unit_is(by: str) -> None:
    """In a mean over some 8,000 units 8 hardly show; the output, without units, never counts."""
    layers = network("combined")
    states = [initial_state(MemberConfig(init_scale=1.0, seed=s), layers) for s in range(3)]
    dead = np.zeros((3, 10))
    dead[1, 7], dead[2, :9] = 1, 1
    dead[1, 8] = 7 / 8
    known = columns(layers, states, states)
    probed = [np.stack([s.parameters for s in states]).astype(float), dead, dead]
    if by == "NumPy":
        found = statistics(layers, known, *probed, NUMPY)
    else:
        found = statistics(layers, tuple(map(torch.tensor, known)), *map(torch.tensor, probed), TORCH)
    assert np.array_equal(found["dead_layers"], [0.0, 1.0, 9.0]) and found["dead"][1] < 0.002


@pytest.mark.parametrize("by", ["NumPy", "PyTorch"])
def test_a_layer_of_of_zeros_that_stays_so_has_no_update(by: str) -> None:
    """Not 0 / 0. One that leaves 0 is updated infinitely much; what is no number stays so."""
    layers = network("combined")
    parameters = np.zeros((3, initial_state(MemberConfig(), layers).parameters.size))
    parameters[1], parameters[2] = 1, np.nan
    known = [parameters, np.zeros_like(parameters), np.zeros((3, 1), bool), np.zeros((3, 1))]
    probed = [np.ones_like(parameters), np.zeros((3, 10)), np.zeros((3, 10))]
    if by == "NumPy":
        with np.errstate(all="ignore"):
            found = statistics(layers, known, *probed, NUMPY)
    else:
        found = statistics(layers, tuple(map(torch.tensor, known)), *map(torch.tensor, probed), TORCH)
    assert np.array_equal(found["layer.conv1.update_to_weight"], [0, np.inf, np.nan], equal_nan=True)


def test_a_diverged_member_has_no_finite_ones_and_leaves_the_others_alone() -> None:
    """Without a warning too: here they are errors."""
    layers = network("combined")
    states = [initial_state(MemberConfig(r=0.5, init_scale=1.0, seed=s), layers) for s in range(2)]
    gone = replace(states[1], parameters=np.full_like(states[1].parameters, np.inf))
    probes = [Probe(s.parameters.copy(), np.zeros(10), np.zeros(10)) for s in (states[0], gone)]
    probes[1].gradient[:81] = np.nan
    found, lost = layer_statistics(layers, [states[0], gone], states, probes)
    assert found == layer_statistics(layers, states[:1], states[:1], probes[:1])[0]
    assert np.isfinite(list(found.values())).all()
    assert np.isnan([lost["gradient.data.q05"], lost["gradient.total.max_abs"], lost["gradient.first_to_last"]]).all()
    assert lost["layer.output.gradient.data.max_abs"] == lost["layer.conv1.weight_norm"] == np.inf


@pytest.mark.parametrize("name", ["l1", "l2"])
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8), st.floats(0, 3, allow_subnormal=False))
def test_the_penaltys_gradient_is_autograds(name: str, values: list[float], r: float) -> None:
    parameters = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(PENALTIES[name].value(parameters, r), parameters)
    found = penalty_gradient(np.array(list(PENALTIES).index(name)), parameters.detach().numpy(), np.array(r), np)
    assert np.array_equal(found, expected.numpy())


def test_the_penalties_are_the_papers() -> None:
    parameters = torch.tensor([3.0, -4.0])
    assert PENALTIES["l2"].value(parameters, 0.01).item() == pytest.approx(0.01 / 2 * 25)
    assert PENALTIES["l1"].value(parameters, 0.01).item() == pytest.approx(0.01 * 7)


def test_every_metric_has_a_line() -> None:
    layers = network("combined", learn_alpha="layer", learn_slope=True)
    generic = {re.sub(r"^layer\.\w+\.", "layer.NAME.", name) for name in names(layers)}
    asked = {f"layer.NAME.{name}" for measurement in MEASUREMENTS.values() for name in measurement.layer}
    asked |= {name for measurement in MEASUREMENTS.values() for name in measurement.network}
    assert generic | asked == set(described())
    assert all(line and "\n" not in line for line in described().values())
