"""The laws of the scalings: the paper, section 2.3."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainers.activations import ACTIVATIONS, SCALINGS, Activation, activation, inner
from trainers.layers import Dense
from trainers.members import MemberConfig
from trainers.reference import forward
from trainers.states import initial_state
from trainers.streams import slope_key, uniform


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


# ---- against PyTorch's own, and against what is written of them

MODULES = {
    ("relu", None): nn.ReLU(),
    ("leaky_relu", 0.3): nn.LeakyReLU(0.3),
    ("prelu", 0.3): nn.PReLU(init=0.3),
    ("prelu", -0.3): nn.PReLU(init=-0.3),
    ("rrelu", 11 / 48): nn.RReLU().eval(),
    ("elu", 0.7): nn.ELU(0.7),
    ("relu6", None): nn.ReLU6(),
    ("silu", None): nn.SiLU(),
    ("hardswish", None): nn.Hardswish(),
    ("gelu", None): nn.GELU(),
    ("mish", None): nn.Mish(),
    ("softplus", None): nn.Softplus(),
    ("hardtanh", None): nn.Hardtanh(),
    ("identity", None): nn.Identity(),
    ("tanh", None): nn.Tanh(),
    ("sigmoid", None): nn.Sigmoid(),
    ("logsigmoid", None): nn.LogSigmoid(),
    ("softsign", None): nn.Softsign(),
}


@pytest.mark.parametrize("name, parameter", MODULES)
def test_they_are_pytorchs(name: str, parameter: float | None) -> None:
    """With a number and, where slopes are learned or random, with a tensor of them; its gradient too."""
    module = MODULES[name, parameter].double()
    for weight in module.parameters():
        nn.init.constant_(weight, parameter)  # which was rounded to float32
    z = torch.linspace(-30, 30, 6001, dtype=torch.float64).requires_grad_()
    theirs = module(z)
    to = [z, *module.parameters()]
    expected = torch.autograd.grad(theirs.square().sum(), to)
    if not to[1:]:
        ours = with_parameter(ACTIVATIONS[name], parameter)(z)
        assert torch.allclose(ours, theirs, rtol=1e-12)
        assert torch.allclose(torch.autograd.grad(ours.square().sum(), z)[0], expected[0], rtol=1e-12)
    if ACTIVATIONS[name].learned or ACTIVATIONS[name].random:
        slopes = torch.tensor(parameter, dtype=torch.float64).requires_grad_()
        ours = ACTIVATIONS[name].f(z, slopes)
        assert torch.allclose(ours, theirs, rtol=1e-12)
        pairs = zip(torch.autograd.grad(ours.square().sum(), [z, slopes]), expected, strict=False)
        assert all(torch.allclose(found, true.squeeze(), rtol=1e-12) for found, true in pairs)


# As they are written in a survey, "How Activation Functions Have Evolved".
SURVEY = [
    ("sigmoid", None, lambda x: 1 / (1 + math.exp(-x))),
    ("tanh", None, lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x))),
    ("relu", None, lambda x: max(0, x)),
    ("leaky_relu", 0.1, lambda x: x if x > 0 else 0.1 * x),
    ("prelu", 0.4, lambda x: x if x > 0 else 0.4 * x),
    ("rrelu", 0.2, lambda x: x if x > 0 else 0.2 * x),
    ("elu", 1.0, lambda x: x if x > 0 else 1.0 * (math.exp(x) - 1)),
    ("elu", 0.3, lambda x: x if x > 0 else 0.3 * (math.exp(x) - 1)),
]


@pytest.mark.parametrize("name, parameter, formula", SURVEY)
def test_they_are_the_surveys_formulas(name: str, parameter: float | None, formula: Callable[[float], float]) -> None:
    z = torch.linspace(-9, 9, 181, dtype=torch.float64)
    assert with_parameter(ACTIVATIONS[name], parameter)(z).tolist() == pytest.approx(list(map(formula, z.tolist())))


def test_what_the_survey_says_of_slopes() -> None:
    sigmoid, zero = FUNCTIONS["sigmoid"], torch.tensor(0.0, dtype=torch.float64)
    z = torch.linspace(-9, 9, 181, dtype=torch.float64).requires_grad_()
    (slopes,) = torch.autograd.grad(sigmoid(z).sum(), z)
    assert torch.allclose(slopes, sigmoid(z) * (1 - sigmoid(z)))
    assert slopes.max() == slope(sigmoid, zero) == ACTIVATIONS["sigmoid"].steepest == 0.25
    assert torch.allclose(FUNCTIONS["tanh"](z), 2 * sigmoid(2 * z) - 1)
    assert slope(FUNCTIONS["tanh"], zero) == ACTIVATIONS["tanh"].steepest == 1.0
    assert slope(FUNCTIONS["relu"], zero) in (0.0, 1.0)


# ---- random slopes

WIDE = (Dense("dense1", 500), Dense("dense2", 500), Dense("output", 10, activated=False))
LOW, HIGH = 1 / 8, 1 / 3  # the survey's, "for example"


def slopes_of(seed: int, step: int | None, images: torch.Tensor, factor: float = 1.0) -> list[torch.Tensor]:
    """Of each hidden layer of a network, (images, units)."""
    member = MemberConfig(activation="rrelu", seed=seed)
    state = initial_state(member, WIDE)
    drawn = None if step is None else (torch.tensor(slope_key(seed)), step)
    parameters = torch.from_numpy(state.parameters) * factor
    outputs = forward(WIDE, member, parameters, 1.0, images, torch.zeros(0), by_batch=True, drawn=drawn)
    return [parameter for _, parameter in outputs.arguments]


IMAGES = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_random_slopes_are_uniform_between_their_bounds() -> None:
    for slopes in slopes_of(3, 7, IMAGES):
        assert slopes.shape == (20, 500) and LOW <= slopes.min() and slopes.max() < HIGH
        assert float(slopes.mean()) == pytest.approx((LOW + HIGH) / 2, abs=3e-3)
        assert float(slopes.std()) == pytest.approx((HIGH - LOW) / 12**0.5, rel=0.03)
        counts = torch.histc(slopes, 10, LOW, HIGH)
        assert float((counts - 1000).abs().max()) < 5 * 900**0.5
        for axis in (0, 1):  # neighbours of an image, and of a unit
            pairs = torch.stack([slopes.roll(1, axis).flatten(), slopes.flatten()])
            assert abs(float(torch.corrcoef(pairs)[0, 1])) < 0.05


def test_random_slopes_depend_on_seed_step_and_layer_and_on_nothing_else() -> None:
    first, second = slopes_of(3, 7, IMAGES)
    others = [second, *slopes_of(4, 7, IMAGES), *slopes_of(3, 8, IMAGES)]
    for other in others:
        assert abs(float(torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1])) < 0.05
    again, _ = slopes_of(3, 7, 1 - IMAGES, factor=-2.0)
    assert torch.equal(first, again)
    fewer, _ = slopes_of(3, 7, IMAGES[:6])
    assert torch.equal(first[:6], fewer)


def test_in_evaluation_a_random_slope_is_the_mean_of_its_bounds() -> None:
    """The survey: "they use a deterministic value for the alpha, the lower and upper bound average"."""
    assert slopes_of(3, None, IMAGES) == [(1 / 8 + 1 / 3) / 2] * 2


def test_random_numbers_are_these_on_every_machine() -> None:
    """lowbias32 (Wellons), in NumPy's whole numbers of 32 bits."""

    def lowbias32(x: np.ndarray) -> np.ndarray:
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
        return x ^ (x >> np.uint32(16))

    numbers = np.arange(1000, dtype=np.uint32)
    of_layer = lowbias32(lowbias32(np.array([2**32 - 3 + 5], dtype=np.int64).astype(np.uint32)) + np.uint32(2))
    expected = lowbias32(lowbias32(numbers) ^ of_layer) >> np.uint32(8)
    found = uniform(torch.tensor(2**32 - 3), 5, 2, torch.arange(1000))
    assert found.tolist() == expected.tolist() == uniform(2**32 - 3, 5, 2, np.arange(1000)).tolist()
    assert expected[:4].tolist() == [5999621, 462864, 12070984, 6064385]
