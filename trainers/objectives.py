"""What a configuration is judged by: a metric, which of its epochs count, and which way is better.

    >>> Objective("validation.accuracy", epoch=Epochs("mean_of_last", 2)).value({1: 0.7, 2: 0.8, 3: 0.9})
    0.85
    >>> Objective("gradient.first_to_last", Near(1.0)).name
    'log distance of gradient.first_to_last from 1'

Whatever the goal, the value of an objective is a number that is maximized or minimized: with `near` it is the distance
from the target, with `first_above` an epoch. The names say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trainers.metrics import on_log_scale

# How far 0 and what is not finite are from any target on the log scale: farther than any two numbers, whose ratio is
# at most 1.8e308 / 4.9e-324, the exponential of 1454.
FARTHEST = 1500.0

# Which epochs count -> the words for them; the amount is a number of epochs or of the metric.
EPOCHS = {
    "last": "after the last epoch",
    "best": "at its best epoch",
    "mean_of_last": "over the last {:g} epochs",
    "first_above": "",
}


@dataclass(frozen=True)
class Near:
    """The goal of being near a number: the distance from it is minimized."""

    target: float


@dataclass(frozen=True)
class Epochs:
    """Which of a member's epochs count, one of EPOCHS; `never` is the value of what is never above the amount.

    Epoch 0 is before the first step: it counts where it is all there is.
    """

    how: str = "last"
    amount: float = 0.0
    never: int = 0

    def within(self, longest: int) -> Epochs:
        """The same in a sweep that trains at most so many epochs: what is never above would be after the last."""
        return replace(self, never=longest + 1) if self.how == "first_above" else self


LAST = Epochs()


@dataclass(frozen=True)
class Objective:
    """A metric, maximized, minimized, or near a number, over these epochs.

    The distance from a number is |log(value / target)| for a metric that lives on a log scale, where 0 and what is not
    finite are farther than anything else; it is |value - target| for the others.
    """

    metric: str = "validation.accuracy"
    goal: str | Near = "maximize"
    epoch: Epochs = LAST

    @property
    def direction(self) -> str:
        """Which way of the value is better: maximize | minimize."""
        return "minimize" if isinstance(self.goal, Near) or self.epoch.how == "first_above" else self.goal

    @property
    def what(self) -> str:
        """What the value is, in words."""
        if self.epoch.how == "first_above":
            return f"first epoch with {self.metric} above {self.epoch.amount:g}"
        if isinstance(self.goal, Near):
            distance = "log distance" if on_log_scale(self.metric) else "distance"
            return f"{distance} of {self.metric} from {self.goal.target:g}"
        return self.metric

    @property
    def when(self) -> str:
        """Which epochs it is of, in words."""
        return EPOCHS[self.epoch.how].format(self.epoch.amount)

    @property
    def name(self) -> str:
        """The two together; the last epoch goes without saying."""
        return self.what if self.epoch.how in ("last", "first_above") else f"{self.what} {self.when}"

    def score(self, value: float) -> float:
        """A value of the metric as what is maximized or minimized: itself, or its distance from the target."""
        if not isinstance(self.goal, Near):
            return value
        if not on_log_scale(self.metric):
            return abs(value - self.goal.target)
        if not 0 < value < math.inf:
            return FARTHEST
        return abs(math.log(value) - math.log(self.goal.target))

    def counted(self, course: Mapping[int, float]) -> dict[int, float]:
        """The epochs of one member's course (epoch -> metric) that count; with what comes later they are all it takes.

        `counted(counted(course) | later) == counted(course | later)`, where later epochs come later.
        """
        trained = {epoch: course[epoch] for epoch in sorted(course) if epoch}
        if self.epoch.how == "first_above":
            counting = course if self.epoch.never == 1 else trained  # 1: nothing is trained
            above = [epoch for epoch in sorted(counting) if counting[epoch] > self.epoch.amount]
            return {epoch: counting[epoch] for epoch in above[:1]}
        trained = trained or dict(course)
        if self.epoch.how == "best":
            scores = {epoch: self.score(value) for epoch, value in trained.items()}
            choose = max if self.direction == "maximize" else min
            numbers = [epoch for epoch in scores if not math.isnan(scores[epoch])]
            return {epoch: trained[epoch] for epoch in [choose(numbers, key=scores.__getitem__)]} if numbers else {}
        last = int(self.epoch.amount) if self.epoch.how == "mean_of_last" else 1
        return {epoch: trained[epoch] for epoch in [*trained][-last:]}

    def value(self, course: Mapping[int, float]) -> float:
        """What one member's course (epoch -> metric) is worth; NaN where no epoch counts."""
        counted = self.counted(course)
        if self.epoch.how == "first_above":
            return float(next(iter(counted), self.epoch.never))
        return _mean([self.score(value) for value in counted.values()])

    def measured(self, course: Mapping[int, float]) -> float:
        """The mean of the metric itself over the epochs that count."""
        return _mean([*self.counted(course).values()])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
