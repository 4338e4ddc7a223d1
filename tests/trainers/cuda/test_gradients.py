"""The kernels' gradients against autograd in double precision, the judge."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.trainers.cuda.device import DEVICE
from tests.trainers.cuda.harness import SMALL, array, probed, small_case, smooth_case, trained
from tests.trainers.lanes.judge import Case, error, forward, gradient, regime_case, regimes_of, smooth
from trainers.activations import ACTIVATIONS, inner
from trainers.activations import activation as activation_of
from trainers.cuda import SUPPORT
from trainers.cuda.array import _Batch, launching, resident
from trainers.layers import places
from trainers.members import MemberConfig

CHOICES = [("rescaled", "l2", 2.0), ("naive", "l1", 1.5)]


def hold(case: Case, probe: bool = True) -> None:
    """The gradient that Adam sees and the probe's without the penalty are as good as the lane engine's have to be."""
    both = [(True, trained(case)[0])] + ([(False, probed(case)[0][0])] if probe else [])
    for penalized, found in both:
        true = gradient(case, 0, torch.float64, penalized)
        assert error(found, true) <= 1e-5
        for where in (place.where for place in places(case.layers, case.split.images.shape[1:])):
            assert error(found[where], true[where]) <= 1e-4


# Each activation with one scaling and penalty now, and with the other ones among the slow tests.
SMALL_CASES = [
    pytest.param(activation, *choice, marks=[pytest.mark.slow] if (i + j) % 2 else [])
    for i, activation in enumerate(SUPPORT.fields["activation"])
    for j, choice in enumerate(CHOICES)
]


@pytest.mark.parametrize("activation, scaling, penalty, alpha", SMALL_CASES)
def test_of_a_small_network(activation: str, scaling: str, penalty: str, alpha: float) -> None:
    """Plain and separable convolutions, pooled and not, dense layers with and without bias, 6 images."""
    member = MemberConfig(activation=activation, scaling=scaling, penalty=penalty, alpha=alpha, r=0.01)
    hold(smooth_case(member), probe=False)


def of_regime(regime: str, activation: str, scaling: str, penalty: str, alpha: float, probe: bool = True) -> None:
    member = MemberConfig(regime=regime, activation=activation, scaling=scaling, penalty=penalty, alpha=alpha, r=0.01)
    tried = (smooth(regime_case(regime, member, 4, seed)) for seed in range(20))
    hold(next(c for c in tried if c is not None), probe)


# Now the one that has it all, separable convolutions and biases.
@pytest.mark.parametrize(
    "regime", [pytest.param(r, marks=[] if r == "large-parameters" else pytest.mark.slow) for r in regimes_of("cuda")]
)
def test_of_every_regime(regime: str) -> None:
    of_regime(regime, "tanh", "rescaled", "l2", 2.0, probe=False)


@pytest.mark.slow
@pytest.mark.parametrize("scaling, penalty, alpha", CHOICES)
@pytest.mark.parametrize("activation", SUPPORT.fields["activation"])
@pytest.mark.parametrize("regime", regimes_of("cuda"))
def test_of_every_regime_and_activation(regime: str, activation: str, scaling: str, penalty: str, alpha: float) -> None:
    of_regime(regime, activation, scaling, penalty, alpha)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "logsigmoid", "softsign"])
@pytest.mark.parametrize("regime", regimes_of("cuda"))
def test_deep_in_saturation_they_are_as_good_as_torchs_float32(regime: str, activation: str) -> None:
    """At initial values from [-10, 10) rounding decides where the gradient goes: see trainers/lanes/README.md."""
    ratios = []
    for seed in range(9):
        member = MemberConfig(regime=regime, activation=activation)
        case = regime_case(regime, member, 32, seed)
        values = np.random.default_rng(seed).uniform(-10, 10, case.parameters.shape).astype(np.float32)
        case = Case(case.layers, case.split, case.members, values)
        true, torchs = gradient(case, 0, torch.float64), gradient(case, 0, torch.float32)
        ratios.append(error(probed(case)[0][0], true) / error(torchs, true))
    assert np.median(ratios) <= 1.5
    assert np.exp(np.mean(np.log(ratios))) <= 1.5


def test_ties_go_to_the_first_as_in_pytorch() -> None:
    """Images of one colour and saturated units: every window of a pooling inside the border is a tie."""
    for activation in ("tanh", "relu6", "silu"):
        case = small_case(MemberConfig(activation=activation), count=3, seed=2, factor=3.0)
        flat = np.broadcast_to(case.split.images[:, :, :1, :1], case.split.images.shape).copy()
        case = Case(case.layers, case.split._replace(images=flat), case.members, case.parameters)
        true, torchs = gradient(case, 0, torch.float64), gradient(case, 0, torch.float32)
        assert error(torchs, true) < 1e-5, "PyTorch's own precisions must agree on the winners"
        assert error(probed(case)[0][0], true) <= 1e-5


@pytest.mark.parametrize("activation", ["tanh", "silu", "relu6"])
def test_saturated_and_dead_units(activation: str) -> None:
    case = small_case(MemberConfig(activation=activation, alpha=2.0), count=5, factor=8.0)
    _, saturated, dead = probed(case)
    x = torch.tensor(case.split.images).double() / 255
    _, arguments = forward(SMALL, case.members[0], torch.tensor(case.parameters[0]).double(), x)
    assert saturated.shape == dead.shape == (1, len(arguments) + 1)
    assert saturated[0, -1] == dead[0, -1] == 0  # the output has no activation
    for i, (z, _) in enumerate(arguments):
        u = inner("rescaled", z, 2.0).requires_grad_()
        (slope,) = torch.autograd.grad(activation_of(activation, "rescaled")(u, 1.0).sum(), u)
        true = (slope.abs() < 0.01 * ACTIVATIONS[activation].steepest).flatten(1)
        assert saturated[0, i] == pytest.approx(float(true.double().mean()), abs=1e-12)
        assert dead[0, i] == pytest.approx(float(true.all(0).double().mean()), abs=1e-12)


def test_losses_and_hits() -> None:
    case = small_case(MemberConfig(alpha=2.0), count=20, factor=3.0)
    (loss,), (hits,) = array(case).evaluate(resident(case.split, torch.device(DEVICE)))
    x = torch.tensor(case.split.images).double() / 255
    logits, _ = forward(SMALL, case.members[0], torch.tensor(case.parameters[0]).double(), x)
    labels = torch.tensor(case.split.labels)
    assert loss == pytest.approx(float(F.cross_entropy(logits, labels, reduction="sum")), rel=1e-6)
    assert hits == int((logits.argmax(1) == labels).sum())


def test_images_that_nobody_asked_for_have_no_part_in_it() -> None:
    """A batch that fills a block in part: what the idle lanes hold does not leak into the sums."""
    case = small_case(MemberConfig(), count=7)
    images, other = case.split.images.copy(), case.split.images.copy()
    other[5:] = 255 - other[5:]
    part = Case(case.layers, type(case.split)(images[:5], case.split.labels[:5]), case.members, case.parameters)
    found = []
    for one in (case, replace(case, split=case.split._replace(images=other)), part):
        members, split = array(one), resident(one.split, torch.device(DEVICE))
        batch = _Batch(members, split, split.order, torch.zeros(1, dtype=torch.int32, device=DEVICE), 5, len(split))
        with launching(members.workshop.device):
            batch.forward_backward()
        found.append(batch.gradients.cpu().numpy())
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
