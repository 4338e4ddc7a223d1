"""The contract of every pruner at work in a worker, and that it decides as Optuna's own would in its place."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.plan import History, Row, SearchPlan
from search_spaces.pruners import NAMES, Judge, check_pruner, make_pruner, needs
from search_spaces.search import history, judged
from search_spaces.space import Range
from tests.search_spaces.driven import Driven
from trainers.errors import OptionError

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
        sampler={"name": "random"},
        pruner={"name": name, **PRUNERS[name]},
        block=1,
        ahead=1,
    )
    for name in NAMES
}


@pytest.fixture(params=NAMES, scope="module")
def plan(request: pytest.FixtureRequest) -> SearchPlan:
    return PLANS[request.param]


def curve(number: int) -> list[float]:
    """What configuration `number` reaches after epochs 1, 2, ...; they cross each other, and every fourth falls."""
    top, speed, fall = (number * 37 % 100) / 100, 1 + number % 3, 0.05 * (number % 4 == 1)
    return [
        round(top * min(1.0, speed * epoch / EPOCHS) - fall * max(0, epoch - 4), 6) for epoch in range(1, EPOCHS + 1)
    ]


def judge_of(plan: SearchPlan, others: History, numbers: list[int]) -> Judge:
    """As a worker makes one for a pack of these configurations."""
    assert plan.pruner is not None
    return Judge(plan.pruner, plan.goals[0], plan.epochs, others, numbers)


def stopped_after(judge: Judge, number: int, values: list[float]) -> int | None:
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


def test_it_decides_as_optuna_does(plan: SearchPlan) -> None:
    sweep = Driven(plan)
    stopped: list[int | None] = []
    while pack := sweep.ask(1, str(len(stopped))):
        number = pack[0].number
        known = pickle.loads(pickle.dumps(history(plan, sweep.rows, pack[0].pack, "s")))
        judge = judge_of(plan, known, [number])
        epoch = stopped_after(judge, number, curve(number))
        stopped.append(epoch)
        seen = dict(enumerate(curve(number)[:epoch], start=1))
        state = "pruned" if epoch else "complete"
        attributes = judge.attributes(number)
        sweep.end(number, state, [seen[max(seen)]], intermediate=seen, pruner_attributes=attributes)
    assert stopped == as_optuna_does(plan)
    assert any(stopped) and not all(stopped)


def test_the_best_goes_on_and_the_worst_does_not(plan: SearchPlan) -> None:
    past = _past(plan, 20)
    judge = judge_of(plan, past, [30, 31])
    assert stopped_after(judge, 30, [0.9 + 0.01 * e for e in range(EPOCHS)]) is None
    assert stopped_after(judge, 31, [0.001 * (EPOCHS - e) for e in range(EPOCHS)]) is not None


def _past(plan: SearchPlan, count: int) -> History:
    past: list[Row] = []
    for number in range(count):
        judge = judge_of(plan, History("s", tuple(past)), [number])
        epoch = stopped_after(judge, number, curve(number))
        seen = dict(enumerate(curve(number)[:epoch], start=1))
        state = "pruned" if epoch else "complete"
        attributes = judge.attributes(number)
        values = (seen[max(seen)],)
        past.append(Row(number, state=state, values=values, intermediate=seen, pruner_attributes=attributes))
    return History("s", tuple(past))


def test_packmates_compete_and_others_may_be_missing(plan: SearchPlan) -> None:
    numbers = [3, 5, 8, 11, 40]  # 0 to 2, 4, ... are in other packs, or failed
    judge = judge_of(plan, _past(plan, 2), numbers)
    stopped = set()
    for epoch in range(EPOCHS + 1):
        for number in numbers:
            value = 0.0 if epoch == 0 else curve(number)[epoch - 1] + (number == 40)
            if judge.prune(number, epoch, value):
                stopped.add(number)
                assert judge.prune(number, epoch + 1, 99.0), "what is once stopped stays so"
    assert 40 not in stopped


def test_the_beginning_and_the_end_decide_nothing(plan: SearchPlan) -> None:
    judge = judge_of(plan, _past(plan, 20), [30])
    assert not judge.prune(30, 0, -1.0)
    assert not judge.prune(30, EPOCHS, -1.0)


def test_arms_are_never_stopped(plan: SearchPlan) -> None:
    past = _past(plan, 20)
    judge = judge_of(plan, History("s", past.past[2:], arms=(0, 1)), [0, 1])
    assert stopped_after(judge, 0, [0.0] * EPOCHS) is None


@settings(deadline=None, max_examples=60)
@given(
    others=st.sampled_from([0, 2, 12]),
    seed=st.integers(0, 99),
    diverging=st.dictionaries(st.integers(12, 17), st.integers(1, EPOCHS), max_size=3),
    lost_after=st.integers(1, EPOCHS),
    told_of_it=st.integers(0, 6),
    again_=st.integers(0, 2),
)
def test_a_pack_run_again_is_judged_as_it_was(
    plan: SearchPlan, others: int, seed: int, diverging: dict[int, int], lost_after: int, told_of_it: int, again_: int
) -> None:
    """Whoever diverges, after whichever epoch and in the middle of whatever the worker or its driver is lost.

    `told_of_it` are so many of those that had ended in the last epoch; `again_` is how many epochs are trained again.
    """
    past, numbers = _past(plan, others), [12, 13, 14, 15, 16, 17]
    draw = random.Random(seed)
    curves = {n: [draw.random() for _ in range(EPOCHS)] for n in numbers}

    def run(judge: Judge, living: list[int], epochs: range) -> dict[int, int]:
        ends: dict[int, int] = {}
        for epoch in epochs:
            for number in [n for n in living if n not in ends]:
                # One that diverges is not judged.
                if diverging.get(number) == epoch or judge.prune(number, epoch, curves[number][epoch - 1]):
                    ends[number] = epoch
        return ends

    undisturbed = run(judge_of(plan, past, numbers), numbers, range(1, EPOCHS + 1))
    first = {n: epoch for n, epoch in undisturbed.items() if epoch < lost_after}
    last = [n for n, epoch in undisturbed.items() if epoch == lost_after]
    first |= dict.fromkeys(last[:told_of_it], lost_after)
    rows = [
        Row(
            n,
            state="diverged" if diverging.get(n) == epoch else "pruned",
            intermediate=dict(enumerate(curves[n][:epoch], 1)),
        )
        for n, epoch in first.items()
    ]
    own = tuple(replace(row, intermediate=judged(row)) for row in rows) if needs(plan.pruner) == "rungs" else ()
    left = [n for n in numbers if n not in first]
    again = judge_of(plan, replace(past, own=own), left)
    # The states of an epoch are those of who goes on from there.
    begin = max(0, lost_after - max(again_, len(last) > told_of_it))
    for epoch in range(1, begin + 1):
        for number in left:
            again.replay(number, epoch, curves[number][epoch - 1])
    assert first | run(again, left, range(begin + 1, EPOCHS + 1)) == undisturbed


def test_a_value_that_is_no_number_stops_or_not_but_breaks_nothing(plan: SearchPlan) -> None:
    judge = judge_of(plan, _past(plan, 20), [30])
    stopped = [judge.prune(30, epoch, float("nan")) for epoch in range(1, EPOCHS)]
    assert stopped == sorted(stopped)


@pytest.mark.parametrize(
    ("name", "options", "key", "message"),
    [
        ("ash", {}, "name", "unknown pruner 'ash'; did you mean asha?"),
        ("x", {}, "name", "unknown pruner 'x'; known are asha, hyperband, median, percentile, threshold, patient"),
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
        check_pruner(SearchPlan(epochs=EPOCHS, pruner={"name": name, **options}))
    assert message in str(caught.value) and key in (caught.value.key, *str(caught.value).split(": "))
    assert "\n" not in str(caught.value)


def test_several_objectives_have_no_pruner() -> None:
    with pytest.raises(OptionError, match="a pruner compares one objective, but there are 2"):
        check_pruner(SearchPlan(("maximize", "minimize"), pruner={"name": "asha"}))
