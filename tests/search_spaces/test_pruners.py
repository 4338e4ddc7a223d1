"""The contract of every pruner at work in a worker, and that it decides as Optuna's own would in its place."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest

from search_spaces.history import History, Past
from search_spaces.judge import Judge
from search_spaces.options import OptionError
from search_spaces.plan import SearchPlan, Settings
from search_spaces.pruners import NAMES, check_pruner, make_pruner
from search_spaces.search import Search
from search_spaces.space import Range

EPOCHS = 9
PRUNERS: dict[str, dict[str, Any]] = {
    "asha": {"reduction": 2, "min_epochs": 2},
    "hyperband": {"reduction": 2, "min_epochs": 2},
    "median": {"min_epochs": 2, "n_startup_trials": 2},
    "percentile": {"percentile": 40.0, "min_epochs": 2, "n_startup_trials": 2},
    "threshold": {"lower": 0.2, "min_epochs": 3},
    "patient": {"patience": 1, "wrapped_pruner": {"name": "median", "n_startup_trials": 2}},
}
PLANS = {
    name: SearchPlan(
        space={"r": Range(0, 1)},
        configurations=40,
        epochs=EPOCHS,
        sampler=Settings("random"),
        pruner=Settings(name, PRUNERS[name]),
    )
    for name in NAMES
}


@pytest.fixture(params=NAMES)
def plan(request: pytest.FixtureRequest) -> SearchPlan:
    return PLANS[request.param]


def curve(number: int) -> list[float]:
    """What configuration `number` reaches after epochs 1, 2, ...; they cross each other, and every fourth falls."""
    top, speed, fall = (number * 37 % 100) / 100, 1 + number % 3, 0.05 * (number % 4 == 1)
    return [
        round(top * min(1.0, speed * epoch / EPOCHS) - fall * max(0, epoch - 4), 6) for epoch in range(1, EPOCHS + 1)
    ]


def judged(judge: Judge, number: int, values: list[float]) -> int | None:
    """The epoch after which it is stopped."""
    for epoch, value in enumerate(values, start=1):
        if judge.prune(number, epoch, value):
            return epoch
    return None


def as_optuna_does(plan: SearchPlan) -> list[int | None]:
    """The same configurations one after the other in Optuna alone; at the last epoch we stop nobody."""
    assert plan.pruner is not None
    study = optuna.create_study(study_name="s", direction="maximize", pruner=make_pruner(plan.pruner, EPOCHS))
    stopped: list[int | None] = []
    for _ in range(plan.configurations):
        trial = study.ask()
        stopped.append(None)
        for epoch, value in enumerate(curve(trial.number), start=1):
            trial.report(value, epoch)
            if trial.should_prune() and epoch < EPOCHS:
                stopped[-1] = epoch
                break
        if stopped[-1] is None:
            study.tell(trial, curve(trial.number)[-1])
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return stopped


def test_it_decides_as_optuna_does(plan: SearchPlan, tmp_path: Path) -> None:
    search = Search.create("s", f"sqlite:///{tmp_path}/optuna.db", plan, {})
    stopped: list[int | None] = []
    while pack := search.ask(1, str(len(stopped))):
        number = pack[0].number
        history = pickle.loads(pickle.dumps(search.history(pack[0].pack)))
        judge = Judge(plan.pruner, "maximize", plan.epochs, history, [number])
        epoch = judged(judge, number, curve(number))
        stopped.append(epoch)
        seen = dict(enumerate(curve(number)[:epoch], start=1))
        state = "pruned" if epoch else "complete"
        attributes = judge.attributes(number)
        search.tell(number, state, [seen[max(seen)]], intermediate=seen, pruner_attributes=attributes)
    search.close()
    assert stopped == as_optuna_does(plan)
    assert any(stopped) and not all(stopped)


def test_the_best_goes_on_and_the_worst_does_not(plan: SearchPlan) -> None:
    past = _past(plan, 20)
    judge = Judge(plan.pruner, "maximize", EPOCHS, past, [30, 31])
    assert judged(judge, 30, [0.9 + 0.01 * e for e in range(EPOCHS)]) is None
    assert judged(judge, 31, [0.001 * (EPOCHS - e) for e in range(EPOCHS)]) is not None


def _past(plan: SearchPlan, count: int) -> History:
    found: list[Past] = []
    for number in range(count):
        judge = Judge(plan.pruner, "maximize", EPOCHS, History("s", tuple(found)), [number])
        epoch = judged(judge, number, curve(number))
        seen = dict(enumerate(curve(number)[:epoch], start=1))
        state = "pruned" if epoch else "complete"
        found.append(Past(number, state, seen[max(seen)], seen, judge.attributes(number)))
    return History("s", tuple(found))


def test_packmates_compete_and_others_may_be_missing(plan: SearchPlan) -> None:
    numbers = [3, 5, 8, 11, 40]  # 0 to 2, 4, ... are in other packs, or failed
    judge = Judge(plan.pruner, "maximize", EPOCHS, _past(plan, 2), numbers)
    stopped = set()
    for epoch in range(EPOCHS + 1):
        for number in numbers:
            value = 0.0 if epoch == 0 else curve(number)[epoch - 1] + (number == 40)
            if judge.prune(number, epoch, value):
                stopped.add(number)
                assert judge.prune(number, epoch + 1, 99.0), "what is once stopped stays so"
    assert 40 not in stopped


def test_the_beginning_and_the_end_decide_nothing(plan: SearchPlan) -> None:
    judge = Judge(plan.pruner, "maximize", EPOCHS, _past(plan, 20), [30])
    assert not judge.prune(30, 0, -1.0)
    assert not judge.prune(30, EPOCHS, -1.0)


def test_arms_are_never_stopped(plan: SearchPlan) -> None:
    past = _past(plan, 20)
    judge = Judge(plan.pruner, "maximize", EPOCHS, History("s", past.past[2:], arms=2), [0, 1])
    assert judged(judge, 0, [0.0] * EPOCHS) is None


@pytest.mark.parametrize("lost_after", [1, 3, 6])
def test_a_pack_run_again_is_judged_as_it_was(plan: SearchPlan, lost_after: int) -> None:
    past, numbers = _past(plan, 12), [12, 13, 14, 15, 16, 17]

    def run(judge: Judge, living: list[int], epochs: range) -> dict[int, int]:
        stopped: dict[int, int] = {}
        for epoch in epochs:
            for number in [n for n in living if n not in stopped]:
                if judge.prune(number, epoch, curve(number)[epoch - 1]):
                    stopped[number] = epoch
        return stopped

    undisturbed = run(Judge(plan.pruner, "maximize", EPOCHS, past, numbers), numbers, range(1, EPOCHS + 1))
    lost = Judge(plan.pruner, "maximize", EPOCHS, past, numbers)
    first = run(lost, numbers, range(1, lost_after + 1))
    told = tuple(Past(n, "pruned", 0.0, {e: curve(n)[e - 1]}, lost.attributes(n)) for n, e in first.items())
    left = [n for n in numbers if n not in first]
    again = Judge(plan.pruner, "maximize", EPOCHS, History("s", (*past.past, *told)), left)
    for epoch in range(1, lost_after + 1):
        for number in left:
            again.replay(number, epoch, curve(number)[epoch - 1])
    assert first | run(again, left, range(lost_after + 1, EPOCHS + 1)) == undisturbed


def test_without_a_pruner_nobody_is_stopped() -> None:
    judge = Judge(None, "maximize", EPOCHS, History(), [0])
    assert judged(judge, 0, [0.0] * EPOCHS) is None
    assert judge.attributes(0) == {}


def test_a_value_that_is_no_number_stops_or_not_but_breaks_nothing(plan: SearchPlan) -> None:
    judge = Judge(plan.pruner, "maximize", EPOCHS, _past(plan, 20), [30])
    stopped = [judge.prune(30, epoch, float("nan")) for epoch in range(1, EPOCHS)]
    assert stopped == sorted(stopped)


@pytest.mark.parametrize(
    ("name", "options", "key", "message"),
    [
        ("ash", {}, "name", "unknown pruner 'ash'; did you mean asha?"),
        ("asha", {"reductions": 3}, "reductions", "did you mean reduction?"),
        ("asha", {"reduction": 1}, "reduction", "must be a whole number >= 2, but got 1"),
        ("asha", {"max_epochs": 3}, "max_epochs", "has no option 'max_epochs'"),
        ("median", {"reduction": 3}, "reduction", "has no option 'reduction'"),
        ("percentile", {}, "percentile", "is missing"),
        ("patient", {"patience": 1, "wrapped_pruner": {"name": "x"}}, "wrapped_pruner", "unknown pruner 'x'"),
        ("patient", {"patience": 1, "min_epochs": 3}, "min_epochs", "has no option 'min_epochs'"),
    ],
)
def test_a_wrong_pruner_is_one_clear_error(name: str, options: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_pruner(Settings(name, options), ("maximize",), EPOCHS)
    assert message in str(caught.value) and key in (caught.value.key, *str(caught.value).split(": "))
    assert "\n" not in str(caught.value)


def test_several_objectives_have_no_pruner() -> None:
    with pytest.raises(OptionError, match="a pruner compares one objective, but there are 2"):
        check_pruner(Settings("asha"), ("maximize", "minimize"), EPOCHS)
