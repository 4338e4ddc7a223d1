"""How much each searched parameter matters: Optuna's PED-ANOVA over complete configurations.

    >>> importance({"alpha": Range(0.5, 8.0, log=True), "r": Range(1e-5, 1.0, log=True)}, "maximize", points)
    {'r': 0.93, 'alpha': 0.07}

PED-ANOVA (Watanabe et al. 2023) looks at the best tenth of the configurations (at least five): a parameter whose values
are distributed there as everywhere else does not matter. It draws no random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from search_spaces.space import Space, Value, effective
from search_spaces.suggest import Shown, distributions, memory_study

BEST = 5
LEAST = 2 * BEST  # configurations


def importance(
    space: Space, goal: str, points: Sequence[tuple[Mapping[str, Value], float]], base: Mapping[str, Value | None] = {}
) -> dict[str, float]:
    """Parameter -> share, largest first; the shares sum to 1. `points` are (parameters, value) of configurations.

    A parameter without effect in a configuration (alpha beside relu, or one whose condition does not hold) does not
    count there. Points outside the space are left out. Empty where fewer than LEAST are left, or where the best are no
    better than the rest.
    """
    known = distributions(space)
    trials = []
    for parameters, value in points:
        _, idle = effective(space, base, parameters)
        own = {key: parameters[key] for key in space if key not in idle}
        if all(own[key] in space[key] for key in own):
            shape = {key: known[key] for key in own}
            trials.append(Shown(TrialState.COMPLETE, values=[value], params=own, distributions=shape))
    if len(trials) < LEAST:
        return {}
    # Optuna advises at least five among the best.
    quantile = max(0.1, BEST / len(trials))
    values = sorted((trial.value or 0.0 for trial in trials), reverse=goal == "maximize")
    if values[math.ceil(quantile * len(values)) - 1] == values[-1]:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
    return get_param_importances(memory_study([goal], trials)[0], evaluator=evaluator)
