from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.importance import LEAST, importance
from search_spaces.space import Choice, Range, Value

SPACE = {"alpha": Range(0.5, 8.0, log=True), "r": Range(1e-5, 1.0, log=True), "activation": Choice(("tanh", "relu"))}


def grid() -> list[dict[str, Value]]:
    return [
        {"alpha": 2.0**a, "r": 10.0**-r, "activation": f}
        for a in range(-1, 4)
        for r in range(6)
        for f in ("tanh", "relu")
    ]


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_what_decides_alone_has_nearly_all_of_the_importance(goal: str) -> None:
    sign = 1 if goal == "maximize" else -1
    points = [(p, -sign * abs(math.log10(float(p["r"])) + 2)) for p in grid()]
    found = importance(SPACE, goal, points)
    assert next(iter(found)) == "r" and found["r"] > 0.9 and sum(found.values()) == pytest.approx(1.0)
    assert importance(SPACE, goal, points) == found


def test_too_few_or_equal_results_tell_nothing() -> None:
    assert importance(SPACE, "maximize", [(p, 0.5) for p in grid()]) == {}
    few = [(p, float(i)) for i, p in enumerate(grid()[: LEAST - 1])]
    assert importance(SPACE, "maximize", few) == {}
    outside = [({**p, "r": 7.0}, float(i)) for i, p in enumerate(grid())]
    assert importance(SPACE, "maximize", outside) == {}


def test_a_parameter_without_effect_does_not_count_there() -> None:
    """Beside relu alpha is 1, which need not even be in its range."""
    space = {**SPACE, "alpha": Range(2.0, 8.0, log=True)}
    points = [
        ({**p, "alpha": 1.0} if p["activation"] == "relu" else {**p, "alpha": 4.0}, float(p["r"])) for p in grid()
    ]
    found = importance(space, "maximize", points, {"scaling": "rescaled"})
    assert set(found) == set(SPACE) and found["r"] > 0.9


@given(values=st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0]), min_size=60, max_size=60))
@settings(deadline=None, max_examples=25)
def test_shares_are_shares(values: list[float]) -> None:
    found = importance(SPACE, "maximize", list(zip(grid(), values, strict=True)))
    assert found == {} or (set(found) == set(SPACE) and sum(found.values()) == pytest.approx(1.0))
    assert all(share >= 0 for share in found.values())
    assert list(found.values()) == sorted(found.values(), reverse=True)
