"""What an earlier sweep knows of a space, as rows that a sampler is shown before any of the sweep's own.

A configuration belongs to the space if this sweep would train the same members for some point of it: whatever is not
searched must be equal, and what is searched must lie inside. Whether the earlier sweep searched it does not matter.

tpe and gp are shown these rows like any others. To nsga2 they are its first generations. cmaes starts where the best
of them lie: Nomura et al., Warm starting CMA-ES for hyperparameter optimization, AAAI 2021.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.samplers import BaseGASampler
from optuna.trial import TrialState

from search_spaces.plan import Row, SearchPlan
from search_spaces.samplers import make_sampler
from search_spaces.space import Value, effective
from search_spaces.suggest import STUDY, Shown, distributions, memory_study
from trainers.members import FIELDS, MemberConfig

KNOWN = ("complete", "pruned")
_SHARED = [name for name in FIELDS if name not in ("seed", "engine")]


def rows_of(plan: SearchPlan, earlier: Iterable[tuple[Mapping[str, Any], Row]]) -> tuple[tuple[Row, ...], Counter[str]]:
    """The rows that belong to the plan's space, of pairs of a member's fields and a row; and why others do not.

    The reasons name fields, each with how many rows it keeps out. The rows have numbers below 0, as none of the sweep.
    """
    rows, reasons = [], Counter[str]()
    for fields, row in earlier:
        if row.state not in KNOWN:
            continue
        try:
            at, drawn = _place(plan, fields)
        except ValueError as error:
            reasons[str(error)] += 1
            continue
        rows.append(Row(-1, parameters=at, drawn=drawn, state=row.state, values=row.values, intermediate=row.last))
    numbered = [replace(row, number=place - len(rows)) for place, row in enumerate(rows)]
    return tuple(_with_generations(plan, numbered)), reasons


def _place(plan: SearchPlan, fields: Mapping[str, Any]) -> tuple[dict[str, Value], dict[str, Value]]:
    """The parameters of a member in the space, and values for those without effect. Raises ValueError outside it."""
    try:
        trained = MemberConfig(**fields)
    except TypeError:
        raise ValueError("other fields") from None
    parameters, idle = effective(plan.space, plan.base, {key: getattr(trained, key) for key in plan.space})
    asked = plan.member(parameters)
    if other := [name for name in _SHARED if getattr(asked, name) != getattr(trained, name)]:
        raise ValueError(", ".join(other))
    if outside := [key for key, value in parameters.items() if key not in idle and value not in plan.space[key]]:
        raise ValueError(", ".join(outside))
    drawn = {key: getattr(trained, key) for key in idle}
    return parameters, {
        key: value if value in plan.space[key] else next(iter(plan.space[key].ends.values()))
        for key, value in drawn.items()
    }


def _with_generations(plan: SearchPlan, rows: Sequence[Row]) -> Sequence[Row]:
    """With the notes by which a genetic sampler knows its generations, as if it had suggested these rows."""
    space = distributions(plan.space)
    sampler = make_sampler(plan.sampler, 0, 0, space)
    if not isinstance(sampler, BaseGASampler):
        return rows
    study, storage = memory_study(plan.goals, ())
    study.sampler = sampler
    noted = []
    for row in rows:
        if row.state == "complete":
            trial = storage.create_new_trial(STUDY, Shown(TrialState.RUNNING))
            sampler.get_trial_generation(study, storage.get_trial(trial))
            storage.set_trial_state_values(trial, TrialState.COMPLETE, row.values)
            row = replace(row, notes=storage.get_trial_system_attrs(trial))
        noted.append(row)
    return noted
