"""The histogram against the definition of its bins and a network written by hand in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainers import MemberConfig, train
from trainers.data import load
from trainers.lanes import available
from trainers.layers import places
from trainers.measurements import MEASUREMENTS
from trainers.measurements.histogram import BINS, METRICS, shares
from trainers.measurements.subject import Subject
from trainers.members import layers_of
from trainers.reference import Images
from trainers.states import initial_state

HISTOGRAM = MEASUREMENTS["histogram"]


def subject_of(member: MemberConfig) -> Subject:
    data, layers = load("digits"), layers_of(member, 10)
    return Subject(initial_state(member, layers, data), layers, Images(data, "probe", torch.device("cpu")))


def bin_of(value: float) -> str:
    """By the number as it is written, whose first digit is in its decade."""
    exponent = Decimal(repr(abs(value))).adjusted()
    return "zero" if value == 0 else "under" if exponent < -12 else "over" if exponent > 3 else f"e{exponent}"


def counted(values: list[float]) -> dict[str, float]:
    return {name: sum(bin_of(value) == name for value in values) / len(values) for name in BINS}


def of_layer(values: dict[str, float], layer: str, of: str) -> list[float]:
    return [values[f"layer.{layer}.histogram.{of}.{name}"] for name in BINS]


def test_the_bins_are_decades_and_what_is_beside_them() -> None:
    assert BINS == ("zero", "under", *(f"e{exponent}" for exponent in range(-12, 4)), "over")
    assert [*METRICS] == [f"histogram.{of}.{name}" for of in ("gradient", "activation") for name in BINS]
    assert METRICS["histogram.gradient.e-3"].line.endswith("with |value| >= 0.001, < 0.01")


def test_the_edges_belong_to_the_bin_above_them() -> None:
    for exponent in range(-12, 5):
        edge = float(f"1e{exponent}")
        at, below = (shares(torch.tensor([x], dtype=torch.float64)) for x in (edge, -math.nextafter(edge, 0)))
        place = exponent + 12 + BINS.index("e-12")
        assert at[place] == 1 and below[place - 1] == 1
    for value, name in ((0.0, "zero"), (-0.0, "zero"), (5e-324, "under"), (1e300, "over")):
        assert shares(torch.tensor([value], dtype=torch.float64))[BINS.index(name)] == 1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
@example([1e-6])  # a little less than that in binary
def test_the_shares_are_those_of_the_bins_and_sum_to_1(values: list[float]) -> None:
    computed = shares(torch.tensor(values, dtype=torch.float64))
    assert sum(computed) == pytest.approx(1, abs=1e-12)
    assert dict(zip(BINS, computed, strict=True)) == counted(values)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_there_are_none_where_a_number_is_not_finite(value: float) -> None:
    assert np.isnan(shares(torch.tensor([[1.0, value]], dtype=torch.float64))).all()


def by_hand(subject: Subject, f: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """The activations and the gradient of two hidden dense layers and the output: `f` is of z and a layer's number."""
    tensors = []
    for place in places(subject.layers):
        weights, biases = subject.parameters[place.where].split([math.prod(shape) for shape in place.tensors])
        tensors.append((weights.view(place.tensors[0]).requires_grad_(), biases.requires_grad_()))
    (w1, b1), (w2, b2), (w3, b3) = tensors
    first = f(subject.images.flatten(1) @ w1.T + b1, 0)
    second = f(first @ w2.T + b2, 1)
    logits = second @ w3.T + b3
    gradients = torch.autograd.grad(cross_entropy(logits, subject.labels), [t for pair in tensors for t in pair])
    flat = [torch.cat([g.flatten() for g in gradients[i : i + 2]]) for i in (0, 2, 4)]
    names = ("dense1", "dense2", "output")
    return dict(zip(names, zip((first, second, logits), flat, strict=True), strict=True))


@pytest.mark.parametrize(
    ("own", "f"),
    [
        ({"activation": "tanh", "alpha": 2.0}, lambda z, _: 2 * torch.tanh(z / 2)),
        ({"activation": "tanh", "alpha": 3.0, "scaling": "naive"}, lambda z, _: 3 * torch.tanh(z)),
        ({"activation": "relu"}, lambda z, _: z.clamp(min=0)),
        ({"activation": "prelu"}, lambda z, layer: torch.where(z > 0, z, (0.5, 0.001)[layer] * z)),
        ({"activation": "softsign", "learn_alpha": "layer"}, lambda z, i: (a := (0.5, 0.001)[i]) * z / (a + z.abs())),
    ],
    ids=["rescaled", "naive", "relu", "learned slope", "learned alpha"],
)
def test_it_is_that_of_the_same_network_written_by_hand(own: dict[str, Any], f: Any) -> None:
    member = MemberConfig(regime="mlp", units=6, init_scale=1e-3 if own["activation"] == "tanh" else 1.0, **own)
    subject = subject_of(member)
    for place, value in zip(places(subject.layers), (0.5, 0.001, None), strict=True):
        for where in place.learned.values():
            subject.state.parameters[where] = value
    values = HISTOGRAM.measure(subject)
    for layer, (activations, gradient) in by_hand(subject, f).items():
        for of, numbers in (("activation", activations), ("gradient", gradient)):
            expected = [*counted(numbers.flatten().tolist()).values()]
            # a number beside an edge may fall on its other side, where sums are added in another order
            np.testing.assert_allclose(of_layer(values, layer, of), expected, atol=2 / numbers.numel())


def test_a_learned_alpha_of_the_network_is_the_first_layers() -> None:
    subject = subject_of(MemberConfig(regime="mlp", units=6, alpha=2.0, learn_alpha="network"))
    fixed = subject_of(MemberConfig(regime="mlp", units=6, alpha=2.0))
    values, expected = HISTOGRAM.measure(subject), HISTOGRAM.measure(fixed)
    assert of_layer(values, "dense2", "activation") == of_layer(expected, "dense2", "activation")


def test_a_relu_network_of_convolutions_has_zeros_and_every_layer_sums_to_1() -> None:
    values = HISTOGRAM.measure(subject_of(MemberConfig(regime="combined", activation="relu", residual=True)))
    assert len(values) == 10 * 2 * len(BINS)
    sums = np.array([*values.values()]).reshape(-1, len(BINS)).sum(1)
    np.testing.assert_allclose(sums, 1, atol=1e-12)
    assert 0.1 < values["layer.conv1.histogram.activation.zero"] < 1
    assert values["layer.output.histogram.activation.zero"] == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_member_has_none(value: float) -> None:
    subject = subject_of(MemberConfig(regime="mlp", units=4))
    gone = replace(subject.state, parameters=np.full_like(subject.state.parameters, value))
    values = HISTOGRAM.measure(replace(subject, state=gone))
    assert np.isnan(of_layer(values, "dense1", "gradient")).all()
    assert np.isnan(of_layer(values, "output", "activation")).all()


@pytest.mark.skipif(available() is None, reason="the lane engine was not compiled")
def test_both_engines_record_it() -> None:
    own: dict[str, Any] = {"regime": "mlp", "units": 4, "measure": ("histogram",), "measure_at": (0,), "epochs": 1}
    of_engines = []
    for engine in ("lanes", "reference"):
        first, last = (r.metrics for r in train([MemberConfig(engine=engine, **own)]))
        assert not [name for name in last if "histogram" in name]
        of_engines.append({name: value for name, value in first.items() if ".histogram." in name})
    assert of_engines[0] == of_engines[1] and len(of_engines[0]) == 3 * len(METRICS)
