"""The activations, the conversion of pixels, and what is counted as saturated."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor

from tests.trainers.lanes.judge import Case, Split, cases, forward, images
from trainers.activations import ACTIVATIONS, inner
from trainers.lanes import kernels
from trainers.lanes.tables import SUPPORT
from trainers.layers import Convolution, Dense, Pooling, Recurrent
from trainers.members import MemberConfig

CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]
NO_BUFFERS = np.zeros((100, 0), np.float32)


def activate(activation: str, naive: bool, alpha: float, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """alpha f(z / alpha) and its derivative as the kernels compute them, read off gradients.

    The image is 1, so a first weight is the argument z of its unit. The weights of the output are so small that both
    classes are equally likely: the gradient by one is half the unit's value, that by z half the slope times the weight.
    """
    units, small = 1000, np.float32(2.0**-60)
    layers = (Dense("hidden", units), Dense("output", 2, activated=False))
    members = [MemberConfig(activation=activation, scaling="naive" if naive else "rescaled", alpha=alpha)]
    members *= -(-len(z) // units)
    parameters = np.zeros((len(members), 3 * units), np.float32)
    parameters[:, :units].flat[: len(z)] = z
    parameters[:, 2 * units :] = small
    split = Split(np.full((1, 1, 1, 1), 255, np.uint8), np.zeros(1, np.int64))
    gradients, _, _ = kernels.probe_gradient(layers, members, parameters, split, 1)
    slopes, _, values = np.split(2 * gradients, 3, axis=1)
    return values.ravel()[: len(z)], slopes.ravel()[: len(z)] / small


def plain(activation: str) -> Callable[[Tensor], Tensor]:
    """f, at its own slope where it has one."""
    f = ACTIVATIONS[activation]
    if activation == "gelu":
        return lambda u: u / 2 * torch.special.erfc(-u / 2**0.5)  # PyTorch's own is 0 where 1 + erf is
    return f.f if f.slope is None else partial(f.f, slope=f.slope)


def exact(activation: str, naive: bool, alpha: float, z: np.ndarray) -> list[np.ndarray]:
    """The scaled activation and its first two derivatives in double precision."""
    t = torch.tensor(z, dtype=torch.float64).requires_grad_()
    y = alpha * plain(activation)(t if naive else t / alpha)
    (slope,) = torch.autograd.grad(y.sum(), t, create_graph=True)
    bend = torch.zeros_like(t)
    if slope.requires_grad:
        bend = torch.autograd.grad(slope.sum(), t, allow_unused=True)[0]
    return [v.detach().numpy() for v in (y, slope, torch.zeros_like(t) if bend is None else bend)]


RANDOM = np.random.default_rng(0)
Z = np.concatenate(
    [
        RANDOM.uniform(-12, 12, 20000),
        RANDOM.uniform(-80, 80, 4000),
        np.sign(RANDOM.standard_normal(10000)) * 10 ** RANDOM.uniform(-8, 1, 10000),
        [0.0, -0.0],
    ]
).astype(np.float32)


@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("activation", SUPPORT.fields["activation"])
def test_values_and_slopes_to_a_few_units_in_the_last_place(build: str, activation: str, naive: bool) -> None:
    """To a few units the exact result for an argument that is a few units off; tiny slopes too."""
    z = Z[np.abs(np.abs(Z / (1.0 if naive else 1.3)) - 3) > 1e-5]  # where hardswish' jumps
    value, slope = activate(activation, naive, 1.3, z)
    true_value, true_slope, bend = exact(activation, naive, 1.3, z)
    unit = 2.0**-23
    assert (np.abs(value - true_value) <= 2.5 * unit * (np.abs(true_value) + np.abs(z * true_slope)) + 1e-36).all()
    # 1 - tanh^2 is itself not better than 1e-16 in double precision
    assert (np.abs(slope - true_slope) <= 5 * unit * (np.abs(true_slope) + np.abs(z * bend)) + 3e-16).all()


@pytest.mark.parametrize("activation", SUPPORT.fields["activation"])
def test_nan_stays_nan(build: str, activation: str) -> None:
    """So the loss of a member that has diverged shows it."""
    layers = (Dense("hidden", 1), Dense("output", 2, activated=False))
    split = Split(np.full((1, 1, 1, 1), 255, np.uint8), np.zeros(1, np.int64))
    parameters = np.array([[np.nan, 1, 1], [1, 1, 1]], np.float32)
    members = [MemberConfig(activation=activation, alpha=2.0)] * 2
    losses, _ = kernels.evaluate(layers, members, parameters, NO_BUFFERS[:2], split, 1)
    assert np.isnan(losses).tolist() == [True, False]


def test_pixels_are_divided_by_255_exactly(build: str) -> None:
    """A network of one weight, 1: the logits' difference is the pixel, and so is the gradient by that weight."""
    layers = (Dense("output", 2, False, activated=False),)
    for pixel in range(256):
        split = Split(np.full((1, 1, 1, 1), pixel, np.uint8), np.zeros(1, np.int64))
        (gradient,), _, _ = kernels.probe_gradient(layers, [MemberConfig()], np.zeros((1, 2), np.float32), split, 1)
        assert gradient[1] == np.float32(pixel) / np.float32(255) * np.float32(0.5)


@pytest.mark.parametrize("activation", SUPPORT.fields["activation"])
@settings(max_examples=5, deadline=None, suppress_health_check=CHECKS)
@given(case=cases(most_images=30))
def test_saturated_and_dead_units(build: str, activation: str, case: Case) -> None:
    """Where float32 knows them: a recurrence may multiply its errors."""
    member = MemberConfig(activation=activation, alpha=2.0)
    parameters = case.parameters * np.float32(8)
    _, saturated, dead = kernels.probe_gradient(case.layers, [member], parameters, case.split, 2)
    x = torch.tensor(case.split.images).double() / 255
    _, arguments = forward(case.layers, member, torch.tensor(parameters[0]).double(), x)
    _, rounded = forward(case.layers, member, torch.tensor(parameters[0]), x.float())
    assume(
        all(torch.allclose(z.double(), true, 1e-4, 1e-5) for (z, _), (true, _) in zip(rounded, arguments, strict=True))
    )
    assert saturated.shape == dead.shape == (1, len(arguments) + 1)
    assert saturated[0, -1] == dead[0, -1] == 0  # the output has no activation
    for i, (z, _) in enumerate(arguments):
        u = inner(member.scaling, z, member.alpha).requires_grad_()
        (slope,) = torch.autograd.grad(plain(activation)(u).sum(), u)
        bound = 0.01 * ACTIVATIONS[activation].steepest
        surely = (slope.abs() < bound * (1 - 1e-4) - 1e-9).flatten(1)
        maybe = (slope.abs() < bound * (1 + 1e-4) - 1e-9).flatten(1) | (
            (u.abs() < 1e-6) | ((u - 6).abs() < 1e-5)
        ).flatten(1)
        if activation == "leaky_relu":
            maybe = surely = torch.zeros_like(surely)
        assert float(surely.double().mean()) <= saturated[0, i] + 1e-12
        assert saturated[0, i] <= float(maybe.double().mean()) + 1e-12
        assert float(surely.all(0).double().mean()) <= dead[0, i] + 1e-12
        assert dead[0, i] <= float(maybe.all(0).double().mean()) + 1e-12


def test_wrong_input_is_refused(build: str) -> None:
    layers = (Convolution("conv1", 2), Pooling("pool1"), Dense("output", 3, activated=False))
    split = images(5, (1, 4, 4), 3, 0)
    good = np.zeros((1, 18 + 24), np.float32)
    member = MemberConfig()

    def train(**changed: object) -> None:
        call = {
            "layers": layers,
            "members": [member],
            "parameters": good.copy(),
            "kept": (good.copy(), good.copy()),
            "buffers": np.zeros((1, 0), np.float32),
            "steps": np.zeros(1, np.int64),
            "rates": np.zeros((1, 3)),
            "split": split,
            "orders": np.arange(5)[None],
            "batch_size": 2,
            "threads": 1,
        } | changed
        kernels.train_epoch(**call)

    train()
    for name, wrong in {
        "members": [],
        "parameters": good.astype(np.float64),
        "kept": (good.copy(), np.zeros((1, 41), np.float32)),
        "buffers": np.zeros((1, 2), np.float32),
        "steps": np.zeros(2, np.int64),
        "rates": np.zeros((1, 2)),
        "split": split._replace(labels=np.full(5, 3)),
        "orders": np.array([[0, 5]]),
        "batch_size": 0,
        "layers": layers[:-1],
    }.items():
        with pytest.raises(ValueError):
            train(**{name: wrong})
    for name, wrong in {"orders": np.arange(5), "threads": 0, "channel_scales": np.ones((1, 2), np.float32)}.items():
        with pytest.raises(ValueError, match=name):
            train(**{name: wrong})
    with pytest.raises(ValueError, match="second must be writable"):
        train(kept=(good.copy(), np.broadcast_to(np.float32(0), good.shape)))
    with pytest.raises(ValueError, match="adam keeps 2 arrays, but got 1"):
        train(kept=(good.copy(),))
    with pytest.raises(ValueError, match="images"):
        train(split=split._replace(images=split.images[:, :, :, ::-1]))


@pytest.mark.parametrize(
    "layers",
    [
        (Pooling("first"), Dense("output", 3, activated=False)),
        (Dense("d", 4), Convolution("after", 2), Dense("output", 3, activated=False)),
        (Convolution("c", 65), Dense("output", 3, activated=False)),
        (Dense("d", 1025), Dense("output", 3, activated=False)),
        (Convolution("c", 2), Pooling("p"), Pooling("twice"), Dense("output", 3, activated=False)),
        (Convolution("c", 2),),
        (*(Dense(f"d{i}", 2) for i in range(128)), Dense("output", 3, activated=False)),
        (Convolution("c", 2), Recurrent("after"), Dense("output", 3, activated=False)),
        (Recurrent("r", units=1025), Dense("output", 3, activated=False)),
        (Recurrent("r", "lstm", units=512, steps=1024), Dense("output", 3, activated=False)),
        (Recurrent("r"),),
    ],
)
def test_networks_that_the_kernels_do_not_run(layers: tuple) -> None:
    reason = kernels.refusal(layers, (3, 32, 32))
    assert reason and "\n" not in reason


def test_128_layers_are_run() -> None:
    """As many as there may be; the table of so many is large enough to be overwritten, were it let go too early."""
    layers = (*(Dense(f"d{i}", 2) for i in range(127)), Dense("output", 3, activated=False))
    assert kernels.refusal(layers, (3, 32, 32)) is None
