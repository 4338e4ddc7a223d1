"""The contract of every sampler: what any search may rely on, whatever suggests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.search_space import IntersectionSearchSpace

from search_spaces.plan import SearchPlan, Settings
from search_spaces.rows import Row
from search_spaces.samplers import NAMES, check_sampler, make_sampler
from search_spaces.search import Ended, Search
from search_spaces.space import Choice, Range, Space, Value
from search_spaces.suggest import BEST, WINDOW, _best, _shown, _window, distributions, suggestions
from trainers.errors import OptionError

OPTIONS: dict[str, dict[str, Any]] = {
    "tpe": {"n_startup_trials": 4},
    "random": {},
    "grid": {"points": 4},
    "qmc": {"scramble": True},
    "gp": {"n_startup_trials": 9},  # seconds each after that, where the machine is busy
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


def plan_of(name: str, space: Space = SPACE, configurations: int = 14, **options: Any) -> SearchPlan:
    base: dict[str, Any] = {"regime": "combined", "activation": "tanh", "scaling": "rescaled", "batch_size": 32}
    sampler = Settings(name, {**OPTIONS[name], **options})
    return SearchPlan(("maximize",), ARMS, space, configurations, base, 9, sampler)


def value(parameters: Mapping[str, Value]) -> float:
    """Best at alpha = 2, r = 0.01."""
    alpha, r = float(parameters["alpha"]) if "alpha" in parameters else 1.0, float(parameters["r"])
    return 1 - abs(math.log(alpha / 2)) - 0.1 * abs(math.log10(r + 1e-9) + 2)


def drive(search: Search, size: int = 4) -> list[Ended]:
    """Runs a search to its end; every seventh configuration diverges, every fifth is pruned."""
    waiting = search.running()
    while waiting or (waiting := search.ask(size, str(search.counts().ended))):
        for c in waiting:
            got = value(c.parameters)
            if c.number % 7 == 6:
                search.tell(c.number, "diverged", None, reason="the loss is not finite")
            elif c.number % 5 == 4:
                search.tell(c.number, "pruned", [got], intermediate={1: got})
            else:
                search.tell(c.number, "complete", [got])
        waiting = []
    return search.ended()


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def url(tmp_path: Path) -> Callable[[str], str]:
    return lambda name: f"sqlite:///{tmp_path / name}.db"


def test_arms_first_then_as_many_as_asked_for_in_the_space(name: str, url: Callable[[str], str]) -> None:
    search = Search.create("s", url("a"), plan_of(name), {})
    ended = drive(search)
    search.close()
    assert [e.number for e in ended] == list(range(18))
    assert [(e.arm, e.parameters) for e in ended[:4]] == list(ARMS.items())
    for e in ended[4:]:
        assert e.arm == "" and set(e.parameters) == set(SPACE)
        idle = e.parameters["activation"] == "relu"
        assert all(e.parameters[key] in what for key, what in SPACE.items())
        assert not idle or e.parameters["alpha"] == 1.0
    activations = {e.parameters["activation"] for e in ended[4:]}
    assert activations == {"tanh", "relu"}
    assert len({tuple(e.parameters.values()) for e in ended[4:]}) > 7, "it suggests the same again and again"


def test_the_same_seed_and_answers_give_the_same_suggestions(name: str, url: Callable[[str], str]) -> None:
    found = []
    for run in "ab":
        search = Search.create("s", url(run), plan_of(name), {})
        found.append(drive(search))
        search.close()
    assert found[0] == found[1]


def test_another_seed_gives_others(name: str, url: Callable[[str], str]) -> None:
    found = []
    for seed in (0, 1):
        search = Search.create("s", url(str(seed)), plan_of(name, seed=seed), {})
        found.append([c.parameters for c in search.ask(8, "0")][4:])
        search.close()
    assert found[0] != found[1]


def test_a_new_process_goes_on_as_the_old_one_would_have(name: str, url: Callable[[str], str]) -> None:
    whole = Search.create("s", url("whole"), plan_of(name), {})
    undisturbed = drive(whole)
    whole.close()
    Search.create("s", url("parts"), plan_of(name), {}).close()
    while True:
        search = Search.open("s", url("parts"), plan_of(name))
        pack = search.ask(4, str(search.counts().ended))
        for c in pack:
            got = value(c.parameters)
            if c.number % 7 == 6:
                search.tell(c.number, "diverged", None, reason="the loss is not finite")
            elif c.number % 5 == 4:
                search.tell(c.number, "pruned", [got], intermediate={1: got})
            else:
                search.tell(c.number, "complete", [got])
        ended = search.ended()
        search.close()
        if not pack:
            break
    assert ended == undisturbed


def test_one_parameter_is_enough(name: str) -> None:
    early = {"n_startup_trials": 4} if name == "gp" else {}
    plan = plan_of(name, {"r": Range(1e-5, 1.0, log=True)}, configurations=4, **early)
    rows: list[Row] = []
    for _ in range(8):
        (row,) = suggestions(plan, rows, 1)
        rows.append(Row(row.number, row.arm, row.parameters, row.drawn, row.notes, row.study_notes, state="complete",
                        values=(value(row.parameters),)))  # fmt: skip
    assert all(row.parameters["r"] in plan.space["r"] for row in rows[4:])


def test_choices_alone_are_enough(name: str) -> None:
    space: Space = {
        "activation": Choice(("tanh", "relu", "elu")),
        "dense_bias": Choice((True, False)),
        "epochs": Choice((9,)),
    }
    early = {"n_startup_trials": 4} if name == "gp" else {}
    plan = plan_of(name, space, configurations=6, **early)
    rows: list[Row] = []
    for _ in range(8):
        (row,) = suggestions(plan, rows, 1)
        rows.append(Row(row.number, row.arm, row.parameters, row.drawn, row.notes, row.study_notes, state="complete",
                        values=(float(row.number),)))  # fmt: skip
    for row in rows[4:]:
        assert all(row.parameters[key] in what for key, what in space.items())
        assert isinstance(row.parameters["dense_bias"], bool)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "cmaes"])
def test_several_objectives(name: str, url: Callable[[str], str]) -> None:
    plan = SearchPlan(
        ("maximize", "minimize"), ARMS, SPACE, 12, {"activation": "tanh"}, 9, Settings(name, OPTIONS[name])
    )
    search = Search.create("s", url("a"), plan, {})
    while pack := search.ask(4, "p"):
        for c in pack:
            search.tell(c.number, "complete", [value(c.parameters), float(c.parameters["r"])])
    assert search.counts().complete == plan.total
    search.close()


def test_cmaes_refuses_several_objectives() -> None:
    with pytest.raises(OptionError, match="sampler cmaes can't search for several objectives; tpe, random, grid"):
        check_sampler(Settings("cmaes"), SPACE, {}, ("maximize", "minimize"), 5)


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "nsga2"])
def test_what_a_sampler_is_shown_has_all_of_the_space(name: str) -> None:
    """Optuna searches together what all earlier trials have: one arm without r would blind it to r."""
    plan = plan_of(name)
    asked = list(suggestions(plan, [], 8))
    states = ["complete"] * 4 + ["complete", "diverged", "failed", "running"]
    rows = [
        Row(r.number, r.arm, r.parameters, r.drawn, state=s, values=(0.5,) if s == "complete" else None)
        for r, s in zip(asked, states, strict=True)
    ]
    trials = _shown(plan, rows, distributions(SPACE)).get_trials()
    states_shown = [t.state.name for t in trials if t.state.name != "FAIL"]
    # paper, relu (whose alpha is in the range), a complete one, the diverged one and the one that is running
    assert states_shown == ["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "RUNNING"]
    assert all(t.distributions == distributions(SPACE) for t in trials if t.state.name != "FAIL")


@pytest.mark.parametrize("name", ["cmaes", "nsga2"])
def test_the_space_that_is_known_is_the_one_that_optuna_would_find(name: str) -> None:
    plan = plan_of(name)
    rows = [replace(r, state="complete", values=(0.5,)) for r in suggestions(plan, [], 8)]
    study = _shown(plan, rows, distributions(SPACE))
    sampler = make_sampler(plan.sampler, 8, 4, distributions(SPACE))
    ours = sampler.infer_relative_search_space(study, study.trials[-1])
    sampler._search_space = IntersectionSearchSpace()  # type: ignore[attr-defined]
    assert list(ours.items()) == list(sampler.infer_relative_search_space(study, study.trials[-1]).items())
    assert len(ours) == (3 if name == "cmaes" else 4)


def test_tpe_finds_the_place_in_spite_of_arms_elsewhere(url: Callable[[str], str]) -> None:
    search = Search.create("s", url("a"), plan_of("tpe", configurations=60), {})
    while pack := search.ask(4, "p"):
        for c in pack:
            search.tell(c.number, "complete", [value(c.parameters)])
    values = [e.values[0] for e in search.ended() if e.values and not e.arm]
    search.close()
    assert sum(values[-20:]) / 20 > sum(values[:20]) / 20 + 0.2


def _rows(count: int) -> list[Row]:
    return [Row(n, "", {"r": 0.1}, state="complete", values=(float(n * 7919 % count),)) for n in range(count)]


def test_the_window_has_the_best_the_latest_and_all_that_runs() -> None:
    rows = [*_rows(1000), Row(1000, "", {"r": 0.1})]
    shown = _window(rows, ["maximize"])
    assert len(shown) == WINDOW + 1 and shown == sorted(shown, key=lambda r: r.number)
    by_value = sorted(rows[:1000], key=lambda r: r.values or (), reverse=True)
    assert all(row in shown for row in by_value[:BEST])
    assert all(row in shown for row in rows[-200:])
    assert _window(_rows(WINDOW), ["maximize"]) == _rows(WINDOW)


def test_the_best_for_several_objectives_are_those_that_none_dominates() -> None:
    points = [(1.0, 5.0), (2.0, 4.0), (2.0, 5.0), (3.0, 6.0), (0.5, 1.0), (3.0, 7.0)]
    rows = [Row(n, "", {}, state="complete", values=p) for n, p in enumerate(points)]
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
        check_sampler(Settings(name, options), SPACE, {}, ("maximize",), 5)
    assert caught.value.key == key and message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tpe", {"group": True, "multivariate": True}),
        ("cmaes", {"consider_pruned_trials": True}),
        ("cmaes", {"with_margin": True}),
        ("gp", {"deterministic_objective": True}),
    ],
)
def test_experimental_options_warn_nobody(name: str, options: dict[str, Any]) -> None:
    plan = plan_of(name, **options)
    check_sampler(plan.sampler, SPACE, plan.base, plan.goals, 5)
    rows = list(suggestions(plan, [], 12))
    done = [
        Row(r.number, r.arm, r.parameters, r.drawn, r.notes, state="complete", values=(value(r.parameters),))
        for r in rows
    ]
    assert len(list(suggestions(plan, done, 2))) == 2
