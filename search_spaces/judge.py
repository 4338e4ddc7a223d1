"""The pruner at work, in the worker: on what the driver knew of the others, and on the pack's own configurations.

>>> judge = Judge(plan.pruner, plan.goals[0], plan.epochs, history, numbers=[8, 9, 10])
>>> judge.prune(8, epoch=3, value=0.12)
True
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence

from optuna.trial import TrialState

from search_spaces.history import History
from search_spaces.plan import Settings
from search_spaces.pruners import make_pruner
from search_spaces.suggest import Shown, memory_study


class Judge:
    """Decides, epoch by epoch, which configurations of one pack are not worth going on with."""

    def __init__(
        self, pruner: Settings | None, goal: str, epochs: int, history: History, numbers: Sequence[int]
    ) -> None:
        """`epochs` is `SearchPlan.epochs`; `numbers` are the pack's own. Without a pruner nothing is pruned."""
        self._pruner = None if pruner is None else make_pruner(pruner, epochs)
        self._epochs = epochs
        self._arms = history.arms
        self._stopped: set[int] = set()
        if self._pruner is None:
            return
        own = [one.number for one in history.own]
        past = {one.number: one for one in history.past if one.number not in (*numbers, *own)}
        # Hyperband draws a configuration's bracket by its number, so each must stand in its place.
        trials = [Shown(TrialState.FAIL) for _ in range(max([*numbers, *own, *past], default=-1) + 1)]
        for number in (*numbers, *own):
            trials[number] = Shown(TrialState.RUNNING)
        for number, one in past.items():
            trials[number] = Shown(
                TrialState.COMPLETE if one.state == "complete" else TrialState.PRUNED,
                values=None if one.value is None else [one.value],
                intermediate_values=one.intermediate,
                system_attrs=one.attributes,
            )
        self._study = memory_study([goal], trials, history.study or None)
        self._storage = self._study._storage
        # (epoch, number, objective) of those that had ended, in the order in which they were judged.
        self._ended = deque(
            sorted((epoch, one.number, v) for one in history.own for epoch, v in one.intermediate.items())
        )

    def prune(self, number: int, epoch: int, value: float) -> bool:
        """Records the objective of a configuration after an epoch, and says whether to stop it.

        Epoch 0 is the state before the first step and decides nothing; after the sweep's last epoch there is
        nothing left to stop; arms are never stopped. Epochs come in order, and in each the numbers. What is once
        stopped stays so.
        """
        if number in self._stopped:
            return True
        if not self._decide(number, epoch, value) or epoch >= self._epochs or number < self._arms:
            return False
        self._stopped.add(number)
        self._storage.set_trial_state_values(number, TrialState.PRUNED, None if value != value else [value])
        return True

    def replay(self, number: int, epoch: int, value: float) -> None:
        """Records what a former worker had: it is known that this configuration was not stopped there.

        In the order in which it was judged: epoch by epoch, by number.
        """
        self._decide(number, epoch, value)

    def _decide(self, number: int, epoch: int, value: float) -> bool:
        if self._pruner is None or epoch == 0:
            return False
        while self._ended and self._ended[0][:2] < (epoch, number):
            then, other, of_other = self._ended.popleft()
            self._decide(other, then, of_other)
        self._storage.set_trial_intermediate_value(number, epoch, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, where all values so far are NaN
            return self._pruner.prune(self._study, self._storage.get_trial(number))

    def attributes(self, number: int) -> dict[str, float]:
        """What the pruner noted of this configuration, for `Search.tell(pruner_attributes=...)`."""
        return {} if self._pruner is None else dict(self._storage.get_trial_system_attrs(number))
