"""The laws of the scalings: the paper, section 2.3."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.activations import ACTIVATIONS, SCALINGS, activation, inner

HOMOGENEOUS = [name for name, entry in ACTIVATIONS.items() if entry.homogeneous]
FUNCTIONS = {name: entry.f for name, entry in ACTIVATIONS.items()}

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
    kinks = torch.tensor([0.0, 6.0, -3.0, 3.0], dtype=torch.float64)
    if (inner(scaling, z, alpha) - kinks).abs().min() < 2 * h:
        return  # relu, elu, relu6 and hardswish have no derivative there
    difference = (f(z + h, alpha) - f(z - h, alpha)).item() / (2 * h)
    assert slope(lambda x: f(x, alpha), z) == pytest.approx(difference, rel=1e-5, abs=2e-8 * max(1.0, alpha))


@every_activation
@given(z=arguments)
def test_naive_scaling_multiplies_the_slope(name: str, z: torch.Tensor) -> None:
    assert slope(lambda x: activation(name, "naive")(x, 3.0), z) == pytest.approx(3 * slope(FUNCTIONS[name], z))


@every_activation
def test_the_steepest_slope(name: str) -> None:
    z = torch.linspace(-20, 20, 400_001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(FUNCTIONS[name](z).sum(), z)
    assert np.isclose(slopes.abs().max().item(), ACTIVATIONS[name].steepest, rtol=1e-6)


@every_activation
@given(z=st.floats(-12, 12))
def test_where_it_says_that_it_is_flat_it_is(name: str, z: float) -> None:
    """Of the units of the faster engines: f' is below a hundredth of its largest there, and nowhere else."""
    below, above, between, end = ACTIVATIONS[name].flat
    if min(abs(z - x) for x in (below, above, between, end, 0.0)) < 1e-3:
        return
    flat = abs(slope(FUNCTIONS[name], torch.tensor(z, dtype=torch.float64))) < 0.01 * ACTIVATIONS[name].steepest
    assert flat == (z < below or z > above or between < z < end)


@every_activation
def test_what_it_says_of_its_shape(name: str) -> None:
    z = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    values = FUNCTIONS[name](z)
    assert ACTIVATIONS[name].monotone == bool((values.diff() >= -1e-12).all())
    doubled = torch.allclose(FUNCTIONS[name](2 * z), 2 * values, rtol=1e-12)
    assert ACTIVATIONS[name].homogeneous == doubled
