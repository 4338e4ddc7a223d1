"""The laws of the scalings: the paper, section 2.3."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.activations import ACTIVATIONS, SCALINGS, Activation, activation, inner


def with_parameter(entry: Activation, parameter: float | None) -> Callable[[torch.Tensor], torch.Tensor]:
    return entry.f if parameter is None else lambda z: entry.f(z, parameter)


HOMOGENEOUS = [name for name, entry in ACTIVATIONS.items() if entry.homogeneous]
FUNCTIONS = {name: with_parameter(entry, entry.slope) for name, entry in ACTIVATIONS.items()}
# Each function, and with its parameter at these values where it has one.
SLOPES = {"leaky_relu": (0.0, 0.005, 0.01, 0.3, 1.5, 200.0), "elu": (0.0, 0.005, 0.5, 1.0, 3.0, 200.0)}
SLOPES |= {"prelu": (-2.0, -0.005, 0.0, 0.25, 1.0, 200.0), "rrelu": (1 / 8, 11 / 48, 1 / 3)}
every_slope = pytest.mark.parametrize(
    "name, parameter", [(name, parameter) for name in ACTIVATIONS for parameter in SLOPES.get(name, (None,))]
)

arguments = st.floats(-30, 30).map(lambda z: torch.tensor(z, dtype=torch.float64))
scales = st.floats(0.1, 20)
every_activation = pytest.mark.parametrize("name", ACTIVATIONS)
every_scaling = pytest.mark.parametrize("scaling", SCALINGS)


def slope(f, z: torch.Tensor) -> float:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(f(z), z)[0].item()


@pytest.mark.parametrize("name", HOMOGENEOUS)
@given(z=arguments, alpha=scales)
def test_rescaling_leaves_relu_types_unchanged(name: str, z: torch.Tensor, alpha: float) -> None:
    assert torch.isclose(activation(name, "rescaled")(z, alpha), FUNCTIONS[name](z), rtol=1e-12)


@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in HOMOGENEOUS])
def test_rescaling_changes_every_other(name: str) -> None:
    z = torch.tensor([-3.0, 7.0], dtype=torch.float64)
    assert not torch.allclose(activation(name, "rescaled")(z, 2.0), FUNCTIONS[name](z), rtol=1e-3)


@every_activation
@given(alpha=scales)
def test_the_derivative_at_0_does_not_depend_on_alpha(name: str, alpha: float) -> None:
    zero = torch.tensor(0.0, dtype=torch.float64)
    assert slope(lambda z: activation(name, "rescaled")(z, alpha), zero) == pytest.approx(
        slope(FUNCTIONS[name], zero), rel=1e-12
    )


@every_activation
@given(z=arguments, alpha=scales, depth=st.integers(1, 5))
def test_nested_rescaling_is_one_rescaling_outside(name: str, z: torch.Tensor, alpha: float, depth: int) -> None:
    """The paper, below (1): f_alpha[f_alpha[... z]] = alpha f[f[... z / alpha]]."""
    nested, plain = z, z / alpha
    for _ in range(depth):
        nested = activation(name, "rescaled")(nested, alpha)
        plain = FUNCTIONS[name](plain)
    assert torch.isclose(nested, alpha * plain, rtol=1e-9, atol=1e-12)


@every_scaling
@every_activation
@given(z=arguments, alpha=scales)
def test_gradients_agree_with_finite_differences(name: str, scaling: str, z: torch.Tensor, alpha: float) -> None:
    f = activation(name, scaling)
    h = 1e-6 * max(1.0, alpha)
    # PyTorch's softplus is z from 20 on: a step of 2e-9
    kinks = torch.tensor([0.0, 20.0, *ACTIVATIONS[name].kinks], dtype=torch.float64)
    if (inner(scaling, z, alpha) - kinks).abs().min() < 2 * h / min(1.0, alpha):
        return  # relu, elu, relu6 and hardswish have no derivative there
    difference = (f(z + h, alpha) - f(z - h, alpha)).item() / (2 * h)
    assert slope(lambda x: f(x, alpha), z) == pytest.approx(difference, rel=1e-5, abs=2e-8 * max(1.0, alpha))


@every_activation
@given(z=arguments)
def test_naive_scaling_multiplies_the_slope(name: str, z: torch.Tensor) -> None:
    assert slope(lambda x: activation(name, "naive")(x, 3.0), z) == pytest.approx(3 * slope(FUNCTIONS[name], z))


@every_slope
def test_the_steepest_slope(name: str, parameter: float | None) -> None:
    entry = ACTIVATIONS[name]
    z = torch.linspace(-20, 20, 400_001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(with_parameter(entry, parameter)(z).sum(), z)
    assert np.isclose(slopes.abs().max().item(), entry.steepest_at(parameter), rtol=1e-6)
    if parameter is not None:
        assert float(entry.steepest_at(torch.tensor(parameter))) == pytest.approx(entry.steepest_at(parameter))


@every_slope
def test_where_it_says_that_it_is_flat_it_is(name: str, parameter: float | None) -> None:
    """Of the units of the faster engines: f' is below a hundredth of its largest there, and nowhere else."""
    entry = ACTIVATIONS[name]
    below, above, between, end = entry.flat_at(parameter)
    z = torch.linspace(-12, 12, 24_001, dtype=torch.float64).requires_grad_()
    (slopes,) = torch.autograd.grad(with_parameter(entry, parameter)(z).sum(), z)
    flat = (z < below) | (z > above) | ((between < z) & (z < end))
    decided = (z[:, None] - torch.tensor([below, above, between, end, 0.0])).abs().amin(1) > 1e-3
    # leaky_relu's slope is the very hundredth that counts as flat below it
    decided &= (slopes.abs() / entry.steepest_at(parameter) - 0.01).abs() > 1e-9
    assert torch.equal((slopes.abs() < 0.01 * entry.steepest_at(parameter))[decided], flat[decided])
    assert decided.sum() > 11_000


@every_slope
def test_what_it_says_of_its_shape(name: str, parameter: float | None) -> None:
    entry, f = ACTIVATIONS[name], with_parameter(ACTIVATIONS[name], parameter)
    z = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    # where slopes are learned they may be negative, and where they are random units that pools compare differ
    if not (entry.learned or entry.random):
        assert entry.monotone == bool((f(z).diff() >= -1e-12).all())
    else:
        assert not entry.monotone
    if (name, parameter) != ("elu", 0.0):  # which is relu
        assert entry.homogeneous == torch.allclose(f(2 * z), 2 * f(z), rtol=1e-12)
