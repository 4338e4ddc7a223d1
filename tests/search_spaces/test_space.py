"""Ranges, choices, the condition on alpha, and the grid."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from search_spaces.samplers import LARGEST, grid
from search_spaces.space import Choice, Range, effective
from trainers.errors import OptionError

FINITE = st.floats(-1e9, 1e9)


@pytest.mark.parametrize(
    ("low", "high", "log", "integer", "message"),
    [
        (2.0, 1.0, False, False, "low < high must hold, but got 2 and 1"),
        (1.0, 1.0, False, False, "low < high must hold, but got 1 and 1"),
        (0.0, 1.0, True, False, "low > 0 must hold where log is true, but got 0"),
        (0, 8, True, True, "low >= 1 must hold where log is true, but got 0"),
        (1.5, 8, False, True, "low must be a whole number where integer is true, but got 1.5"),
        (math.nan, 1.0, False, False, "low must be a finite number, but got nan"),
        (0.0, math.inf, False, False, "high must be a finite number, but got inf"),
        (False, 1.0, False, False, "low must be a finite number, but got false"),
    ],
)
def test_a_range_refuses_what_holds_nothing(low: float, high: float, log: bool, integer: bool, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Range(low, high, log, integer)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "a choice must have at least one value, but got none"),
        ((1, True), "the values of a choice must differ, but got True twice"),
    ],
)
def test_a_choice_refuses(values: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Choice(values)
    assert str(caught.value) == message


@given(st.tuples(FINITE, FINITE).filter(lambda p: p[0] < p[1]), st.integers(1, 50), st.booleans())
@example((1.1125369292536007e-308, 2.0), 3, True)  # whose quotient is infinite
def test_points_are_in_the_range_from_end_to_end(ends: tuple[float, float], count: int, log: bool) -> None:
    low, high = ends
    what = Range(low, high, log=log and low > 0)
    points = what.points(count)
    assert len(points) == count and all(p in what for p in points)
    assert points[0] == low and (count == 1 or points[-1] == high)
    assert list(points) == sorted(points)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 20), st.booleans())
def test_whole_points_are_whole_and_differ(low: int, width: int, count: int, log: bool) -> None:
    what = Range(low, low + width, log=log, integer=True)
    points = what.points(count)
    assert all(isinstance(p, int) and p in what for p in points)
    assert len(set(points)) == len(points) <= count
    assert what.points(None) == range(low, low + width + 1)


@pytest.mark.parametrize(
    ("activation", "scaling", "idle"),
    [
        ("relu", "rescaled", True),
        ("leaky_relu", "rescaled", True),
        ("relu", "naive", False),
        ("tanh", "rescaled", False),
    ],
)
def test_alpha_is_not_searched_where_rescaling_changes_nothing(activation: str, scaling: str, idle: bool) -> None:
    space = {"alpha": Range(1, 2), "r": Range(0, 1)}
    base = {"activation": activation, "scaling": scaling}
    alpha, without = (1.0, ("alpha",)) if idle else (1.5, ())
    assert effective(space, base, {"alpha": 1.5, "r": 0.1}) == ({"alpha": alpha, "r": 0.1}, without)
    assert effective({"r": Range(0, 1)}, base, {"r": 0.1}) == ({"r": 0.1}, ())
    of_gates = base | {"regime": "recurrent", "cell": "gru", "scaled_gates": True}
    assert effective(space, of_gates, {"alpha": 1.5, "r": 0.1}) == ({"alpha": 1.5, "r": 0.1}, ())


def test_a_grid_has_each_configuration_once() -> None:
    space = {
        "activation": Choice(("tanh", "relu")),
        "alpha": Range(1, 4, log=True),
        "epochs": Range(1, 2, integer=True),
    }
    found = grid(space, {"scaling": "rescaled"}, points=3, seed=0)
    assert len(found) == 3 * 2 + 2
    assert sorted(p["alpha"] for p in found if p["activation"] == "tanh") == pytest.approx([1, 1, 2, 2, 4, 4])
    assert [p["alpha"] for p in found if p["activation"] == "relu"] == [1.0, 1.0]
    assert found == grid(space, {"scaling": "rescaled"}, points=3, seed=0)
    assert found != grid(space, {"scaling": "rescaled"}, points=3, seed=1)


def test_a_grid_is_finite() -> None:
    with pytest.raises(OptionError, match="alpha from 1 to 2 has no finite set of values"):
        grid({"alpha": Range(1, 2)}, {}, points=None, seed=0)
    with pytest.raises(OptionError, match=f"may have {LARGEST} points, but this has 1000000"):
        grid({"alpha": Range(1, 2), "r": Range(0, 1)}, {}, points=1000, seed=0)
    with pytest.raises(OptionError, match="but this has 1000000000"):
        grid({"epochs": Range(1, 1e9, integer=True)}, {}, points=None, seed=0)
