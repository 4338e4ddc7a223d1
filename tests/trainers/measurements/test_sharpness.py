"""Sharpness against a dense Hessian, and the noise scale against the gradient of each image, both in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainers import MemberConfig, train
from trainers.data import load
from trainers.data.dataset import Dataset
from trainers.lanes import available
from trainers.measurements import MEASUREMENTS
from trainers.measurements.sharpness import MOST, TOLERANCE, largest_eigenvalue
from trainers.measurements.subject import Subject
from trainers.members import layers_of
from trainers.reference import Images, ReferenceEngine
from trainers.states import initial_state

SHARPNESS = MEASUREMENTS["sharpness"]
METRICS = ("sharpness.largest", "sharpness.edge", "sharpness.noise_scale")


def few(count: int) -> Dataset:
    """Digits, so few that all of them are the probe."""
    digits = load("digits")
    parts = (split.take(np.arange(count)) for split in (digits.train, digits.validation, digits.test))
    return Dataset("few", digits.classes, *parts, digest="")


def subject_of(member: MemberConfig, data: Dataset, epochs: int = 0) -> Subject:
    layers = layers_of(member, 10)
    state = initial_state(member, layers, data)
    for _ in range(epochs):
        ((state, _, _),) = ReferenceEngine(layers, data, "cpu", 1).train_epoch([state])
    return Subject(state, layers, Images(data, "probe", torch.device("cpu")))


def dense_hessian(subject: Subject) -> Tensor:
    """Every row by itself, (parameters, parameters)."""
    parameters = subject.parameters.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(subject.loss(parameters), parameters, create_graph=True)
    rows = [torch.autograd.grad(coordinate, parameters, retain_graph=True)[0] for coordinate in gradient]
    return torch.stack(rows)


@pytest.mark.parametrize("epochs", [0, 20])
@pytest.mark.parametrize(
    "own",
    [
        {"activation": "tanh"},
        pytest.param({"activation": "tanh", "initialization": "glorot_uniform", "alpha": 2.0}, marks=pytest.mark.slow),
        pytest.param({"activation": "relu", "initialization": "he_normal"}, marks=pytest.mark.slow),
        pytest.param({"activation": "logsigmoid", "initialization": "he_normal"}, marks=pytest.mark.slow),
        pytest.param({"activation": "silu", "initialization": "he_normal", "loss": "squared"}, marks=pytest.mark.slow),
    ],
    ids=lambda own: own["activation"] + "-" + own.get("initialization", "uniform"),
)
def test_it_is_the_largest_eigenvalue_of_the_dense_hessian(own: dict[str, Any], epochs: int) -> None:
    """Of the 698 parameters of Table 1's network, and four images: each row of the Hessian costs as much as a product.

    With the paper's initial values there is an eigenvalue of -15,000 beside a largest one of 5.
    """
    member = MemberConfig(regime="large-parameters", learning_rate=0.01, batch_size=2, **own)
    subject = subject_of(member, few(4), epochs)
    hessian = dense_hessian(subject)
    assert hessian.shape == (698, 698) and torch.allclose(hessian, hessian.T, atol=1e-9 * float(hessian.abs().max()))
    values = torch.linalg.eigvalsh(hessian)
    if own == {"activation": "tanh"} and not epochs:
        assert values[0] < -1000 * values[-1]
    assert SHARPNESS.measure(subject)["sharpness.largest"] == pytest.approx(float(values[-1]), rel=1e-3)


def symmetric(values: Tensor, seed: int) -> Tensor:
    """A matrix with these eigenvalues in random directions."""
    generator = torch.Generator().manual_seed(seed)
    directions, _ = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64, generator=generator))
    return directions @ values.diag() @ directions.T


def largest_of(matrix: Tensor) -> tuple[float, int]:
    """What comes out, and after how many products."""
    products = []

    def product(vector: Tensor) -> Tensor:
        products.append(vector)
        return matrix @ vector

    start = np.random.default_rng(0).standard_normal(len(matrix))
    return largest_eigenvalue(product, torch.from_numpy(start)), len(products)


@given(st.lists(st.floats(-100, 100, allow_subnormal=False), min_size=1, max_size=30), st.integers(0, 9))
def test_it_is_the_most_positive_eigenvalue_of_any_symmetric_matrix(values: list[float], seed: int) -> None:
    matrix = symmetric(torch.tensor(values, dtype=torch.float64), seed)
    size = max(map(abs, values))
    assert largest_of(matrix)[0] == pytest.approx(max(values), rel=1e-3, abs=1e-10 * size)


@pytest.mark.parametrize(
    ("values", "most"),
    [
        (torch.zeros(50), 1),
        (-torch.linspace(1, 100, 50), 60),
        (torch.cat([torch.tensor([-1e6, 1.0]), torch.zeros(200)]), 5),
        (torch.cat([torch.linspace(0, 1, 499), torch.tensor([1.01])]), MOST),
    ],
    ids=["zero", "negative", "a greater negative one", "a small gap"],
)
def test_few_products_are_enough(values: Tensor, most: int) -> None:
    largest, products = largest_of(symmetric(values.double(), 0))
    assert largest == pytest.approx(float(values.max()), rel=1e-3, abs=1e-10) and products <= most


def test_after_the_most_products_it_is_a_lower_bound() -> None:
    """Ten thousand eigenvalues between 0 and 1, and none that is apart."""
    values = torch.linspace(0, 1, 10**4, dtype=torch.float64)
    products = []
    largest = largest_eigenvalue(lambda v: products.append(1) or values * v, torch.ones_like(values))
    assert len(products) <= MOST and 0.999 < largest <= 1 and TOLERANCE < 1e-3


def test_the_edge_is_two_over_the_epochs_learning_rate() -> None:
    """Nine images in batches of two are five steps."""
    data, fields = few(9), {"regime": "mlp", "units": 4, "batch_size": 2, "epochs": 4}
    plain = MemberConfig(learning_rate=0.05, **fields)
    assert subject_edges(plain, data) == pytest.approx([40.0] * 3)
    warm = MemberConfig(learning_rate=0.05, schedule="linear", warmup=1, **fields)
    # 1/5, 2/5 ... 1 in the warm-up, then 15 steps from 1 down to 1/15
    factors = [0.6, 0.6, (15 + 14 + 13 + 12 + 11) / 75]
    assert subject_edges(warm, data) == pytest.approx([40.0 / factor for factor in factors])


def subject_edges(member: MemberConfig, data: Dataset) -> list[float]:
    return [SHARPNESS.measure(subject_of(member, data, epochs))["sharpness.edge"] for epochs in range(3)]


@pytest.mark.parametrize("batch_size", [1, 16, 25, 1000])
@pytest.mark.parametrize("epochs", [0, 3])
def test_the_noise_scale_is_that_of_the_images_own_gradients(batch_size: int, epochs: int) -> None:
    member = MemberConfig(regime="mlp", units=8, batch_size=batch_size)
    subject = subject_of(member, few(96), epochs)

    def loss(parameters: Tensor, image: Tensor, label: Tensor) -> Tensor:
        return subject.loss(parameters, image[None], label[None])

    parameters = subject.parameters
    of_images = [torch.func.grad(loss)(parameters, *pair) for pair in zip(subject.images, subject.labels, strict=True)]
    gradients = torch.stack(of_images)
    small = min(batch_size, 48)  # 96 images are at least two batches
    of_batches = gradients[: len(gradients) // small * small].unflatten(0, (-1, small)).mean(1)
    if batch_size == 1:
        noise = of_batches.var(0).sum()  # the trace of the unbiased covariance
        signal = of_batches.mean(0).square().sum() - noise / len(of_batches)
    else:  # as McCandlish et al. have them
        big = small * len(of_batches)
        of_small, of_big = of_batches.square().sum(1).mean(), of_batches.mean(0).square().sum()
        signal = (big * of_big - small * of_small) / (big - small)
        noise = (of_small - of_big) / (1 / small - 1 / big)
    assert signal > 0
    assert SHARPNESS.measure(subject)["sharpness.noise_scale"] == pytest.approx(float(noise / signal), rel=1e-9)


def test_noise_that_hides_the_gradient_is_infinite() -> None:
    """The same image under two labels: where the outputs are 0, what pulls to one of two classes is all there is."""
    digits = few(2)
    twice = replace(digits.train, images=digits.train.images[[0, 0]], labels=np.array([3, 7]))
    member = MemberConfig(regime="mlp", dense=0, batch_size=1, init_scale=1e-30)
    assert SHARPNESS.measure(subject_of(member, replace(digits, train=twice)))["sharpness.noise_scale"] == math.inf


def test_a_diverged_member_has_none_and_no_gradient_no_noise() -> None:
    member = MemberConfig(regime="mlp", units=4, activation="relu")
    subject = subject_of(member, few(40))
    for value in (math.nan, math.inf):
        parameters = np.full_like(subject.state.parameters, value)
        gone = SHARPNESS.measure(replace(subject, state=replace(subject.state, parameters=parameters)))
        assert tuple(gone) == METRICS and gone["sharpness.edge"] == 2000
        assert math.isnan(gone["sharpness.largest"]) and math.isnan(gone["sharpness.noise_scale"])
    flat = replace(member, loss="squared", dense_bias=False)
    subject = subject_of(flat, few(40))
    nothing = replace(subject.state, parameters=np.zeros_like(subject.state.parameters))
    dead = SHARPNESS.measure(replace(subject, state=nothing))
    assert dead["sharpness.largest"] == 0 and math.isnan(dead["sharpness.noise_scale"])


@pytest.mark.skipif(available() is None, reason="the lane engine was not compiled")
@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_both_engines_record_it_at_the_epochs_that_are_asked_for(normalization: str) -> None:
    own = {"regime": "mlp", "units": 4, "normalization": normalization, "measure": ("sharpness",), "measure_at": (0, 2)}
    records = {
        engine: [r.metrics for r in train([MemberConfig(engine=engine, epochs=2, **own)])]
        for engine in ("lanes", "reference")
    }
    for first, between, last in records.values():
        assert not [name for name in between if name.startswith("sharpness.")]
        assert all(first[name] > 0 and last[name] > 0 for name in METRICS)
    (lanes, _, lanes_last), (reference, _, reference_last) = records.values()
    assert [lanes[name] for name in METRICS] == [reference[name] for name in METRICS]
    assert lanes_last["sharpness.largest"] == pytest.approx(reference_last["sharpness.largest"], rel=0.05)


def test_a_member_that_diverges_in_training_is_recorded_too() -> None:
    own = {"regime": "mlp", "units": 4, "optimizer": "sgd", "learning_rate": 1e30, "activation": "relu"}
    *_, last = train([MemberConfig(epochs=2, measure=("sharpness",), **own)])
    assert last.diverged and math.isnan(last.metrics["sharpness.largest"])
