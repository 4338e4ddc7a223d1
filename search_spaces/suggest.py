"""Suggestions as a function of the plan and of what the database holds.

A sampler never meets the database. It is shown a study in memory that is made for it: every trial there has every
parameter of the space, so that Optuna finds its search space whatever the arms did; a configuration outside of the
space is not in it; a parameter without effect (alpha beside relu) keeps the value that the sampler had drawn for it.
A diverged configuration is shown as pruned before its first value: Optuna's samplers ignore failures, and would come
back to where training diverges (tpe takes it as bad; gp, cmaes and nsga2 look at complete ones only).

tpe and gp see at most `WINDOW` ended configurations: the best `BEST`, and the latest. Beyond 250, tpe's density of
the good is made of the best 25 in any case, and its density of the rest weighs the old ones less; this keeps the
cost of a suggestion from growing with the sweep (2.7 ms at 250, 19 ms at 2,000). cmaes and nsga2 go by the notes that
they left with any trial of the past, and see all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import NopPruner
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from search_spaces.grid import grid
from search_spaces.plan import SearchPlan
from search_spaces.rows import Row
from search_spaces.samplers import make_sampler, sees
from search_spaces.space import UNSEARCHED_VALUE, Choice, Range, Space, Value, unsearched
from trainers.members import MemberConfig

WINDOW = 250
BEST = 25


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space in Optuna's form."""
    return {key: _distribution(what) for key, what in space.items()}


def _distribution(what: Range | Choice) -> BaseDistribution:
    if isinstance(what, Choice):
        return CategoricalDistribution(what.values)
    if what.integer:
        return IntDistribution(int(what.low), int(what.high), log=what.log)
    return FloatDistribution(what.low, what.high, log=what.log)


def point(plan: SearchPlan, row: Row) -> dict[str, Value] | None:
    """Where in the space a configuration lies; None for an arm that lies outside, or differs in another field."""
    if not row.arm:
        return {key: row.drawn.get(key, row.parameters[key]) for key in plan.space}
    arm = MemberConfig(**{**plan.base, **row.parameters})  # type: ignore[arg-type]
    found: dict[str, Value] = {key: getattr(arm, key) for key in plan.space}
    if arm != MemberConfig(**{**plan.base, **found}):  # type: ignore[arg-type]
        return None
    return found if all(found[key] in what for key, what in plan.space.items()) else None


def suggestions(plan: SearchPlan, rows: Sequence[Row], count: int) -> Iterator[Row]:
    """The next `count` configurations after `rows` (all there are, by number): arms first, then the sampler's."""
    arms = list(plan.arms.items())
    first, last = len(rows), len(rows) + count
    for number in range(first, min(last, len(arms))):
        name, parameters = arms[number]
        yield Row(number, name, dict(parameters))
    numbers = range(max(first, len(arms)), last)
    if not numbers:
        return
    if plan.sampler.name == "grid":
        options = plan.sampler.options
        order = grid(plan.space, plan.base, options.get("points"), options.get("seed", 0))
        for number in numbers:
            yield Row(number, "", order[number - len(arms)])
        return
    new_arms = [Row(n, arms[n][0], dict(arms[n][1])) for n in range(first, min(last, len(arms)))]
    yield from _sampled(plan, [*rows, *new_arms], numbers)


def _sampled(plan: SearchPlan, rows: Sequence[Row], numbers: Iterable[int]) -> Iterator[Row]:
    space, seen = distributions(plan.space), sees(plan.sampler)
    study = _shown(plan, rows, space)
    storage, study_id = study._storage, study._study_id
    for number in numbers:
        study.sampler = make_sampler(plan.sampler, number, number - len(plan.arms), space)
        before = storage.get_study_system_attrs(study_id)
        trial = study.ask(space)
        drawn: dict[str, Value] = dict(trial.params)
        parameters = {key: drawn[key] for key in plan.space}
        idle = unsearched(plan.space, {**plan.base, **parameters})
        parameters |= {key: UNSEARCHED_VALUE[key] for key in idle}
        kept = seen == "all"
        after = storage.get_study_system_attrs(study_id)
        yield Row(
            number,
            "",
            parameters,
            drawn={key: drawn[key] for key in idle},
            notes=dict(storage.get_trial(trial._trial_id).system_attrs) if kept else {},
            study_notes={k: v for k, v in after.items() if before.get(k) != v} if kept else {},
        )


class Shown(FrozenTrial):
    """A trial for a study in memory, and for no other use: it is not copied when it is put there, as Optuna's own
    are, which would be most of the cost of a suggestion."""

    def __init__(
        self,
        state: TrialState,
        values: Sequence[float] | None = None,
        params: Mapping[str, Value] | None = None,
        distributions: dict[str, BaseDistribution] | None = None,
        system_attrs: Mapping[str, Any] | None = None,
        intermediate_values: Mapping[int, float] | None = None,
    ) -> None:
        super().__init__(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=values,
            datetime_start=_BEGINNING,
            datetime_complete=_BEGINNING if state.is_finished() else None,
            params=dict(params or {}),
            distributions=distributions or {},
            user_attrs={},
            system_attrs=dict(system_attrs or {}),
            intermediate_values=dict(intermediate_values or {}),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Shown:
        return self


_BEGINNING = datetime(1970, 1, 1)


def memory_study(goals: Sequence[str], trials: Iterable[Shown], name: str | None = None) -> optuna.Study:
    """A study in memory that holds the trials, numbered from 0 in their order."""
    storage = InMemoryStorage()
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=["maximize" if goal == "maximize" else "minimize" for goal in goals],
        sampler=optuna.samplers.RandomSampler(0),
        pruner=NopPruner(),
    )
    for trial in trials:
        storage.create_new_trial(study._study_id, trial)
    return study


def _shown(plan: SearchPlan, rows: Sequence[Row], space: dict[str, BaseDistribution]) -> optuna.Study:
    seen = sees(plan.sampler)
    if seen == "nothing":
        return memory_study(plan.goals, ())
    if seen == "window":
        rows = _window([row for row in rows if row.state != "failed"], plan.goals)
    trials = [_trial(row, point(plan, row), space) for row in rows]
    study = memory_study(plan.goals, [t for t in trials if seen == "all" or t.state != TrialState.FAIL])
    for row in rows:
        for key, value in row.study_notes.items():
            study._storage.set_study_system_attr(study._study_id, key, value)
    return study


def _trial(row: Row, at: Mapping[str, Value] | None, space: dict[str, BaseDistribution]) -> Shown:
    """FAIL stands for what the sampler should not see."""
    if at is None or row.state == "failed":
        return Shown(TrialState.FAIL)
    states = {"running": TrialState.RUNNING, "complete": TrialState.COMPLETE}
    return Shown(
        states.get(row.state, TrialState.PRUNED),
        values=row.values if row.state == "complete" else None,
        params=at,
        distributions=space,
        system_attrs=row.notes,
        intermediate_values=row.last if row.state == "pruned" else {},
    )


def _window(rows: Sequence[Row], goals: Sequence[str]) -> list[Row]:
    running = [row for row in rows if row.state == "running"]
    ended = [row for row in rows if row.state != "running"]
    if len(ended) > WINDOW:
        best = _best([row for row in ended if row.state == "complete"], goals)
        latest = [row for row in ended if row.number not in best][-(WINDOW - len(best)) :]
        ended = [row for row in ended if row.number in best] + latest
    return sorted([*running, *ended], key=lambda row: row.number)


def _best(complete: Sequence[Row], goals: Sequence[str]) -> set[int]:
    """The numbers of the best; for several objectives, of the latest that no other one dominates."""
    signs = [-1.0 if goal == "maximize" else 1.0 for goal in goals]
    losses = {row.number: tuple(s * v for s, v in zip(signs, row.values or (), strict=True)) for row in complete}
    by_loss = sorted(losses, key=lambda n: (losses[n], n))
    if len(goals) == 1:
        return set(by_loss[:BEST])
    front: list[int] = []
    for n in by_loss:  # in this order none is dominated by a later one
        if not any(all(a <= b for a, b in zip(losses[m], losses[n], strict=True)) for m in front):
            front.append(n)
    return set(sorted(front)[-WINDOW // 2 :])
