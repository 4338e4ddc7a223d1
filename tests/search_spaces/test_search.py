"""What a search promises: what is asked for and when, how a configuration ends, and that only the rows matter."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import HISTORY, Counts, ask, counts, ended, history
from search_spaces.space import Choice, Range
from tests.search_spaces.driven import Driven, stored

PLAN = SearchPlan(
    arms={"plain": {"alpha": 1.0, "r": 0.0}, "paper": {"alpha": 2.0, "r": 0.01}},
    space={"alpha": Range(0.5, 8.0, log=True), "r": Range(1e-5, 1.0, log=True), "activation": Choice(("tanh", "relu"))},
    configurations=12,
    base={"regime": "combined", "activation": "tanh", "scaling": "rescaled"},
    epochs=9,
    sampler={"name": "tpe", "n_startup_trials": 3},
    pruner={"name": "asha", "reduction": 2, "min_epochs": 2},
)


def value(row: Row) -> float:
    """Best at alpha = 2, r = 0."""
    return -abs(math.log(float(row.parameters["alpha"]) / 2)) - float(row.parameters["r"])


def test_a_sweep_from_end_to_end() -> None:
    sweep = Driven(PLAN)
    first = sweep.ask(8, "a")
    assert [row.number for row in first] == list(range(8))
    assert {(row.pack, row.known, row.state) for row in first} == {("a", 0, "running")}
    assert counts(PLAN, sweep.rows) == Counts(14, 0, 0, 0, 0, 8)
    sweep.end(0, "complete", [0.5])
    sweep.end(1, "pruned", [0.2], intermediate={1: 0.1, 2: 0.2})
    sweep.end(2, "diverged", reason="the loss is not finite")
    sweep.end(3, "failed", reason="worker lost")
    assert counts(PLAN, sweep.rows) == Counts(14, 1, 1, 1, 1, 4) and counts(PLAN, sweep.rows).ended == 4
    second = sweep.ask(8, "b")
    assert [row.number for row in second] == list(range(8, 14)), "no more than the plan has"
    assert {(row.pack, row.known) for row in second} == {("b", 4)}
    assert sweep.ask(8, "c") == []
    assert [(row.arm, row.parameters) for row in sweep.rows[:2]] == list(PLAN.arms.items())
    assert [(row.state, row.values, row.reason, row.order) for row in sweep.rows[:5]] == [
        ("complete", (0.5,), "", 0),
        ("pruned", (0.2,), "", 1),
        ("diverged", None, "the loss is not finite", 2),
        ("failed", None, "worker lost", 3),
        ("running", None, "", -1),
    ]


def test_what_ended_first_stays() -> None:
    sweep = Driven(PLAN)
    sweep.ask(2)
    first = sweep.end(0, "complete", [0.5])
    assert sweep.end(0, "failed", reason="again") == first
    assert sweep.end(0, "complete", [0.7]) == first


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_not_finite_is_a_failure(bad: float) -> None:
    sweep = Driven(PLAN)
    sweep.ask(3)
    complete = sweep.end(0, "complete", [bad])
    assert (complete.state, complete.values) == ("failed", None)
    assert complete.reason == "the objective is not a finite number"
    pruned = sweep.end(1, "pruned", [bad], intermediate={1: bad})
    assert (pruned.state, pruned.values, pruned.reason) == ("pruned", None, "")
    assert sweep.end(2, "diverged", [bad]).values is None


def test_how_a_configuration_can_not_end() -> None:
    with pytest.raises(ValueError, match="state must be one of complete, pruned, diverged, failed, but got 'done'"):
        ended(Row(0), "done", [1.0], goals=1, order=0)
    with pytest.raises(ValueError, match=r"a complete configuration has 1 value\(s\), but got \[1.0, 2.0\]"):
        ended(Row(0), "complete", [1.0, 2.0], goals=1, order=0)
    with pytest.raises(ValueError, match=r"a complete configuration has 2 value\(s\), but got None"):
        ended(Row(0), "complete", None, goals=2, order=0)


def test_only_the_rows_matter() -> None:
    """A driver that starts again from any stored state of a sweep gets what the former one would have got."""
    sweep = Driven(PLAN)
    while pack := sweep.ask(5, f"p{len(sweep.rows)}"):
        before = sweep.rows[: -len(pack)]
        assert ask(PLAN, before, 5, pack[0].pack) == pack, "asking changes nothing"
        assert ask(PLAN, [stored(row) for row in before], 5, pack[0].pack) == pack
        for row in pack:
            diverged = row.number % 5 == 4
            sweep.end(row.number, "diverged" if diverged else "complete", None if diverged else [value(row)])
    assert len(sweep.rows) == 14 and [stored(row) for row in sweep.rows] == sweep.rows


def test_asking_for_none_gives_none() -> None:
    assert ask(PLAN, [], 0, "a") == []
    assert ask(replace(PLAN, arms={}), [], 0, "a") == []


def test_the_history_of_a_pack_is_what_was_known_when_it_was_asked_for() -> None:
    sweep = Driven(PLAN)
    sweep.ask(3, "a")
    sweep.end(0, "complete", [0.5], intermediate={1: 0.1, 9: 0.5}, pruner_attributes={"completed_rung_0": 0.3})
    sweep.ask(3, "b")
    sweep.end(1, "pruned", intermediate={1: 0.1}, pruner_attributes={"completed_rung_0": 0.1})
    sweep.end(2, "diverged")
    sweep.end(3, "pruned", intermediate={2: 0.2}, pruner_attributes={"completed_rung_0": 0.2})
    sweep.end(4, "diverged", intermediate={1: 0.4, 2: 0.1})
    assert [row.number for row in history(PLAN, sweep.rows).past] == [0, 1, 3]
    known = history(PLAN, sweep.rows, "b", "s")
    assert [row.number for row in known.past] == [0], "1 ended later"
    assert [(row.number, row.intermediate) for row in known.own] == [(3, {2: 0.2}), (4, {1: 0.4})]
    assert known.past[0].intermediate == {9: 0.5}
    assert known.past[0].pruner_attributes == {"completed_rung_0": 0.3}
    assert known.study == "s" and known.arms == 2
    assert history(PLAN, [stored(row) for row in sweep.rows], "b", "s") == known


def test_a_history_does_not_grow_with_the_sweep() -> None:
    """It travels to a worker with every pack: the latest rows, without what only samplers need."""
    rows = [
        Row(n, parameters={"r": 0.1}, notes={"cma:optimizer": "80" * 1000}, state="complete", values=(0.5,), order=n)
        for n in range(HISTORY + 100)
    ]
    past = history(PLAN, rows).past
    assert [row.number for row in past] == list(range(100, HISTORY + 100))
    assert not any(row.parameters or row.notes for row in past)


def test_importing_it_changes_nothing_and_asking_says_nothing() -> None:
    """The log of a user's own Optuna is theirs; what a worker imports for a pack doesn't import Optuna."""
    program = """
import sys
import search_spaces.plan, search_spaces.space
assert "optuna" not in sys.modules
import optuna
before = optuna.logging.get_verbosity()
from search_spaces import importance, pruners, search
search.ask(search.SearchPlan(space={"r": search_spaces.space.Range(0, 1)}, configurations=2), [], 2, "a")
assert optuna.logging.get_verbosity() == before
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
