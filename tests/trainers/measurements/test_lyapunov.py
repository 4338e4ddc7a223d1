"""Lyapunov exponents against what is known of linear networks, and against the product of all Jacobians."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers.measurements.test_hidden import subject_of
from tests.trainers.test_engines import member_of
from tests.trainers.test_recurrent import by_hand, tensors_of
from trainers.layers import CELLS, places
from trainers.measurements import MEASUREMENTS
from trainers.measurements.lyapunov import exponents, jacobians
from trainers.measurements.subject import Subject

LYAPUNOV = MEASUREMENTS["lyapunov"]


def with_recurrent(subject: Subject, weights: np.ndarray) -> Subject:
    """The same network with these recurrent weights."""
    (place, *_) = places(subject.layers)
    start = place.where.start + int(np.prod(place.tensors[0]))
    parameters = subject.state.parameters.copy()
    parameters[start : start + weights.size] = weights.ravel()
    return replace(subject, state=replace(subject.state, parameters=parameters))


def test_of_a_linear_network_they_are_the_logs_of_the_moduli_of_the_eigenvalues() -> None:
    """Whatever it reads; for so many steps that the directions have turned to those of the eigenvectors."""
    moduli = np.array([1.25, 1.0, 0.8, 0.5])
    random = np.random.default_rng(0)
    basis = random.normal(size=(4, 4))
    weights = basis @ np.diag(moduli * [1, -1, 1, -1]) @ np.linalg.inv(basis)
    member = member_of("recurrent", activation="identity", units=4, steps=1024)
    subject = with_recurrent(subject_of(member), weights)
    known = exponents(subject, subject.images[:2])
    assert torch.allclose(known, torch.tensor(np.log(moduli)).expand(2, 4), atol=5e-3)
    # a pair of complex eigenvalues, of modulus 0.9
    turn = 0.9 * np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    weights = np.zeros((4, 4))
    weights[:2, :2], weights[2:, 2:] = turn, np.diag([1.1, 0.3])
    weights = basis @ weights @ np.linalg.inv(basis)
    values = LYAPUNOV.measure(with_recurrent(subject_of(member), weights))
    expected = np.log([1.1, 0.9, 0.9, 0.3])
    assert values["lyapunov.largest"] == pytest.approx(expected[0], abs=5e-3)
    assert values["lyapunov.mean"] == pytest.approx(expected.mean(), abs=1e-6)
    assert values["lyapunov.positive"] == 1


def test_of_an_orthogonal_linear_network_all_are_0() -> None:
    member = member_of("recurrent", activation="identity", recurrent_initialization="orthogonal")
    values = LYAPUNOV.measure(subject_of(member))
    assert values["lyapunov.largest"] == pytest.approx(0, abs=1e-6)
    assert values["lyapunov.mean"] == pytest.approx(0, abs=1e-6)
    scaled = LYAPUNOV.measure(subject_of(replace(member, init_scale=1.5)))
    assert scaled["lyapunov.largest"] == pytest.approx(np.log(1.5), abs=1e-6)
    assert scaled["lyapunov.positive"] == 32


@pytest.mark.parametrize("scaled_gates", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_product_of_all_jacobians(cell: str, scaled_gates: bool) -> None:
    """Of a short sequence: each Jacobian is torch.func.jacrev's of one step, written by hand, and the exponents are the
    logs of R's diagonal where Q R is their whole product, whose sum is that of the logs of its singular values."""
    fields = {"cell": cell, "scaled_gates": scaled_gates, "units": 3, "steps": 4, "alpha": 1.5, "init_scale": 1.5}
    member = member_of("recurrent", activation="tanh", **fields)
    subject = subject_of(member)
    images = subject.images[:5]
    tensors, count = tensors_of(subject.parameters, subject.layers), 3 * CELLS[cell].states
    states = by_hand(member, tensors, images)
    ours = torch.stack(list(jacobians(subject, images)))
    assert ours.shape == (3, 5, count, count)
    known, sums = exponents(subject, images), []
    for i in range(5):
        product = torch.eye(count, dtype=torch.float64)
        for t in range(1, 4):

            def step(flat: Tensor, i: int = i, t: int = t) -> Tensor:
                start = flat[None].split(3, 1)
                return torch.cat(by_hand(member, tensors, images[i : i + 1], start=start, at=t)[0], 1)[0]

            theirs = torch.func.jacrev(step)(torch.cat([part[i] for part in states[t - 1]]))
            assert torch.allclose(ours[t - 1, i], theirs, rtol=1e-10, atol=1e-12)
            product = theirs @ product
        diagonal = torch.linalg.qr(product).R.diagonal().abs().log() / 3
        assert torch.allclose(known[i], diagonal, rtol=1e-6, atol=1e-6)
        sums.append(float(torch.linalg.svdvals(product).log().mean()) / 3)
    assert float(known.mean(1).mean()) == pytest.approx(np.mean(sums), abs=1e-6)
    first_eight = exponents(subject, subject.images[:8]).sort(1, descending=True).values.mean(0)
    values = LYAPUNOV.measure(subject)
    assert values["lyapunov.largest"] == pytest.approx(float(first_eight[0]))
    assert values["lyapunov.mean"] == pytest.approx(float(first_eight.mean()))
    assert values["lyapunov.positive"] == int((first_eight > 0).sum())


def test_units_that_are_dead_cost_a_dimension_and_one_step_has_no_exponents() -> None:
    dead = LYAPUNOV.measure(subject_of(member_of("recurrent", activation="relu")))
    assert dead["lyapunov.mean"] == -np.inf and np.isfinite(dead["lyapunov.largest"])
    single = LYAPUNOV.measure(subject_of(member_of("recurrent", steps=1)))
    assert all(np.isnan(value) for value in single.values())
