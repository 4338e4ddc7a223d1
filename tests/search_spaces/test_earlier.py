"""What an earlier sweep knows: which rows belong to a space, and what each sampler makes of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from search_spaces.earlier import rows_of
from search_spaces.plan import Row, SearchPlan
from search_spaces.samplers import NAMES, sees
from search_spaces.search import chosen, counts
from search_spaces.space import Choice, Range, Space, Value
from tests.search_spaces.driven import Driven
from tests.search_spaces.test_samplers import OPTIONS, drive
from trainers.members import MemberConfig

BASE: dict[str, Any] = {"regime": "combined", "activation": "tanh", "scaling": "rescaled", "init_scale": 1.0}
SPACE: Space = {"alpha": Range(0.5, 8.0, log=True), "r": Range(1e-5, 1.0, log=True)}
LEARN = [name for name in NAMES if sees({"name": name}) != "nothing"]
BEST = {"alpha": 6.0, "r": 0.5}


def plan_of(name: str = "tpe", space: Space = SPACE, goals: tuple[str, ...] = ("maximize",), **more: Any) -> SearchPlan:
    sampler = {"name": name, "seed": 3, **OPTIONS[name]}
    return SearchPlan(goals, {}, space, 8, BASE, 9, sampler, block=4, ahead=1, **more)


def fields(**own: Value) -> dict[str, Any]:
    member = vars(MemberConfig(**BASE | own))  # type: ignore[arg-type]
    return {name: value for name, value in member.items() if name != "seed"}


def complete(number: int, value: float = 0.5) -> Row:
    return Row(number, state="complete", values=(value,), intermediate={1: 0.1, 9: value})


def known(name: str = "tpe", goals: int = 1, many: int = 24) -> tuple[Row, ...]:
    """Points of a grid, again and again, of which those near BEST are best."""
    points = [{"alpha": alpha, "r": r} for alpha in (0.6, 1.0, 2.0, 4.0, 6.0, 7.5) for r in (1e-4, 1e-2, 0.5, 0.9)]
    rows = []
    for number, point in enumerate((points * many)[:many]):
        far = abs(math.log(point["alpha"] / BEST["alpha"])) + abs(math.log10(point["r"] / BEST["r"]))
        rows.append((fields(**point), Row(number, state="complete", values=(1 - far, far)[:goals])))
    return rows_of(plan_of(name, goals=("maximize", "minimize")[:goals]), rows)[0]


def test_what_lies_in_the_space_belongs_to_it_whatever_was_searched() -> None:
    rows, reasons = rows_of(
        plan_of(),
        [
            (fields(alpha=2.0, r=0.01), complete(0)),
            (fields(alpha=2.0), complete(1)),  # r is 0: outside
            (fields(alpha=9.0, r=0.01), complete(2)),  # outside
            (fields(alpha=2.0, r=0.01, epochs=7), complete(3)),  # another training
            (fields(alpha=2.0, r=0.01, activation="relu", init_scale=2.0), complete(4)),
            (fields(alpha=3.0, r=0.02), Row(5, state="pruned", values=(0.2,), intermediate={1: 0.1, 3: 0.2})),
            (fields(alpha=3.0, r=0.02), Row(6, state="diverged")),
            (fields(alpha=3.0, r=0.02), Row(7, state="running")),
            (fields(alpha=3.0, r=0.02, engine="reference"), complete(8, 0.7)),
            (fields(alpha=3.0) | {"of-a-package": 1}, complete(9)),
        ],
    )
    assert [(row.number, row.parameters, row.state, row.values) for row in rows] == [
        (-3, {"alpha": 2.0, "r": 0.01}, "complete", (0.5,)),
        (-2, {"alpha": 3.0, "r": 0.02}, "pruned", (0.2,)),
        (-1, {"alpha": 3.0, "r": 0.02}, "complete", (0.7,)),
    ]
    assert [row.intermediate for row in rows] == [{9: 0.5}, {3: 0.2}, {9: 0.7}]
    both = "activation, init_scale"
    assert {", ".join(sorted(reason.split(", "))): n for reason, n in reasons.items()} == dict.fromkeys(
        ("r", "alpha", "epochs", both, "other fields"), 1
    )


def test_a_parameter_without_effect_has_a_value_of_the_space() -> None:
    space: Space = {
        "initialization": Choice(("uniform", "he_normal")),
        "init_scale": Range(0.1, 4.0, log=True, when={"initialization": ("uniform",)}),
        "activation": Choice(("tanh", "relu")),
        "alpha": Range(2.0, 8.0),
    }
    rows, reasons = rows_of(
        plan_of(space=space),
        [
            (fields(initialization="uniform", init_scale=0.5, alpha=3.0), complete(0)),
            (fields(initialization="he_normal", init_scale=1.0, activation="relu", alpha=1.0), complete(1)),
            (fields(initialization="he_normal", init_scale=2.0, alpha=3.0), complete(2)),  # base has 1
        ],
    )
    first, second = rows
    assert (first.parameters["init_scale"], first.drawn) == (0.5, {})
    assert second.parameters == {"initialization": "he_normal", "activation": "relu", "alpha": 1.0}
    assert second.drawn == {"init_scale": 1.0, "alpha": 2.0}
    assert reasons == {"init_scale": 1}
    for sampler in LEARN:
        assert len(Driven(plan_of(sampler, space, earlier=rows)).ask(4)) == 4


@pytest.mark.parametrize("name", LEARN)
def test_a_sampler_learns_from_it_and_a_resume_suggests_the_same(name: str) -> None:
    told = plan_of(name, earlier=known(name))
    rows = drive(told)
    assert [row.parameters for row in rows] == [row.parameters for row in drive(told, size=1)]
    assert [row.parameters for row in rows] != [row.parameters for row in drive(plan_of(name))]


@pytest.mark.parametrize("name", LEARN)
def test_it_looks_where_the_earlier_sweep_was_good(name: str) -> None:
    """Before any result of its own: the first suggestions are nearer to the best than without."""

    def distance(plan: SearchPlan) -> float:
        far = []
        for seed in range(6):
            plan = replace(plan, sampler={**plan.sampler, "seed": seed})
            for row in Driven(plan).ask(4):
                alpha, r = float(row.parameters["alpha"]), float(row.parameters["r"])
                far.append(abs(math.log(alpha / BEST["alpha"])) + abs(math.log10(r / BEST["r"])))
        return sum(far) / len(far)

    assert distance(plan_of(name, earlier=known(name))) < 0.7 * distance(plan_of(name))


@pytest.mark.parametrize("name", LEARN)
@pytest.mark.parametrize("many", [1, 3, 400])
def test_few_and_many(name: str, many: int) -> None:
    assert len(drive(plan_of(name, earlier=known(name, many=many)))) == 8


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2"])
def test_several_objectives(name: str) -> None:
    told = plan_of(name, goals=("maximize", "minimize"), earlier=known(name, goals=2))
    assert len(drive(told)) == 8


def test_it_is_no_part_of_the_sweep() -> None:
    plan = plan_of(earlier=known(), confirm=2)
    rows = drive(plan)
    assert all(row.number >= 0 for row in rows) and counts(plan, rows).total == len(rows)
    assert all(n >= 0 for n in chosen(plan, rows) or ())


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LEARN])
def test_the_other_samplers_are_shown_nothing(name: str) -> None:
    told, alone = (drive(plan_of(name, earlier=earlier)) for earlier in (known(), ()))
    assert told == alone
