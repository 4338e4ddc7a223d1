"""One place says what is a copy, what is the best, and what dominates what."""

from __future__ import annotations

import pytest

from tests.tracking.tables import table
from tracking.best import best, copies, dominators

FIVE = [0.5] * 3


def equal(*names: str) -> dict[str, float]:
    """The same value of the one field in which configurations of `table` differ."""
    return dict.fromkeys(names, 0.007)


@pytest.mark.parametrize(
    ("names", "states", "same", "expected"),
    [
        (["plain", "a", "b", "c"], {}, ["a", "c"], {3}),
        (["a", "plain", "b"], {}, ["a", "plain"], {0}),  # an arm that was added later
        (["plain", "other", "a"], {}, ["plain", "other", "a"], {2}),  # no arm is a copy
        (["a", "b", "c"], {"a": "pruned"}, ["a", "b", "c"], {0, 2}),
        (["plain", "a", "confirm plain", "confirm a"], {}, ["plain", "confirm plain", "confirm a"], {3}),
    ],
)
def test_a_copy_has_every_field_of_another(
    names: list[str], states: dict[str, str], same: list[str], expected: set[int]
) -> None:
    frame, outcomes = table(dict.fromkeys(names, FIVE), states, learning_rate=equal(*same))
    assert copies(frame, outcomes) == expected


def test_without_records_nothing_is_a_copy() -> None:
    frame, outcomes = table({"plain": FIVE, "a": []})
    assert copies(frame, outcomes) == copies(frame.iloc[:0], outcomes) == frozenset()
    assert copies(frame[["configuration"]], outcomes) == frozenset()


def test_fresh_seeds_decide_as_soon_as_there_are_some() -> None:
    values = {0: 0.5, 1: 0.9, 2: 0.9, 7: 0.4, 8: 0.6}
    assert best(values, [], "maximize") == 1
    assert best(values, [7, 8, 9], "maximize") == 8 and best(values, [7, 8, 9], "minimize") == 7
    assert best({}, [7], "maximize") is None


def test_what_is_worse_in_nothing_and_better_in_something_dominates() -> None:
    points = [(0.9, 3.0), (0.8, 1.0), (0.8, 2.0), (0.7, 1.0), (0.9, 3.0)]
    assert dominators(points, ["maximize", "minimize"]) == [[], [], [1], [1], []]
    assert dominators([], ["maximize", "minimize"]) == []
