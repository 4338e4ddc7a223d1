"""What a search promises: what is asked for and when, how a configuration ends, and that only the rows matter."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import HISTORY, Counts, ask, counts, ended, history, whole
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
    assert {(row.pack, row.known) for row in second} == {("b", 0)}
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


def test_the_history_of_a_pack_is_what_its_suggestions_knew() -> None:
    plan = replace(PLAN, block=3, ahead=2)
    sweep = Driven(plan)
    sweep.ask(3, "a")
    sweep.ask(3, "b")
    sweep.end(4, "pruned", intermediate={1: 0.1}, pruner_attributes={"completed_rung_0": 0.1})
    assert sweep.ask(3, "c") == [], "0 to 2 have not ended"
    sweep.end(0, "complete", [0.5], intermediate={1: 0.1, 9: 0.5}, pruner_attributes={"completed_rung_0": 0.3})
    sweep.end(1, "pruned", intermediate={1: 0.1}, pruner_attributes={"completed_rung_0": 0.1})
    sweep.end(2, "diverged")
    assert [row.number for row in sweep.ask(9, "c")] == [6, 7, 8]
    sweep.end(6, "pruned", intermediate={2: 0.2}, pruner_attributes={"completed_rung_0": 0.2})
    sweep.end(7, "diverged", intermediate={1: 0.4, 2: 0.1})
    assert [row.number for row in history(plan, sweep.rows).past] == [0, 1, 4, 6]
    known = history(plan, sweep.rows, "c", "s")
    assert [row.number for row in known.past] == [0, 1], "4 has ended, but c was not to know"
    assert [(row.number, row.intermediate) for row in known.own] == [(6, {2: 0.2}), (7, {1: 0.4})]
    assert known.past[0].intermediate == {9: 0.5}
    assert known.past[0].pruner_attributes == {"completed_rung_0": 0.3}
    assert known.study == "s" and known.arms == (0, 1)
    assert history(plan, [stored(row) for row in sweep.rows], "c", "s") == known


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 9))
def test_what_is_suggested_depends_on_no_clock(random: Random, size: int) -> None:
    """Not on how many are asked for at a time, nor on how many are in training, nor on which of them end first."""
    plan = replace(PLAN, configurations=20, block=4, ahead=2)
    sweep = Driven(plan)
    while len(sweep.rows) < plan.total or any(row.state == "running" for row in sweep.rows):
        running = [row for row in sweep.rows if row.state == "running"]
        if not (random.random() < 0.5 and sweep.ask(random.randint(1, size), f"p{len(sweep.rows)}")) and running:
            row = random.choice(running)
            sweep.end(row.number, "complete", [value(row)])
    steady = Driven(plan)
    while pack := steady.ask(4, f"p{len(steady.rows)}"):
        for row in pack:
            steady.end(row.number, "complete", [value(row)])
    assert [(r.parameters, r.known) for r in sweep.rows] == [(r.parameters, r.known) for r in steady.rows]
    assert {r.known for r in sweep.rows} == {0, 4, 8, 12, 16}


@pytest.mark.parametrize("name", ["tpe", "random", "qmc", "cmaes", "nsga2"])
def test_a_search_that_is_extended_is_the_longer_one(name: str) -> None:
    """Whatever the number was at first, and although the first configurations have been confirmed by then."""

    def drive(sweep: Driven) -> None:
        while pack := sweep.ask(3, f"p{len(sweep.rows)}"):
            for row in pack:
                sweep.end(row.number, "complete", [value(row)])

    plan = replace(PLAN, sampler={"name": name, "seed": 1}, pruner=None, configurations=17, block=4)
    sweep, longer = Driven(replace(plan, configurations=5)), Driven(plan)
    drive(sweep)
    sweep.plan = replace(plan, configurations=9, confirm=2)
    drive(sweep)
    sweep.plan = plan
    drive(sweep)
    drive(longer)
    searched = [row.parameters for row in sweep.rows if row.confirms is None]
    assert searched == [row.parameters for row in longer.rows]
    assert len(sweep.rows) == len(longer.rows) + 4


def test_an_arm_that_is_added_comes_next() -> None:
    sweep = Driven(replace(PLAN, configurations=3, pruner=None))
    for row in sweep.ask(99):
        sweep.end(row.number, "complete", [value(row)])
    sweep.plan = replace(sweep.plan, arms={**PLAN.arms, "third": {"alpha": 4.0, "r": 0.0}}, configurations=4)
    assert [(row.number, row.arm) for row in sweep.ask(99)] == [(5, "third"), (6, "")]


SMALL_SPACE = {"activation": Choice(("tanh", "relu")), "dense": Range(1, 2, integer=True), "alpha": Choice((1.0, 2.0))}


def test_a_finite_space_ends_when_all_of_it_has_been_tried() -> None:
    plan = replace(PLAN, space=SMALL_SPACE, configurations=60, pruner=None, arms={})
    assert plan.points is not None and len(plan.points) == 6, "alpha does nothing beside relu"
    sweep = Driven(plan)
    while pack := sweep.ask(8):
        for row in pack:
            sweep.end(row.number, "complete", [float(row.number)])
    tried = [plan.member(row.parameters) for row in sweep.rows]
    assert {*tried} == plan.points
    assert {*tried[:-8]} < plan.points, "no block after the last point"
    assert len(tried) < 60 and counts(plan, sweep.rows).total == len(tried)


def test_a_space_that_the_sweep_cannot_exhaust_has_no_end() -> None:
    assert replace(PLAN, space=SMALL_SPACE, configurations=3, arms={}).points is None
    assert PLAN.points is None and replace(PLAN, configurations=0).points is None


def test_what_is_extended_is_one_configuration() -> None:
    """Its values are means over all seeds; a row that has more epochs takes the place of the one before."""
    rows = [
        Row(0, seeds=(0, 1), state="complete", values=(0.5,)),
        Row(1, seeds=(0, 1), state="pruned", values=(0.4,)),
        Row(2, seeds=(2, 3, 4, 5), extends=0),
    ]
    assert [(row.number, row.state) for row in whole(rows)] == [(0, "running"), (1, "pruned")]
    rows[2] = replace(rows[2], state="complete", values=(0.8,))
    (first, _) = whole(rows)
    assert (first.state, first.seeds) == ("complete", (0, 1, 2, 3, 4, 5)) and first.values == (pytest.approx(0.7),)
    rows.append(Row(3, seeds=(0, 1), extends=0, state="complete", values=(1.1,)))
    assert whole(rows)[0].values == (pytest.approx(0.9),)
    rows.append(Row(4, seeds=(6,), extends=0, state="diverged"))
    assert (whole(rows)[0].state, whole(rows)[0].values) == ("diverged", None)
    assert counts(replace(PLAN, arms={}, configurations=2), rows) == Counts(2, 0, 1, 1, 0, 0)


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
