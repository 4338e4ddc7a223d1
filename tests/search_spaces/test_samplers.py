"""The contract of every sampler: what any search may rely on, whatever suggests."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.search_space import IntersectionSearchSpace

from search_spaces.plan import Row, SearchPlan
from search_spaces.samplers import NAMES, check_sampler, make_sampler
from search_spaces.search import counts
from search_spaces.space import Choice, Range, Space, Value
from search_spaces.suggest import BEST, WINDOW, _best, _shown, _window, distributions, suggestions
from tests.search_spaces.driven import Driven, stored
from trainers.errors import OptionError

OPTIONS: dict[str, dict[str, Any]] = {
    "tpe": {"n_startup_trials": 4},
    "random": {},
    "grid": {"points": 4},
    "qmc": {"scramble": True},
    "gp": {"n_startup_trials": 4},
    "cmaes": {"popsize": 4},
    "nsga2": {"population_size": 4},
}
SPACE: Space = {
    "alpha": Range(0.5, 8.0, log=True),
    "r": Range(1e-5, 1.0, log=True),
    "activation": Choice(("tanh", "relu")),
    "batch_size": Range(8, 64, integer=True),
}
ARMS: dict[str, dict[str, Value]] = {
    "plain": {"alpha": 1.0, "r": 0.0},  # r lies outside of its range
    "paper": {"alpha": 2.0, "r": 0.01},  # inside
    "small": {"alpha": 2.0, "r": 0.01, "init_scale": 0.1},  # another network
    "relu": {"activation": "relu", "r": 0.01},
}


def plan_of(name: str, space: Space = SPACE, configurations: int | None = None, **options: Any) -> SearchPlan:
    configurations = configurations or (8 if name == "gp" else 14)
    base: dict[str, Any] = {"regime": "combined", "activation": "tanh", "scaling": "rescaled", "batch_size": 32}
    sampler = {"name": name, **OPTIONS[name], **options}
    return SearchPlan(("maximize",), ARMS, space, configurations, base, 9, sampler, block=4, ahead=1)


def value(parameters: Mapping[str, Value]) -> float:
    """Best at alpha = 2, r = 0.01."""
    alpha, r = float(parameters["alpha"]) if "alpha" in parameters else 1.0, float(parameters["r"])
    return 1 - abs(math.log(alpha / 2)) - 0.1 * abs(math.log10(r + 1e-9) + 2)


def end(sweep: Driven, row: Row) -> None:
    """Every seventh configuration diverges, every eleventh fails, every fifth is pruned, where there is a pruner."""
    goals = len(sweep.plan.goals)
    got = [value(row.parameters), float(row.parameters["r"])][:goals]
    if row.number % 7 == 6:
        sweep.end(row.number, "diverged", reason="the loss is not finite")
    elif row.number % 5 == 4 and goals == 1:
        sweep.end(row.number, "pruned", intermediate={1: got[0] - 0.1, 2: got[0]})
    elif row.number % 11 == 8:
        sweep.end(row.number, "failed", reason="worker lost")
    else:
        sweep.end(row.number, "complete", got)


def drive(plan: SearchPlan, size: int = 4) -> list[Row]:
    """A whole sweep in packs of `size`, by a driver that starts again after every pack."""
    sweep = Driven(plan)
    while pack := sweep.ask(size, f"p{len(sweep.rows)}"):
        for row in pack:
            end(sweep, row)
        sweep.rows = [stored(row) for row in sweep.rows]
    return sweep.rows


def slow_if_gp(names: Iterable[str]) -> list[Any]:
    """gp takes seconds per suggestion on a busy machine; the default run has two small tests of it."""
    return [pytest.param(name, marks=pytest.mark.slow) if name == "gp" else name for name in names]


@pytest.fixture(params=slow_if_gp(NAMES))
def name(request: pytest.FixtureRequest) -> str:
    sampler: str = request.param
    return sampler


def test_arms_first_then_as_many_as_asked_for_in_the_space(name: str) -> None:
    plan = plan_of(name)
    rows = drive(plan)
    assert [row.number for row in rows] == list(range(plan.searching))
    assert [(row.arm, row.parameters) for row in rows[:4]] == list(ARMS.items())
    for row in rows[4:]:
        assert row.arm == "" and set(row.parameters) == set(SPACE)
        idle = row.parameters["activation"] == "relu"
        assert all(row.parameters[key] in what for key, what in SPACE.items())
        assert not idle or row.parameters["alpha"] == 1.0
    activations = {row.parameters["activation"] for row in rows[4:]}
    assert activations == {"tanh", "relu"}
    assert len({tuple(row.parameters.values()) for row in rows[4:]}) > plan.configurations // 2, (
        "it suggests the same again and again"
    )


def test_the_same_seed_and_answers_give_the_same_suggestions(name: str) -> None:
    """Also where one driver keeps its rows in memory and the other reads them from a ledger after every pack."""
    sweep = Driven(plan_of(name))
    while pack := sweep.ask(4, f"p{len(sweep.rows)}"):
        for row in pack:
            end(sweep, row)
    assert sweep.rows == drive(plan_of(name))


def test_another_seed_gives_others(name: str) -> None:
    first, second = ([*suggestions(plan_of(name, seed=seed), [], 8)][4:] for seed in (0, 1))
    assert [row.parameters for row in first] != [row.parameters for row in second]


EARLIER: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "data/suggestions.json").read_text())


@pytest.mark.parametrize("case", slow_if_gp(EARLIER))
def test_suggestions_are_those_of_earlier_versions(case: str) -> None:
    """The file is from version 1, whose samplers were asked with a database behind them. A sweep that was begun with
    an earlier version goes on with what it would have suggested; a new Optuna that changes this belongs in the
    changelog. Up to rounding, since processors differ in it: gp's optimizer multiplies it.
    """
    sampler, _, variant = case.partition(", ")
    options = {"multivariate": True, "group": False, "constant_liar": True} if variant == "multivariate" else {}
    goals = ("maximize", "minimize") if variant == "two objectives" else ("maximize",)
    rows = drive(replace(plan_of(sampler, **options), goals=goals, confirm=2))
    searched = [row for row in rows if not row.arm]
    assert [row.confirms for row in searched] == [row["confirms"] for row in EARLIER[case]]

    def up_to_rounding(point: dict[str, Any]) -> dict[str, Any]:
        rel = 1e-3 if sampler == "gp" else 1e-9
        return {key: pytest.approx(v, rel=rel) if isinstance(v, float) else v for key, v in point.items()}

    for row, earlier in zip(searched, EARLIER[case], strict=True):
        assert row.parameters == up_to_rounding(earlier["parameters"])
        assert row.drawn == up_to_rounding(earlier["drawn"])


@pytest.mark.parametrize("name", NAMES)
def test_one_parameter_is_enough(name: str) -> None:
    early = {"n_startup_trials": 2} if name == "gp" else {}
    plan = plan_of(name, {"r": Range(1e-5, 1.0, log=True)}, configurations=4, **early)
    rows: list[Row] = []
    for _ in range(8):
        (row,) = suggestions(plan, rows, 1)
        rows.append(replace(row, state="complete", values=(value(row.parameters),)))
    assert all(row.parameters["r"] in plan.space["r"] for row in rows[4:])


@pytest.mark.parametrize("name", NAMES)
def test_choices_alone_are_enough(name: str) -> None:
    space: Space = {
        "activation": Choice(("tanh", "relu", "elu")),
        "dense_bias": Choice((True, False)),
        "epochs": Choice((9,)),
    }
    early = {"n_startup_trials": 2} if name == "gp" else {}
    plan = plan_of(name, space, configurations=6, **early)
    rows: list[Row] = []
    for _ in range(8):
        (row,) = suggestions(plan, rows, 1)
        rows.append(replace(row, state="complete", values=(float(row.number),)))
    for row in rows[4:]:
        assert all(row.parameters[key] in what for key, what in space.items())
        assert isinstance(row.parameters["dense_bias"], bool)


@pytest.mark.parametrize("name", slow_if_gp(n for n in NAMES if n != "cmaes"))
def test_several_objectives(name: str) -> None:
    plan = replace(plan_of(name), goals=("maximize", "minimize"))
    rows = drive(plan)
    assert len(rows) == plan.total == counts(plan, rows).ended


def test_cmaes_refuses_several_objectives() -> None:
    with pytest.raises(OptionError, match="sampler cmaes can't search for several objectives; tpe, random, grid"):
        check_sampler(replace(plan_of("cmaes"), goals=("maximize", "minimize")))


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "nsga2"])
def test_what_a_sampler_is_shown_has_all_of_the_space(name: str) -> None:
    """Optuna searches together what all earlier trials have: one arm without r would blind it to r."""
    plan = plan_of(name)
    asked = list(suggestions(plan, [], 8))
    states = ["complete"] * 4 + ["complete", "diverged", "failed", "running"]
    rows = [
        replace(r, notes={}, study_notes={}, state=s, values=(0.5,) if s == "complete" else None)
        for r, s in zip(asked, states, strict=True)
    ]
    trials = _shown(plan, rows, distributions(SPACE))[0].get_trials()
    states_shown = [t.state.name for t in trials if t.state.name != "FAIL"]
    # paper, relu (whose alpha is in the range), a complete one, the diverged one and the one that is running
    assert states_shown == ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "RUNNING"]
    assert all(t.distributions == distributions(SPACE) for t in trials if t.state.name != "FAIL")


@pytest.mark.parametrize("name", ["cmaes", "nsga2"])
def test_the_space_that_is_known_is_the_one_that_optuna_would_find(name: str) -> None:
    plan = plan_of(name)
    rows = [replace(r, state="complete", values=(0.5,)) for r in suggestions(plan, [], 8)]
    study, _ = _shown(plan, rows, distributions(SPACE))
    sampler = make_sampler(plan.sampler, 8, 4, distributions(SPACE))
    ours = sampler.infer_relative_search_space(study, study.trials[-1])
    sampler._search_space = IntersectionSearchSpace()  # type: ignore[attr-defined]
    assert list(ours.items()) == list(sampler.infer_relative_search_space(study, study.trials[-1]).items())
    assert len(ours) == (3 if name == "cmaes" else 4)


def test_tpe_finds_the_place_in_spite_of_arms_elsewhere() -> None:
    sweep = Driven(plan_of("tpe", configurations=60))
    while pack := sweep.ask(4):
        for row in pack:
            sweep.end(row.number, "complete", [value(row.parameters)])
    values = [row.values[0] for row in sweep.rows if row.values and not row.arm]
    assert sum(values[-20:]) / 20 > sum(values[:20]) / 20 + 0.2


def _rows(count: int) -> list[Row]:
    return [Row(n, parameters={"r": 0.1}, state="complete", values=(float(n * 7919 % count),)) for n in range(count)]


def test_the_window_has_the_best_the_latest_and_all_that_runs() -> None:
    rows = [*_rows(1000), Row(1000, parameters={"r": 0.1})]
    shown = _window(rows, ["maximize"])
    assert len(shown) == WINDOW + 1 and shown == sorted(shown, key=lambda r: r.number)
    by_value = sorted(rows[:1000], key=lambda r: r.values or (), reverse=True)
    assert all(row in shown for row in by_value[:BEST])
    assert all(row in shown for row in rows[-200:])
    assert _window(_rows(WINDOW), ["maximize"]) == _rows(WINDOW)


def test_the_best_for_several_objectives_are_those_that_none_dominates() -> None:
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 5.0), (3.0, 6.0), (0.5, 1.0), (3.0, 7.0)]
    rows = [Row(n, state="complete", values=p) for n, p in enumerate(points)]
    assert _best(rows, ["maximize", "minimize"]) == {1, 3, 4}


@pytest.mark.parametrize(
    ("name", "options", "key", "message"),
    [
        ("tpee", {}, "name", "unknown sampler 'tpee'; did you mean tpe?"),
        ("tpe", {"n_startup": 3}, "n_startup", "did you mean n_startup_trials?"),
        ("tpe", {"seed": 1.5}, "seed", "seed must be a whole number >= 0, but got 1.5"),
        ("tpe", {"multivariate": 1}, "multivariate", "must be true or false or null, but got 1"),
        ("cmaes", {"restart_strategy": "ipop"}, "", "has been deprecated"),
        ("gp", {"independent_sampler": "random"}, "independent_sampler", "has no option 'independent_sampler'"),
        ("qmc", {"qmc_type": "sobel"}, "", "Choose either `halton` or `sobol`"),
        ("grid", {"points": "3"}, "points", "must be a whole number or null, but got '3'"),
    ],
)
def test_a_wrong_sampler_is_one_clear_error(name: str, options: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_sampler(SearchPlan(space=SPACE, configurations=5, sampler={"name": name, **options}))
    assert caught.value.key == key and message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tpe", {"group": True, "multivariate": True}),
        ("cmaes", {"consider_pruned_trials": True}),
        ("cmaes", {"with_margin": True}),
        pytest.param("gp", {"deterministic_objective": True}, marks=pytest.mark.slow),
    ],
)
def test_experimental_options_warn_nobody(name: str, options: dict[str, Any]) -> None:
    plan = plan_of(name, **options)
    check_sampler(plan)
    rows = list(suggestions(plan, [], 12))
    done = [replace(row, state="complete", values=(value(row.parameters),)) for row in rows]
    assert len(list(suggestions(plan, done, 2))) == 2
