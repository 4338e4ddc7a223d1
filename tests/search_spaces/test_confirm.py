"""The confirming stage: what it trains again, and when."""

from __future__ import annotations

from dataclasses import replace

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import ask, chosen, counts
from tests.search_spaces.driven import Driven, stored
from tests.search_spaces.test_search import PLAN, value

SMALL = replace(PLAN, configurations=6, confirm=2, pruner=None)


def drive(plan: SearchPlan = SMALL) -> list[Row]:
    """A whole sweep in packs of 3; configuration 4 diverges."""
    sweep = Driven(plan)
    while pack := sweep.ask(3, f"p{len(sweep.rows)}"):
        for row in pack:
            diverged = row.number == 4
            sweep.end(row.number, "diverged" if diverged else "complete", None if diverged else [value(row)])
    return sweep.rows


def test_all_arms_and_the_best_are_trained_again() -> None:
    rows = drive()
    searched = [row for row in rows if row.confirms is None]
    again = [row for row in rows if row.confirms is not None]
    assert [row.number for row in searched] == list(range(8)) and [row.number for row in again] == list(range(8, 12))
    assert [(row.confirms, row.arm) for row in again[:2]] == [(0, "plain"), (1, "paper")]
    assert [row.parameters for row in again[:2]] == [row.parameters for row in rows[:2]]
    by_value = sorted((row for row in searched[2:] if row.values), key=lambda row: -(row.values or (0.0,))[0])
    assert [row.confirms for row in again[2:]] == [row.number for row in by_value[:2]]
    assert [row.parameters for row in again[2:]] == [row.parameters for row in by_value[:2]]
    assert (counts(SMALL, rows).total, counts(SMALL, rows).ended) == (12, 12)


def test_the_search_does_not_know_of_it() -> None:
    assert drive()[:8] == drive(replace(SMALL, confirm=0))


def test_nothing_is_confirmed_before_all_have_ended() -> None:
    sweep = Driven(SMALL)
    asked = sweep.ask(99, "a")
    assert len(asked) == 8 and sweep.ask(99, "b") == [] and counts(SMALL, sweep.rows).total == 12
    for row in asked[1:]:
        sweep.end(row.number, "complete", [value(row)])
    assert sweep.ask(99, "b") == []
    sweep.end(0, "failed")
    assert [row.confirms is not None for row in sweep.ask(99, "b")] == [True] * 4
    assert sweep.ask(99, "c") == []


def test_some_are_confirmed_while_others_are_in_training() -> None:
    sweep = Driven(SMALL, drive()[:8])
    first = sweep.ask(1, "a")
    second = sweep.ask(2, "b")
    sweep.end(first[0].number, "complete", [0.5])
    third = sweep.ask(9, "c")
    assert [row.confirms for row in (*first, *second, *third)] == chosen(SMALL, sweep.rows)


def test_what_has_no_value_is_not_confirmed_and_what_is_the_same_once() -> None:
    plan = replace(SMALL, confirm=5)
    sweep = Driven(plan)
    paper = {"alpha": 2.0, "r": 0.01, "activation": "tanh"}
    for row in sweep.ask(99, "a"):
        state = {2: "pruned", 3: "diverged", 4: "failed"}.get(row.number, "complete")
        sweep.end(row.number, state, [0.5] if state in ("complete", "pruned") else None)
    doubled = [replace(row, parameters=paper) if row.number == 5 else row for row in sweep.rows]
    doubled[7] = replace(sweep.rows[7], parameters=sweep.rows[6].parameters)
    assert sweep.ask(99, "b")[-1].confirms == 7
    assert counts(plan, sweep.rows).total == 8 + 2 + 3, "three of six are complete"
    assert chosen(plan, doubled) == [0, 1, 6], "5 is an arm, 7 is 6"


def test_nothing_to_confirm_ends_the_sweep() -> None:
    plan = replace(SMALL, arms={})
    sweep = Driven(plan)
    for row in sweep.ask(99, "a"):
        assert counts(plan, sweep.rows).total == 8
        sweep.end(row.number, "diverged")
    assert sweep.ask(99, "b") == [] and counts(plan, sweep.rows).total == 6


def test_a_new_driver_confirms_what_the_old_one_would_have() -> None:
    """Which ones it is follows from rows that have ended, whatever has become of the confirmations so far."""
    rows = drive()
    for count in range(8, 12):
        (next_,) = ask(SMALL, [stored(row) for row in rows[:count]], 1, rows[count].pack)
        assert next_ == replace(rows[count], state="running", values=None, order=-1)
