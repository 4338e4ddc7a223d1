"""The pruner in a worker: compares a pack's configurations with each other and with what the driver knew of the rest.

>>> judge = Judge(plan.pruner, plan.goals[0], plan.epochs, history, numbers=[8, 9, 10])
>>> judge.prune(8, epoch=3, value=0.12)
True
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence

from optuna.trial import TrialState

from search_spaces.plan import History, Settings
from search_spaces.pruners import make_pruner
from search_spaces.suggest import Shown, memory_study


class Judge:
    """Decides, epoch by epoch, which configurations of one pack to stop."""

    def __init__(self, pruner: Settings, goal: str, epochs: int, history: History, numbers: Sequence[int]) -> None:
        """`epochs` is `SearchPlan.epochs`; `numbers` are the pack's own."""
        self._pruner = make_pruner(pruner, epochs)
        self._epochs = epochs
        self._arms = history.arms
        running = {*numbers, *(row.number for row in history.own)}
        past = {row.number: row for row in history.past if row.number not in running}
        # Hyperband draws a configuration's bracket by its number, so each must keep its number.
        trials = [Shown(TrialState.FAIL) for _ in range(max([*running, *past], default=-1) + 1)]
        for number in running:
            trials[number] = Shown(TrialState.RUNNING)
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
        if not self.replay(number, epoch, value) or epoch >= self._epochs or number < self._arms:
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
