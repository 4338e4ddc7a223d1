"""How much of the result each searched parameter decides: Optuna's PED-ANOVA over complete configurations.

    >>> importance({"alpha": Range(0.5, 8.0, log=True), "r": Range(1e-5, 1.0, log=True)}, "maximize", points)
    {'r': 0.93, 'alpha': 0.07}

PED-ANOVA (Watanabe et al. 2023) asks where the best tenth of the configurations (five at least) lies: a parameter whose
values there are spread as everywhere else is of no importance. It draws no random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from search_spaces.space import Space, Value, unsearched
from search_spaces.suggest import Shown, distributions, memory_study

BEST = 5
LEAST = 2 * BEST  # configurations


def importance(
    space: Space,
    goal: str,
    points: Sequence[tuple[Mapping[str, Value], float]],
    base: Mapping[str, Value | None] | None = None,
) -> dict[str, float]:
    """Parameter -> share, the largest first; they sum to 1. `points` are (parameters, value) of configurations.

    A parameter without effect beside the others of its configuration (alpha beside relu) does not count there.
    Points outside of the space are left out; empty where fewer than LEAST are left, or the best don't stand out from
    the rest.
    """
    known = distributions(space)
    trials = []
    for parameters, value in points:
        idle = unsearched(space, {**(base or {}), **parameters})
        own = {key: parameters[key] for key in space if key not in idle}
        if all(own[key] in space[key] for key in own):
            trials.append(Shown(TrialState.COMPLETE, [value], own, {key: known[key] for key in own}))
    if len(trials) < LEAST:
        return {}
    # Optuna's own advice: five at least among the best.
    quantile = max(0.1, BEST / len(trials))
    values = sorted((trial.value or 0.0 for trial in trials), reverse=goal == "maximize")
    if values[math.ceil(quantile * len(values)) - 1] == values[-1]:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    return get_param_importances(memory_study([goal], trials), evaluator=evaluator)
