"""The command about float32: gradients are those of float64 where nothing is saturated, and differ elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from docs.build.float32 import ALPHAS, REGIMES, deviations, rows
from trainers.lanes import available


def test_deviations_are_relative_and_those_of_the_size_can_cancel_where_the_vectors_do_not() -> None:
    exact = np.array([[3.0, -4.0], [1.0, 1.0]])
    recorded = np.array([[4.0, -3.0], [1.1, 1.0]])
    whole, first, vector = deviations(recorded, exact, slice(0, 1))
    assert whole == pytest.approx([0, 0.05]) and first == pytest.approx([1 / 3, 0.1])
    assert vector == pytest.approx([np.sqrt(2) / 5, 0.1 / np.sqrt(2)])


@pytest.mark.slow
def test_float32_is_worth_little_in_saturation_alone() -> None:
    if available() is None:
        pytest.skip("the lane engine was not compiled")
    found = list(rows("digits", 4))
    assert len(found) == len(REGIMES) * len(ALPHAS) * 2
    for regime, *_, vector in found:
        median = float(vector.split(",")[0])
        assert median < 1e-2 if regime == "many-layers" else 1e-2 < median < 50
