"""Conditions between searched fields: every sampler respects them, and what does not hold is no parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.importance import importance
from search_spaces.plan import Row, SearchPlan
from search_spaces.samplers import NAMES, grid
from search_spaces.space import Choice, Range, Space, Value, effective
from search_spaces.suggest import distributions, distributions_as_json, point
from tests.search_spaces.driven import Driven, stored
from trainers.members import MemberConfig

SPACE: Space = {
    "init_scale": Range(0.1, 10, log=True, when={"initialization": ("uniform",)}),
    "initialization": Choice(("uniform", "he_normal", "glorot_normal")),
    "r": Range(1e-4, 1.0, log=True, when={"penalty": ("l2",), "initialization": ("uniform", "he_normal")}),
    "penalty": Choice(("l2", "l1"), when={"activation": ("tanh",)}),
    "activation": Choice(("tanh", "elu")),
    "batch_size": Range(8, 64, integer=True),
}
BASE: dict[str, Any] = {"regime": "combined", "r": 0.5, "penalty": "l2", "batch_size": 32, "init_scale": None}
ARMS: dict[str, dict[str, Value]] = {
    "plain": {},  # init_scale is 10: inside
    "he": {"initialization": "he_normal", "r": 0.01},  # init_scale is 1 and has no effect
    "other": {"initialization": "he_normal", "init_scale": 0.5},  # which no suggestion is
}
OPTIONS: dict[str, dict[str, Any]] = {
    "tpe": {"n_startup_trials": 4},
    "gp": {"n_startup_trials": 10},
    "grid": {"points": 3},
    "cmaes": {"popsize": 4},
    "nsga2": {"population_size": 4},
}


def plan_of(name: str, configurations: int = 12) -> SearchPlan:
    sampler = {"name": name, **OPTIONS.get(name, {})}
    return SearchPlan(("maximize",), ARMS, SPACE, configurations, BASE, 9, sampler)


def active(parameters: Mapping[str, Value]) -> set[str]:
    """What is searched beside these parameters, written out once more."""
    keys = {"initialization", "activation", "batch_size"}
    keys |= {"init_scale"} if parameters["initialization"] == "uniform" else set()
    keys |= {"penalty"} if parameters["activation"] == "tanh" else set()
    # Where the penalty is not searched, it is the base's l2.
    l2 = parameters.get("penalty", "l2") == "l2"
    return keys | ({"r"} if l2 and parameters["initialization"] != "glorot_normal" else set())


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_searches_what_has_an_effect_and_keeps_what_it_drew(name: str) -> None:
    """By a driver that starts again after every pack, from what the ledger keeps."""
    sweep = Driven(plan_of(name))
    while pack := sweep.ask(3, f"p{len(sweep.rows)}"):
        for row in pack:
            sweep.end(row.number, "complete", [float(row.parameters.get("r", 0.0))])
        sweep.rows = [stored(row) for row in sweep.rows]
    searched = sweep.rows[len(ARMS) :]
    assert len(searched) == sweep.plan.configurations
    for row in searched:
        assert set(row.parameters) == active(row.parameters)
        assert all(row.parameters[key] in SPACE[key] for key in row.parameters)
        member = sweep.plan.member(row.parameters)
        assert "r" in row.parameters or member.r == 0.5
        if "init_scale" not in row.parameters:
            assert member.init_scale == 1.0  # the initialization's own
        if name != "grid":
            assert set(row.drawn) == set(SPACE) - set(row.parameters)
            at = point(sweep.plan, row)
            assert at == {**row.parameters, **row.drawn} and set(at) == set(SPACE)
            assert all(at[key] in SPACE[key] for key in SPACE)
    assert len({row.parameters["initialization"] for row in searched}) > 1


def test_an_arm_is_in_the_space_whatever_has_no_effect_in_it() -> None:
    plan = plan_of("tpe")
    plain, he, other = (point(plan, Row(n, name, arm)) for n, (name, arm) in enumerate(ARMS.items()))
    assert plain is not None and plain["init_scale"] == 10.0 and plain["r"] == 0.5
    assert he is not None and he["r"] == 0.01 and he["init_scale"] in SPACE["init_scale"]
    assert other is None
    assert set(distributions(SPACE)) == set(distributions_as_json(SPACE)) == set(SPACE)


def test_a_condition_may_be_on_what_the_regime_brings() -> None:
    space: Space = {
        "init_scale": Range(0.1, 10, when={"initialization": ("uniform",)}),
        "regime": Choice(("combined", "many-layers")),
    }
    drawn: dict[str, Value] = {"init_scale": 3.0, "regime": "combined"}
    assert effective(space, {}, drawn) == (drawn, ())
    assert effective(space, {}, drawn | {"regime": "many-layers"}) == ({"regime": "many-layers"}, ("init_scale",))
    assert effective(space, {"initialization": "normal"}, drawn) == ({"regime": "combined"}, ("init_scale",))


def test_alpha_may_have_a_condition_besides() -> None:
    space: Space = {
        "alpha": Range(1, 4, when={"regime": ("combined",)}),
        "activation": Choice(("tanh", "relu")),
        "r": Range(0, 1, when={"alpha": (1.0,)}),
    }
    drawn: dict[str, Value] = {"alpha": 2.0, "activation": "relu", "r": 0.1}
    assert effective(space, {}, drawn) == ({"alpha": 1.0, "activation": "relu", "r": 0.1}, ("alpha",))
    assert effective(space, {"regime": "many-layers"}, drawn)[1] == ("alpha",)
    assert effective(space, {}, drawn | {"activation": "tanh"})[1] == ("r",)


FIELDS = ("activation", "penalty", "initialization")
VALUES: dict[str, tuple[Value, ...]] = {
    "activation": ("tanh", "relu", "elu"),
    "penalty": ("l2", "l1"),
    "initialization": ("he_normal", "glorot_normal"),
}


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Spaces in which each field may depend on those before it, in any order of the keys, or on the regime."""
    space: dict[str, Range | Choice] = {}
    for place, field in enumerate((*FIELDS, "alpha", "batch_size")):
        when: dict[str, tuple[Value, ...]] = {}
        for other in FIELDS[: min(place, len(FIELDS))]:
            if draw(st.booleans()):
                when[other] = tuple(draw(st.lists(st.sampled_from(VALUES[other]), min_size=1, unique=True)))
        if draw(st.booleans()):
            when["regime"] = (draw(st.sampled_from(["combined", "many-layers"])),)
        if field in FIELDS:
            space[field] = Choice(VALUES[field], when)
        else:
            space[field] = Range(2, 5, integer=field == "batch_size", when=when)
    order = draw(st.permutations(list(space)))
    return {key: space[key] for key in order if draw(st.booleans()) or key == order[0]}


@given(spaces(), st.data())
def test_the_parameters_never_hold_what_has_no_effect(space: Space, data: st.DataObject) -> None:
    drawn = {
        key: data.draw(st.sampled_from(what.values) if isinstance(what, Choice) else st.integers(2, 5))
        for key, what in space.items()
    }
    base: dict[str, Value | None] = {"activation": "relu", "batch_size": 7}
    parameters, idle = effective(space, base, drawn)
    member = MemberConfig(**{**base, **parameters})  # type: ignore[arg-type]
    for key, what in space.items():
        holds = all(getattr(member, field) in allowed for field, allowed in what.when.items())
        assert (key in parameters) == holds
        assert holds or (key in idle and getattr(member, key) == getattr(MemberConfig(**base), key))  # type: ignore[arg-type]
        assert key in idle or parameters[key] == drawn[key]


@given(spaces())
def test_the_points_of_a_grid_are_different_members(space: Space) -> None:
    base: dict[str, Value | None] = {"activation": "relu", "batch_size": 7}
    points = grid(space, base, points=2)
    members = {MemberConfig(**{**base, **parameters}) for parameters in points}  # type: ignore[arg-type]
    assert len(members) == len(points) >= 1


def test_a_grid_varies_what_has_an_effect() -> None:
    space: Space = {"init_scale": SPACE["init_scale"], "initialization": Choice(("uniform", "he_normal"))}
    found = grid(space, {}, points=3)
    assert sorted(p["init_scale"] for p in found if p["initialization"] == "uniform") == pytest.approx([0.1, 1, 10])
    assert [p for p in found if p["initialization"] != "uniform"] == [{"initialization": "he_normal"}]


def test_what_has_no_effect_does_not_count_as_important() -> None:
    """init_scale decides where it is searched; elsewhere its value says nothing."""
    space: Space = {"init_scale": SPACE["init_scale"], "batch_size": Range(8, 64, integer=True)}
    always: Space = {key: replace(what, when={}) for key, what in space.items()}
    points = [({"init_scale": 0.1 + n % 9, "batch_size": 8 + n}, float(n % 9)) for n in range(40)]
    assert importance(always, "maximize", points)["init_scale"] > 0.5
    assert "init_scale" not in importance(space, "maximize", points, {"initialization": "he_normal"})
