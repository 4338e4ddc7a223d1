"""Suggestions as a function of a sweep's plan and of its rows so far.

A sampler is shown an Optuna study in memory, made for it from the rows. Every trial there has every parameter of the
space, so that Optuna finds the whole search space whatever the arms set. Configurations outside the space are left out.
A parameter without effect (alpha beside relu) has the value that the sampler drew for it. A diverged configuration is
shown as pruned before its first value: Optuna's samplers ignore failures, and would return to where training diverges
(tpe counts it as bad; gp, cmaes and nsga2 use complete trials only).

tpe and gp see at most `WINDOW` ended configurations: the best `BEST` and the latest. Beyond 250, tpe models the good
ones by the best 25 in any case, and gives old ones less weight among the rest; this keeps a suggestion from becoming
slower as the sweep grows (2.7 ms at 250, 19 ms at 2,000). cmaes and nsga2 rely on the notes that they left with any
earlier trial, and see all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.pruners import NopPruner
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces.grid import grid
from search_spaces.plan import SearchPlan
from search_spaces.rows import Row
from search_spaces.samplers import make_sampler, sees
from search_spaces.space import Choice, Range, Space, Value, unsearched

WINDOW = 250
BEST = 25


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space in Optuna's form."""
    return {key: _distribution(what) for key, what in space.items()}


def distributions_as_json(space: Space) -> dict[str, str]:
    """The space in Optuna's form, each distribution as the JSON that Optuna reads."""
    return {key: distribution_to_json(what) for key, what in distributions(space).items()}


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
    arm = plan.member(row.parameters)
    at: dict[str, Value] = {key: getattr(arm, key) for key in plan.space}
    inside = all(at[key] in what for key, what in plan.space.items())
    return at if inside and arm == plan.member(at) else None


def suggestions(plan: SearchPlan, rows: Sequence[Row], count: int) -> Iterator[Row]:
    """The next `count` configurations after `rows` (all there are, by number): arms first, then the sampler's."""
    arms = [Row(number, name, dict(parameters)) for number, (name, parameters) in enumerate(plan.arms.items())]
    new_arms = arms[len(rows) : len(rows) + count]
    yield from new_arms
    rows = [*rows, *new_arms]
    numbers = range(len(rows), len(rows) + count - len(new_arms))
    if not numbers:
        return
    if plan.sampler.name == "grid":
        options = plan.sampler.options
        order = grid(plan.space, plan.base, options.get("points"), options.get("seed", 0))
        for number in numbers:
            yield Row(number, parameters=order[number - len(arms)])
    else:
        yield from _sampled(plan, rows, numbers)


def _sampled(plan: SearchPlan, rows: Sequence[Row], numbers: Iterable[int]) -> Iterator[Row]:
    space, keeps_notes = distributions(plan.space), sees(plan.sampler) == "all"
    study, storage = _shown(plan, rows, space)
    study_id = storage.get_study_id_from_name(study.study_name)
    for number in numbers:
        study.sampler = make_sampler(plan.sampler, number, number - len(plan.arms), space)
        before = storage.get_study_system_attrs(study_id)
        trial = study.ask(space)
        drawn: dict[str, Value] = dict(trial.params)
        parameters = {key: drawn[key] for key in plan.space}
        idle = unsearched(plan.space, {**plan.base, **parameters})
        row = Row(number, parameters=parameters | idle, drawn={key: drawn[key] for key in idle})
        if keeps_notes:
            after = storage.get_study_system_attrs(study_id)
            trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            notes = dict(storage.get_trial(trial_id).system_attrs)
            row = replace(row, notes=notes, study_notes={k: v for k, v in after.items() if before.get(k) != v})
        yield row


class Shown(FrozenTrial):
    """A trial for a study in memory, and for no other use.

    It is not copied when it is added to the study, as Optuna's own are: that would be most of a suggestion's cost.
    """

    def __init__(
        self,
        state: TrialState,
        values: Sequence[float] | None = None,
        params: Mapping[str, Value] = {},
        distributions: Mapping[str, BaseDistribution] = {},
        system_attrs: Mapping[str, Any] = {},
        intermediate_values: Mapping[int, float] = {},
    ) -> None:
        super().__init__(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            values=values,
            datetime_start=_EPOCH,
            datetime_complete=_EPOCH if state.is_finished() else None,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs={},
            system_attrs=dict(system_attrs),
            intermediate_values=dict(intermediate_values),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Shown:
        return self


_EPOCH = datetime(1970, 1, 1)


def memory_study(
    goals: Sequence[str], trials: Iterable[Shown], name: str | None = None
) -> tuple[optuna.Study, InMemoryStorage]:
    """A study in memory that holds the trials, and its storage; numbers and ids of trials are their places there."""
    storage = InMemoryStorage()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))  # a study in memory is nobody's news
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=[StudyDirection[goal.upper()] for goal in goals],
            sampler=optuna.samplers.RandomSampler(0),
            pruner=NopPruner(),
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    study_id = storage.get_study_id_from_name(study.study_name)
    for trial in trials:
        storage.create_new_trial(study_id, trial)
    return study, storage


def _shown(
    plan: SearchPlan, rows: Sequence[Row], space: dict[str, BaseDistribution]
) -> tuple[optuna.Study, InMemoryStorage]:
    """What the sampler is shown of the rows."""
    seen = sees(plan.sampler)
    if seen == "nothing":
        return memory_study(plan.goals, ())
    if seen == "window":
        rows = _window([row for row in rows if row.state != "failed"], plan.goals)
    trials = [_trial(row, point(plan, row), space) for row in rows]
    study, storage = memory_study(plan.goals, [t for t in trials if seen == "all" or t.state != TrialState.FAIL])
    study_id = storage.get_study_id_from_name(study.study_name)
    for row in rows:
        for key, value in row.study_notes.items():
            storage.set_study_system_attr(study_id, key, value)
    return study, storage


def _trial(row: Row, at: Mapping[str, Value] | None, space: dict[str, BaseDistribution]) -> Shown:
    """The trial that stands for a row; a failed one for what the sampler should not see."""
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
    """The numbers of the best; for several objectives, of the latest that no other configuration dominates."""
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
