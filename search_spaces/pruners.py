"""The pruners by name, and at work in a worker.

`reduction`, `min_epochs` and `max_epochs` are ours; the other options are Optuna's keyword arguments. Its steps are
epochs here. Its Wilcoxon pruner is left out: it treats the steps as independent instances of a problem, and the epochs
of a training run are not.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from optuna import pruners
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from search_spaces.options import check_options, construct, split
from search_spaces.plan import History, SearchPlan, Settings
from search_spaces.suggest import Shown, memory_study
from trainers.errors import OptionError

Needs = Literal["nothing", "rungs", "curves"]
_WARM_UP = {"min_epochs": "n_warmup_steps"}
_RUNGS = {"min_epochs": "min_resource", "reduction": "reduction_factor"}
# The class, what it compares with of other configurations, and our names of its options.
_PRUNERS: dict[str, tuple[type[BasePruner], Needs, Mapping[str, str]]] = {
    "asha": (pruners.SuccessiveHalvingPruner, "rungs", _RUNGS),
    "hyperband": (pruners.HyperbandPruner, "rungs", _RUNGS | {"max_epochs": "max_resource"}),
    "median": (pruners.MedianPruner, "curves", _WARM_UP),
    "percentile": (pruners.PercentilePruner, "curves", _WARM_UP),
    "threshold": (pruners.ThresholdPruner, "nothing", _WARM_UP),
    "patient": (pruners.PatientPruner, "nothing", {}),
}
NAMES = tuple(_PRUNERS)


def check_pruner(plan: SearchPlan) -> None:
    """Raises OptionError for an unknown name, a wrong option, or several objectives."""
    if plan.pruner and len(plan.goals) > 1:
        raise OptionError("", f"a pruner compares one objective, but there are {len(plan.goals)}: leave it out")
    if plan.pruner:
        make_pruner(plan.pruner, plan.epochs)


def needs(settings: Settings | None) -> Needs:
    """What the pruner compares with, of other configurations."""
    if settings is None:
        return "nothing"
    return needs(settings.get("wrapped_pruner")) if settings["name"] == "patient" else _PRUNERS[settings["name"]][1]


def make_pruner(settings: Settings, epochs: int) -> BasePruner:
    """The pruner; `epochs` is the most that a configuration trains (Hyperband's brackets)."""
    name, options = split("pruner", settings, NAMES)
    make, _, names = _PRUNERS[name]
    what = f"pruner {name}"
    wrapped = options.pop("wrapped_pruner", None) if name == "patient" else None
    check_options(what, options, make, names)
    for ours, theirs in names.items():
        if ours not in options:
            continue
        if theirs in options:
            raise OptionError(theirs, f"{ours} and {theirs} are the same; give one")
        value, least = options.pop(ours), 2 if ours == "reduction" else 1
        if type(value) is not int or value < least:
            raise OptionError(ours, f"must be a whole number >= {least}, but got {value!r}")
        options[theirs] = value
    if name == "hyperband":
        high = options.setdefault("max_resource", max(1, epochs))  # "auto" prunes nothing until one has ended
        if isinstance(high, int) and high < (low := options.get("min_resource", 1)):
            raise OptionError("min_epochs", f"min_epochs <= max_epochs must hold, but got {low} and {high}")
    if name == "patient":
        options["wrapped_pruner"] = None if wrapped is None else _wrapped(wrapped, epochs)
    return construct(what, make, options)


def _wrapped(settings: Any, epochs: int) -> BasePruner:
    if not isinstance(settings, Mapping) or not isinstance(settings.get("name"), str):
        raise OptionError("wrapped_pruner", f"must be a pruner like {{name: median}}, but got {settings!r}")
    try:
        return make_pruner(settings, epochs)
    except OptionError as error:
        raise OptionError("wrapped_pruner", f"{error.key}: {error}" if error.key else str(error)) from None


class Judge:
    """Compares a pack's configurations, epoch by epoch, with each other and with what the driver knew of the rest.

    >>> judge = Judge(plan.pruner, plan.goals[0], plan.epochs, history, numbers=[8, 9, 10])
    >>> judge.prune(8, epoch=3, value=0.12)
    True
    """

    def __init__(self, pruner: Settings, goal: str, epochs: int, history: History, numbers: Sequence[int]) -> None:
        """`epochs` is `SearchPlan.epochs`; `numbers` are the pack's own."""
        self._pruner = make_pruner(pruner, epochs)
        self._epochs = epochs
        self._arms = history.arms
        running = {*numbers, *(row.number for row in history.own)}
        past = {row.number: row for row in history.past if row.number not in running}
        # Hyperband draws a configuration's bracket by its number, so each must keep its number.
        count = max([*running, *past], default=-1) + 1
        trials = [Shown(TrialState.RUNNING if n in running else TrialState.FAIL) for n in range(count)]
        for number, row in past.items():
            trials[number] = Shown(
                TrialState.COMPLETE if row.state == "complete" else TrialState.PRUNED,
                values=row.values,
                intermediate_values=dict(row.intermediate),
                system_attrs=dict(row.pruner_attributes),
            )
        self._study, self._storage = memory_study([goal], trials, history.study or None)
        # (epoch, number, objective) of those that had ended, in the order in which they were judged.
        self._ended = deque(sorted((e, row.number, v) for row in history.own for e, v in row.intermediate.items()))

    def prune(self, number: int, epoch: int, value: float) -> bool:
        """Records the objective of a configuration after an epoch, and says whether to stop it.

        Must be called epoch by epoch, and by number within each. None is stopped at epoch 0, the state before the
        first step, or after the sweep's last epoch; arms are never stopped. A stopped configuration stays stopped.
        """
        if self._storage.get_trial(number).state == TrialState.PRUNED:
            return True
        if not self.replay(number, epoch, value) or epoch >= self._epochs or number in self._arms:
            return False
        self._storage.set_trial_state_values(number, TrialState.PRUNED, None if value != value else [value])
        return True

    def replay(self, number: int, epoch: int, value: float) -> bool:
        """Records what a previous worker reported of a configuration that was not stopped there, in the same order.

        Returns what the pruner says to it.
        """
        if epoch == 0:
            return False
        while self._ended and self._ended[0][:2] < (epoch, number):
            then, other, of_other = self._ended.popleft()
            self.replay(other, then, of_other)
        self._storage.set_trial_intermediate_value(number, epoch, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, where all values so far are NaN
            return self._pruner.prune(self._study, self._storage.get_trial(number))

    def attributes(self, number: int) -> dict[str, float]:
        """What the pruner noted of this configuration: `Row.pruner_attributes`."""
        return dict(self._storage.get_trial_system_attrs(number))
