"""The products of weights and gradients, equal in all layers of a homogeneous network; and how linear layers are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.trainers.measurements.modules import PROBE, model_of, seen, subject_of
from trainers.layers import places
from trainers.measurements import MEASUREMENTS
from trainers.measurements.saddle import alignment, spread
from trainers.measurements.subject import Subject
from trainers.members import MemberConfig, layers_of
from trainers.states import initial_state

SADDLE = MEASUREMENTS["saddle"]
# All without biases.
HOMOGENEOUS: dict[str, dict[str, Any]] = {
    "dense": {"regime": "mlp", "units": 9, "dense": 4, "dense_bias": False},
    "convolutions and pooling": {"regime": "combined", "dense_bias": False},
    "separable": {"regime": "large-parameters", "dense_bias": False},
    "two convolutions per pooling": {"regime": "combined", "convolutions": 2, "channels": 2, "dense_bias": False},
}


def products(subject: Subject) -> list[float]:
    values = SADDLE.measure(subject)
    return [values[f"layer.{place.name}.saddle.product"] for place in places(subject.layers)]


def product(weights: Tensor) -> float:
    assert weights.grad is not None
    return float(weights.detach().flatten() @ weights.grad.flatten())


@pytest.mark.parametrize("activation", ["identity", "relu", "leaky_relu"])
@pytest.mark.parametrize("network", HOMOGENEOUS)
def test_the_products_of_all_layers_are_one_number_where_the_network_is_homogeneous(
    network: str, activation: str
) -> None:
    """By Euler's theorem that of the logits: the mean over images of <logits, dL/dlogits>."""
    subject = subject_of(**HOMOGENEOUS[network], activation=activation, alpha=2.0)
    logits = subject.forward().logits.detach().requires_grad_()
    (by_logits,) = torch.autograd.grad(cross_entropy(logits, subject.labels), logits)
    expected = float(logits.detach().flatten() @ by_logits.flatten())
    assert abs(expected) > 1e-3
    assert products(subject) == pytest.approx([expected] * len(products(subject)), rel=1e-10)
    assert SADDLE.measure(subject)["saddle.spread"] < 1e-9


def test_both_factors_of_a_separable_convolution_have_it() -> None:
    """So that their mean is it."""
    subject = subject_of(**HOMOGENEOUS["separable"], activation="relu")
    model = model_of(subject).train()
    cross_entropy(model(subject.images), subject.labels).backward()
    of_tensors = [product(w) for w in model.parameters()]
    assert len(of_tensors) > len(places(subject.layers))
    assert of_tensors == pytest.approx([products(subject)[0]] * len(of_tensors), rel=1e-10)


def test_a_linear_recurrent_network_has_it_in_the_weights_that_read_the_input() -> None:
    subject = subject_of(regime="recurrent", cell="rnn", activation="identity", dense_bias=False, units=6)
    assert products(subject) == pytest.approx([products(subject)[0]] * 2, rel=1e-9)


@pytest.mark.parametrize(
    "own", [{"dense_bias": True}, {"activation": "tanh"}, {"normalization": "layer"}, {"residual": True}], ids=str
)
def test_whatever_breaks_the_law_spreads_them(own: dict[str, Any]) -> None:
    subject = subject_of(change=0.5, **HOMOGENEOUS["dense"] | {"activation": "relu"} | own)
    assert SADDLE.measure(subject)["saddle.spread"] > 0.01


def test_the_products_are_those_of_the_weights_and_autograds_gradient_through_torchs_modules() -> None:
    """Without the biases, and without the penalty."""
    subject = subject_of(regime="mlp", units=7, r=0.5)
    model = model_of(subject).train()
    cross_entropy(model(subject.images), subject.labels).backward()
    expected = [product(w) for w in model.parameters() if w.dim() > 1]
    assert products(subject) == pytest.approx(expected, rel=1e-10)
    assert SADDLE.measure(subject)["saddle.spread"] == pytest.approx(
        (max(expected) - min(expected)) / np.mean(np.abs(expected)), rel=1e-10
    )


@pytest.mark.parametrize(
    "own",
    [
        {"regime": "mlp", "activation": "tanh", "alpha": 2.0, "units": 6},
        {"regime": "mlp", "activation": "sigmoid", "alpha": 2.0, "scaling": "naive", "units": 6},
        {"regime": "combined", "activation": "relu"},
        {"regime": "recurrent", "cell": "gru", "units": 5},
    ],
    ids=lambda own: own["regime"] + "-" + own.get("activation", "tanh"),
)
def test_linear_is_the_squared_cosine_of_z_and_its_activation(own: dict[str, Any]) -> None:
    """Of the residuals of the least squares through 0 it is the share that is left."""
    subject = subject_of(**own)
    found = SADDLE.measure(subject)
    for name, (z, out, _) in seen(model_of(subject), subject.images).items():
        z, out = z.flatten(), out.flatten()
        factor, *_ = np.linalg.lstsq(z[:, None].numpy(), out.numpy(), rcond=None)
        residual = out - float(factor[0]) * z
        assert found[f"layer.{name}.saddle.linear"] == pytest.approx(
            1 - float(residual.square().sum() / out.square().sum()), rel=1e-9
        )
    assert found["layer.output.saddle.linear"] == 1


def test_how_linear_functions_of_a_normal_z_are() -> None:
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((1000, 1000)))
    assert alignment(z, -3 * z) == pytest.approx(1)
    assert alignment(z, torch.relu(z)) == pytest.approx(1 / 2, abs=0.005)
    assert alignment(z, torch.tanh(1e6 * z)) == pytest.approx(2 / math.pi, abs=0.005)
    assert alignment(z, z.abs()) == pytest.approx(0, abs=0.005)
    assert alignment(1e-200 * z, 1e200 * z) == pytest.approx(1)
    assert math.isnan(alignment(z, 0 * z)) and math.isnan(alignment(0 * z, z))


@given(st.lists(st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-6), min_size=1, max_size=8), st.floats(1e-3, 1e3))
def test_the_spread_has_no_unit_and_is_at_most_the_number_of_layers(values: list[float], factor: float) -> None:
    assert 0 <= spread(values) <= len(values) * (1 + 1e-12)
    assert spread([factor * x for x in values]) == pytest.approx(spread(values), rel=1e-9, abs=1e-12)
    assert spread(values[:1] * 3) == 0 and math.isnan(spread([0.0, 0.0]))


@pytest.mark.parametrize(("regime", "balanced"), [("many-layers", True), ("combined", False)])
def test_many_layers_starts_as_a_deep_linear_network_and_combined_does_not(regime: str, balanced: bool) -> None:
    """Tanh of the paper's initial values: weights of deviation 0.05, and from [-1, 1)."""
    member = MemberConfig(regime=regime, activation="tanh")
    layers = layers_of(member, 10)
    values = SADDLE.measure(Subject(initial_state(member, layers), layers, PROBE))
    linear = [values[f"layer.{place.name}.saddle.linear"] for place in places(layers)]
    assert (values["saddle.spread"] < 0.01, min(linear) > 0.999) == (balanced, balanced)
