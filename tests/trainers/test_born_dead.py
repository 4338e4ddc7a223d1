"""The bounds on being born dead: by hand, against random networks, and in the form that Lu et al. give them."""

import numpy as np
import pytest

from trainers.theory.born_dead import born_dead_bounds, bounds

NETWORKS = 20_000


def dead(widths, inputs, rng) -> np.ndarray:
    """Which of `NETWORKS` random relu networks give 0 for which of `inputs` (n, d): (NETWORKS, n)."""
    y = np.broadcast_to(inputs, (NETWORKS, *inputs.shape))
    for width in widths:
        y = np.maximum(y @ rng.standard_normal((NETWORKS, y.shape[-1], width)), 0.0)
    return (y == 0).all(axis=-1)


@pytest.mark.parametrize("widths", [(3,), (2, 2, 2), (3, 3, 3, 3, 3), (4,) * 15, (2, 4, 3)])
def test_networks_with_one_input_lie_between_the_bounds(widths) -> None:
    lower, upper = bounds(widths)
    of_both = dead(widths, np.array([[1.0], [-1.0]]), np.random.default_rng(0))
    share, error = of_both.all(axis=1).mean(), 4 * 0.5 / np.sqrt(NETWORKS)
    assert lower - error < share < upper + error
    assert of_both[:, 0].mean() == pytest.approx(upper, abs=error)  # a single input meets the upper bound


def test_with_more_inputs_the_upper_bound_holds_and_the_lower_does_not() -> None:
    rng, widths = np.random.default_rng(1), (3,) * 5
    share = dead(widths, rng.standard_normal((40, 5)), rng).all(axis=1).mean()
    lower, upper = bounds(widths)
    assert share < lower - 0.02 < upper


@pytest.mark.parametrize("width", [1, 2, 3, 8, 30])
@pytest.mark.parametrize("depth", [1, 2, 3, 10, 100])
def test_equal_widths_have_a_closed_form(width, depth) -> None:
    """That of Lu et al. 2019 with L = depth + 1 layers, the last of which is linear."""
    small, k = 0.5**width, depth - 1
    one, two = 1 - small, 1 - 2 * small - (width - 1) * small**2
    factor = (1 - 2 * small) * (1 - small) / (1 + (width - 1) * small)
    lower, upper = born_dead_bounds(width, depth)
    assert lower == pytest.approx(1 - one**k + factor * (two**k - one**k), rel=1e-6, abs=1e-12)
    assert upper == pytest.approx(1 - one**depth, rel=1e-6, abs=1e-12)
    assert 0 <= lower <= upper <= 1


def test_the_limits() -> None:
    assert born_dead_bounds(3, 2000) == pytest.approx((1, 1), abs=1e-9)
    lower, upper = born_dead_bounds(60, 10)
    assert upper == pytest.approx(10 * 0.5**60, rel=1e-12) and 0 < lower < upper
