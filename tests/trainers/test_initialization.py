"""Initial values: their laws, and that they come from the seed alone."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from tests.trainers.test_engines import TINY
from trainers.initialization import INITIALIZATIONS
from trainers.layers import places
from trainers.members import MemberConfig
from trainers.regimes import network
from trainers.states import initial_state

MANY = [MemberConfig(regime="large-parameters", seed=s) for s in range(200)]


def draws(initialization: str, scale: float, count: int = 200) -> np.ndarray:
    layers = network("large-parameters")
    members = [replace(m, initialization=initialization, init_scale=scale) for m in MANY[:count]]
    return np.stack([initial_state(m, layers, TINY).parameters for m in members])


def test_the_papers_uniform_law() -> None:
    values = draws("uniform", 10.0)
    assert -10 <= values.min() < -9.99 and 9.99 < values.max() < 10
    assert values.mean() == pytest.approx(0, abs=0.1)
    assert values.std() == pytest.approx(10 / sqrt(3), rel=0.01)


def test_the_papers_normal_law() -> None:
    values = draws("normal", 0.05)
    assert values.mean() == pytest.approx(0, abs=0.001)
    assert values.std() == pytest.approx(0.05, rel=0.01)
    assert np.abs(values).max() > 0.15  # not truncated


@pytest.mark.parametrize("law", ["uniform", "normal"])
@pytest.mark.parametrize(
    ("family", "dense", "depthwise", "pointwise"),
    [
        ("glorot", sqrt(2 / (48 + 8)), sqrt(2 / (9 + 9)), sqrt(2 / 6)),
        ("he", sqrt(2 / 48), sqrt(2 / 9), sqrt(2 / 3)),
        ("lecun", sqrt(1 / 48), sqrt(1 / 9), sqrt(1 / 3)),
    ],
)
def test_fans(family: str, law: str, dense: float, depthwise: float, pointwise: float) -> None:
    values = draws(f"{family}_{law}", 2.0)
    start = {place.name: place.where.start for place in places(network("large-parameters"))}
    conv, first = start["conv1"], start["dense1"]
    assert values[:, first : first + 384].std() == pytest.approx(2 * dense, rel=0.02)
    assert values[:, conv : conv + 27].std() == pytest.approx(2 * depthwise, rel=0.05)
    assert values[:, conv + 27 : conv + 36].std() == pytest.approx(2 * pointwise, rel=0.05)
    assert (values[:, first + 384 : first + 392] == 0).all()  # the bias


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_the_same_seed_draws_the_same_numbers_at_any_scale(initialization: str) -> None:
    one, two = draws(initialization, 1.0, 5), draws(initialization, 2.0, 5)
    # calibrated ones see what layers make of the scale of those before
    first = 27 if INITIALIZATIONS[initialization].calibrated else None
    assert np.allclose(2 * one[:, :first], two[:, :first], rtol=1e-6)
    assert not np.array_equal(one[0], one[1])
    assert np.array_equal(one, draws(initialization, 1.0, 5))
