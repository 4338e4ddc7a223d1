"""The singular values of the logits' Jacobian, against torch.func.jacrev of torch.nn's modules and linear networks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainers.measurements.modules import evaluating, subject_of
from trainers.activations import ACTIVATIONS
from trainers.layers import NORMALIZATIONS, places
from trainers.layers.recurrent import CELLS
from trainers.measurements.jacobian import IMAGES, jacobian
from trainers.measurements.subject import Subject

NETWORKS: dict[str, dict[str, Any]] = {
    "dense": {"regime": "mlp", "units": 20},
    "narrow": {"regime": "mlp", "units": 4},
    "convolutions": {"regime": "combined"},
    "separable": {"regime": "large-parameters", "units": 12},
    "residual": {"regime": "resnet", "normalization": "none", "channels": 3, "blocks": 2},
    "residual batch": {"regime": "resnet", "channels": 3, "blocks": 2, "convolutions": 2},
    **{cell: {"regime": "recurrent", "cell": cell, "units": 12, "alpha": 2.0} for cell in CELLS},
    **{f"dense {name}": {"regime": "mlp", "units": 20, "normalization": name} for name in NORMALIZATIONS},
    **{f"convolutions {name}": {"regime": "combined", "normalization": name} for name in NORMALIZATIONS},
    "alpha": {"regime": "mlp", "alpha": 3.0, "learn_alpha": "layer"},
    "naive": {"regime": "mlp", "alpha": 3.0, "scaling": "naive"},
    "standardized": {"regime": "mlp", "input": "standardized"},
}


def expected(subject: Subject) -> dict[str, float]:
    """The smallest is that of so many as the dense layers have units, ten at most."""
    model = evaluating(subject)
    by_image = [torch.func.jacrev(lambda x: model(x[None])[0])(image).flatten(1) for image in subject.images[:IMAGES]]
    singular = np.linalg.svd(torch.stack(by_image).detach().numpy(), compute_uv=False)
    units = subject.member.units if subject.member.dense else None
    largest, smallest = singular[:, 0], singular[:, min(10, units or 10) - 1]
    singular_matrix = smallest < 1e-14 * largest
    return {
        "jacobian.largest": float(np.median(largest)),
        "jacobian.smallest": float(np.median(np.where(singular_matrix, 0, smallest))),
        "jacobian.mean_square": float((singular**2).mean()),
        "jacobian.condition": float(np.median(np.where(singular_matrix, math.inf, largest / smallest))),
    }


@pytest.mark.parametrize("network", NETWORKS)
def test_they_are_those_of_jacrev_for_every_kind_of_layer(network: str) -> None:
    subject = subject_of(**{"activation": "tanh"} | NETWORKS[network])
    values = jacobian(subject)
    assert values == pytest.approx(expected(subject), rel=1e-6)
    # which takes the mean of 8 units out
    assert math.isinf(values["jacobian.condition"]) == (network == "convolutions layer")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_they_are_those_of_jacrev_for_every_activation(activation: str) -> None:
    subject = subject_of(regime="mlp", activation=activation, units=24)
    assert jacobian(subject) == pytest.approx(expected(subject), rel=1e-6)


def linear(factor: float) -> tuple[Subject, np.ndarray]:
    """A network without activations whose weights are multiplied by a factor, and its only Jacobian without it."""
    subject = subject_of(regime="mlp", activation="identity", dense=3, units=30)
    parameters = subject.state.parameters
    weights = [parameters[p.where][: math.prod(p.tensors[0])].reshape(p.tensors[0]) for p in places(subject.layers)]
    state = replace(subject.state, parameters=(parameters * np.float32(factor)).astype(np.float32))
    product = np.linalg.multi_dot([weight.astype(np.float64) for weight in reversed(weights)])
    return replace(subject, state=state), product


@pytest.mark.parametrize("power", [0, -30, 30, -60])
def test_those_of_a_linear_network_are_its_matrices_however_small(power: int) -> None:
    """At 2^-240, 1e-72, as at 1: nothing is squared before the singular values are taken."""
    subject, product = linear(2.0**power)
    singular = np.linalg.svd(product, compute_uv=False) * 2.0 ** (4 * power)
    assert jacobian(subject) == pytest.approx(
        {
            "jacobian.largest": singular[0],
            "jacobian.smallest": singular[-1],
            "jacobian.mean_square": float((singular**2).mean()),
            "jacobian.condition": singular[0] / singular[-1],
        },
        rel=1e-6,
        abs=0,
    )


def test_a_dead_network_has_zeros_and_an_infinite_condition() -> None:
    subject = subject_of(change=0, regime="mlp", activation="relu")
    dead = replace(subject, state=replace(subject.state, parameters=-np.abs(subject.state.parameters)))
    assert jacobian(dead) == {
        "jacobian.largest": 0,
        "jacobian.smallest": 0,
        "jacobian.mean_square": 0,
        "jacobian.condition": math.inf,
    }


def test_what_is_not_finite_has_no_singular_values() -> None:
    subject = subject_of(regime="mlp")
    parameters = np.full_like(subject.state.parameters, np.nan)
    values = jacobian(replace(subject, state=replace(subject.state, parameters=parameters)))
    assert len(values) == 4 and all(map(math.isnan, values.values()))
