"""The kernels' gradients against autograd in double precision, the judge."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.trainers.lanes.judge import Case, Split, cases, error, glorot, gradient, images, members, regime_case, smooth
from trainers.activations import ACTIVATIONS
from trainers.lanes import kernels
from trainers.lanes.tables import SUPPORT
from trainers.layers import CELLS, IMAGE, Recurrent, places
from trainers.members import MemberConfig
from trainers.regimes import REGIMES, network

SLOW = pytest.mark.slow
PAPERS = [name for name, regime in REGIMES.items() if regime.table]
lanes_settings = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)


def probed(case: Case, threads: int = 1) -> np.ndarray:
    return kernels.probe_gradient(case.layers, case.members, case.parameters, case.split, threads)[0]


def trained(case: Case, batch_size: int | None = None, threads: int = 1) -> np.ndarray:
    """The gradient that Adam saw in the first step, penalty included: its first moment is a tenth of it."""
    n, count = len(case.split.labels), len(case.members)
    parameters, first, second = case.parameters.copy(), np.zeros_like(case.parameters), np.zeros_like(case.parameters)
    steps, orders = np.zeros(count, np.int64), np.tile(np.arange(n), (count, 1))
    rates, buffers = np.full((count, -(-n // (batch_size or n))), 0.001), np.zeros((count, 0), np.float32)
    arrays = (parameters, [first, second], buffers, steps, rates)
    kernels.train_epoch(case.layers, case.members, *arrays, case.split, orders, batch_size or n, threads)
    assert (steps == 1).all()
    return first * np.float64(10)


def bound(case: Case, true: np.ndarray, penalized: bool) -> float:
    """Of the error; a recurrence multiplies that of every step: there PyTorch's own in float32 may be larger."""
    if not isinstance(case.layers[0], Recurrent):
        return 1e-5
    return max(1e-5, 2 * error(gradient(case, 0, torch.float32, penalized), true))


@lanes_settings
@given(case=cases())
def test_of_small_networks_of_any_shape(build: str, case: Case) -> None:
    case = smooth(case)
    assume(case is not None)
    for penalized, found in ((False, probed(case)[0]), (True, trained(case)[0])):
        true = gradient(case, 0, torch.float64, penalized)
        assume(np.linalg.norm(true) > 1e-6)
        assert error(found, true) <= bound(case, true, penalized)


# In the default run every activation in one regime, and the others with one that is smooth and one that is not.
EVERY = [
    pytest.param(regime, activation, marks=[] if regime == "combined" or activation in ("tanh", "relu") else SLOW)
    for regime in PAPERS
    for activation in SUPPORT.fields["activation"]
    if not ACTIVATIONS[activation].random  # test_members.py draws its slopes
]


@pytest.mark.parametrize("regime, activation", EVERY)
def test_of_every_regime_and_activation(regime: str, activation: str) -> None:
    """Where units are not saturated: at Glorot's initial values."""
    for scaling, penalty, alpha in (("rescaled", "l2", 2.0), ("naive", "l1", 1.5)):
        member = MemberConfig(
            regime=regime, activation=activation, scaling=scaling, penalty=penalty, alpha=alpha, r=0.01
        )
        tried = (smooth(regime_case(regime, member, 20, seed)) for seed in range(20))
        case = next(c for c in tried if c is not None and len(c.split.labels) > 1)
        for penalized, found in ((False, probed(case)[0]), (True, trained(case)[0])):
            true = gradient(case, 0, torch.float64, penalized)
            assert error(found, true) <= 1e-5
            for where in (place.where for place in places(case.layers)):
                assert error(found[where], true[where]) <= 1e-4


@pytest.mark.parametrize(
    "cell, activation",
    [
        pytest.param(cell, activation, marks=[] if cell == "rnn" or activation in ("tanh", "relu") else SLOW)
        for cell in CELLS
        for activation in SUPPORT.fields["activation"]
        if not ACTIVATIONS[activation].random
    ],
)
def test_of_every_recurrent_cell_and_activation(build: str, cell: str, activation: str) -> None:
    """Row by row, 32 steps."""
    for scaling, penalty, alpha, gates in (("rescaled", "l2", 2.0, False), ("naive", "l1", 0.9, True)):
        member = MemberConfig(
            regime="recurrent", activation=activation, scaling=scaling, penalty=penalty, alpha=alpha, r=0.01
        )
        layers = network("recurrent", cell=cell, units=20, scaled_gates=gates)
        tried = (
            smooth(Case(layers, images(20, IMAGE, 10, seed), (member,), glorot(layers, IMAGE, seed)[None]))
            for seed in range(20)
        )
        case = next(c for c in tried if c is not None and len(c.split.labels) > 1)
        for penalized, found in ((False, probed(case)[0]), (True, trained(case)[0])):
            true = gradient(case, 0, torch.float64, penalized)
            assert error(found, true) <= 1e-5
            for where in (place.where for place in places(case.layers)):
                assert error(found[where], true[where]) <= 1e-4


@pytest.mark.parametrize(
    "activation", ["tanh", *(pytest.param(a, marks=SLOW) for a in ("sigmoid", "logsigmoid", "softsign"))]
)
@pytest.mark.parametrize("regime", PAPERS)
def test_deep_in_saturation_they_are_as_good_as_torchs_float32(regime: str, activation: str) -> None:
    """At initial values from [-10, 10) rounding decides where the gradient goes: see trainers/lanes/README.md.

    Of the paper's networks: through 20 dense layers any float32 is off by more than the gradient itself.
    """
    ratios = []
    for seed in range(9):
        member = MemberConfig(regime=regime, activation=activation)
        case = regime_case(regime, member, 32, seed)
        values = np.random.default_rng(seed).uniform(-10, 10, case.parameters.shape).astype(np.float32)
        case = Case(case.layers, case.split, case.members, values)
        true, torchs = gradient(case, 0, torch.float64), gradient(case, 0, torch.float32)
        ratios.append(error(probed(case)[0], true) / error(torchs, true))
    assert np.median(ratios) <= 1.5
    # one flip of a near-tie, in which neither has a hand, can outweigh all else in one member
    assert np.exp(np.mean(np.log(ratios))) <= 1.5


@lanes_settings
@given(case=cases(), member=members, scale=st.sampled_from([0.0, 50.0]))
def test_ties_go_to_the_first_as_in_pytorch(build: str, case: Case, member: MemberConfig, scale: float) -> None:
    """Images of one colour, and weights so large that all saturate: every window of a pooling is a tie."""
    flat = np.broadcast_to(case.split.images[:, :, :1, :1], case.split.images.shape).copy()
    case = Case(case.layers, case.split._replace(images=flat), case.members, case.parameters * np.float32(1 + scale))
    true, torchs = gradient(case, 0, torch.float64), gradient(case, 0, torch.float32)
    found = probed(case)[0]
    assert np.isfinite(found).all()
    # where both precisions of PyTorch agree on the winners, so do the kernels
    assume(np.linalg.norm(true) > 1e-6 and error(torchs, true) < 1e-6)
    assert error(found, true) <= 1e-5


@lanes_settings
@given(case=cases(most_images=70), size=st.integers(1, 33))
def test_a_batch_of_any_size(build: str, case: Case, size: int) -> None:
    """One step on the first images alone, then on the rest: incomplete registers don't leak into the sums."""
    n = min(size, len(case.split.labels))
    part = Case(case.layers, type(case.split)(*(a[:n].copy() for a in case.split)), case.members, case.parameters)
    orders, steps, rates = np.arange(n)[None], np.zeros(1, np.int64), np.full((1, 1), 0.001)

    def first_moment(split: Split) -> np.ndarray:
        kept = [np.zeros_like(part.parameters), np.zeros_like(part.parameters)]
        arrays = (part.parameters.copy(), kept, np.zeros((1, 0), np.float32), steps.copy(), rates)
        kernels.train_epoch(part.layers, part.members, *arrays, split, orders, n, 1)
        return kept[0] * np.float64(10)

    same = trained(part)
    assert np.array_equal(first_moment(case.split), same)
    # images that nobody asked for have no part in it
    other = case.split.images.copy()
    other[n:] = 255 - other[n:]
    assert np.array_equal(first_moment(case.split._replace(images=other)), same)
