"""Suggestions as a function of a sweep's plan and of its rows so far.

A sampler is shown an Optuna study in memory, made for it from the rows. Every trial there has every parameter of the
space, so that Optuna finds the whole search space whatever the arms set. Configurations outside the space are left out.
A parameter without effect (alpha beside relu, or one whose condition does not hold) has the value that the sampler
drew for it. A diverged configuration is
shown as pruned before its first value: Optuna's samplers ignore failures, and would return to where training diverges
(tpe counts it as bad; gp, cmaes and nsga2 use complete trials only).

tpe and gp see at most `WINDOW` ended configurations, the best `BEST` and the latest, so that a suggestion does not
become slower as the sweep grows (2.7 ms at 250, 19 ms at 2,000): tpe models the good ones by the best 25 in any case,
and gives old ones less weight. cmaes and nsga2 rely on the notes that they left with earlier trials, and see them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces.plan import Row, SearchPlan
from search_spaces.samplers import grid, make_sampler, sees
from search_spaces.space import Choice, Space, Value, effective

WINDOW = 250
BEST = 25
STUDY = 0  # the id of the one study in a storage in memory
_EPOCH = datetime(1970, 1, 1)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space in Optuna's form."""
    made: dict[str, BaseDistribution] = {}
    for key, what in space.items():
        if isinstance(what, Choice):
            made[key] = CategoricalDistribution(what.values)
        else:
            made[key] = (IntDistribution if what.integer else FloatDistribution)(**what.ends, log=what.log)
    return made


def distributions_as_json(space: Space) -> dict[str, str]:
    """The space in Optuna's form, each distribution as the JSON that Optuna reads."""
    return {key: optuna.distributions.distribution_to_json(what) for key, what in distributions(space).items()}


def point(plan: SearchPlan, row: Row) -> dict[str, Value] | None:
    """Where in the space a configuration lies; None for an arm that lies outside, or differs in another field."""
    if not row.arm:
        drawn = {**row.parameters, **row.drawn}
        return {key: drawn[key] for key in plan.space}
    arm = plan.member(row.parameters)
    at: dict[str, Value] = {key: getattr(arm, key) for key in plan.space}
    own = {key: at[key] for key in effective(plan.space, plan.base, at)[0]}
    if arm != plan.member(own) or not all(own[key] in plan.space[key] for key in own):
        return None
    # Where its condition does not hold any value will do, but Optuna wants one that is in the space.
    return {key: at[key] if at[key] in what else next(iter(what.ends.values())) for key, what in plan.space.items()}


def suggestions(plan: SearchPlan, rows: Sequence[Row], count: int) -> Iterator[Row]:
    """The next `count` configurations of the search, of which `rows` are those so far: arms first, then the sampler's.

    Their numbers are their places in the search.
    """
    there = {row.arm for row in rows}
    missing = [arm for arm in plan.arms if arm not in there][:count]
    arms = [Row(place, arm, dict(plan.arms[arm])) for place, arm in enumerate(missing, len(rows))]
    yield from arms
    rows = [*rows, *arms]
    searched, suggested = range(len(rows), len(rows) + count - len(arms)), sum(not row.arm for row in rows)
    if not searched:
        return
    if plan.sampler["name"] == "grid":
        order = grid(plan.space, plan.base, **plan.sampler)
        yield from (Row(place, parameters=order[index]) for index, place in enumerate(searched, suggested))
        return
    space = distributions(plan.space)
    study, storage = _shown(plan, rows, space)
    told = study.get_trials(deepcopy=False)[: len(plan.earlier)] if plan.sampler["name"] == "cmaes" else []
    for index, place in enumerate(searched, suggested):
        study.sampler = make_sampler(plan.sampler, place, index, space, told)
        before = storage.get_study_system_attrs(STUDY)
        trial = study.ask(space)
        drawn: dict[str, Value] = {key: trial.params[key] for key in plan.space}
        parameters, idle = effective(plan.space, plan.base, drawn)
        row = Row(place, parameters=parameters, drawn={key: drawn[key] for key in idle})
        if sees(plan.sampler) == "all":
            notes = dict(storage.get_trial_system_attrs(trial.number))
            after = storage.get_study_system_attrs(STUDY)
            row = replace(row, notes=notes, study_notes={k: v for k, v in after.items() if before.get(k) != v})
        yield row


class Shown(FrozenTrial):
    """A trial for a study in memory, and for no other use; `parts` are those of FrozenTrial that it has.

    It is not copied when it is added to the study, as Optuna's own are: that would be most of a suggestion's cost.
    """

    def __init__(self, state: TrialState, **parts: Any) -> None:
        names = ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values")
        given: dict[str, Any] = {name: {} for name in names} | parts
        end = _EPOCH if state.is_finished() else None
        super().__init__(-1, state, None, _EPOCH, end, trial_id=-1, **given)

    def __deepcopy__(self, memo: dict[int, Any]) -> Shown:
        return self


def memory_study(
    goals: Sequence[str], trials: Iterable[Shown], name: str | None = None
) -> tuple[optuna.Study, InMemoryStorage]:
    """A study in memory that holds the trials, and its storage, where a trial's number and id are its place in them."""
    storage = InMemoryStorage()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))  # a study in memory is nobody's news
    try:
        directions = [StudyDirection[goal.upper()] for goal in goals]
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    finally:
        optuna.logging.set_verbosity(verbosity)
    for trial in trials:
        storage.create_new_trial(STUDY, trial)
    return study, storage


def _shown(
    plan: SearchPlan, rows: Sequence[Row], space: dict[str, BaseDistribution]
) -> tuple[optuna.Study, InMemoryStorage]:
    """What the sampler is shown of the rows."""
    seen = sees(plan.sampler)
    rows = [*plan.earlier, *rows]
    if seen != "all":
        rows = _window(rows, plan.goals) if seen == "window" else ()
    trials = [_trial(row, point(plan, row), space) for row in rows]
    study, storage = memory_study(plan.goals, [t for t in trials if seen == "all" or t.state != TrialState.FAIL])
    for row in rows:
        for key, value in row.study_notes.items():
            storage.set_study_system_attr(STUDY, key, value)
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
    ended = [row for row in rows if row.state not in ("running", "failed")]
    best = _best([row for row in ended if row.state == "complete"], goals)
    latest = [row.number for row in ended if row.number not in best][-(WINDOW - len(best)) :]
    shown = best.union(latest)
    return [row for row in rows if row.state == "running" or row.number in shown]


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
