"""A sweep as the figures see it: its records, its objective, and what was searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from tracking.results import Outcome

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Axis:
    """One searched field: from `low` to `high`, on a log scale where `log`, or one of `choices`."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str | float, ...] = ()


@dataclass(frozen=True)
class Searched:
    """What was searched; `importance` is field -> share (they sum to 1) by metric, empty if unknown.

    Plain data that the service fills in from the sweep's spec: this room knows no search spaces.
    """

    axes: tuple[Axis, ...] = ()
    importance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class FigureData:
    """The tidy table, how its configurations stand, the objective (metric, maximize | minimize), and the search."""

    frame: pd.DataFrame
    outcomes: Mapping[int, Outcome]
    objective: tuple[str, str] = ("validation.accuracy", "maximize")
    searched: Searched = Searched()

    @cached_property
    def own(self) -> pd.DataFrame:
        """The records without those of the confirming stage, which are of other seeds."""
        return self.frame[~self.frame["configuration"].isin([o.number for o in self.outcomes.values() if o.confirms])]

    def rows(self, configuration: int) -> pd.DataFrame:
        """One configuration's records."""
        return self.frame[self.frame["configuration"] == configuration]

    @cached_property
    def results(self) -> pd.DataFrame:
        """A row per complete configuration, by number: its fields, and `value`, the objective's mean at the end.

        Without those of the confirming stage, and those of which a seed has no finite value.
        """
        frame, metric = self.own, self.objective[0]
        if not len(frame) or metric not in frame:
            return frame.iloc[:0].assign(value=[])
        last = last_epoch(frame)
        values = within(last[metric]).groupby(last["configuration"]).mean(skipna=False)
        firsts = frame.drop_duplicates("configuration").set_index("configuration").sort_index()
        complete = [o.number for o in self.outcomes.values() if o.state == "complete"]
        return firsts.assign(value=values)[firsts.index.isin(complete)].dropna(subset="value")

    @cached_property
    def tried(self) -> pd.DataFrame:
        """The results of the searched configurations, the best last."""
        results = self.results[self.results["arm"] == ""].iloc[::-1]  # of equal ones the first is the best
        return results.sort_values("value", ascending=self.objective[1] == "maximize", kind="stable")


def last_epoch(rows: pd.DataFrame) -> pd.DataFrame:
    """The records of each configuration after its last epoch."""
    return rows[rows["epoch"] == rows.groupby("configuration")["epoch"].transform("max")]


def within(values: pd.Series[float]) -> pd.Series[float]:
    """NaN in the place of what the engines' float32 can't hold: infinities, and sizes that would break an axis."""
    return values.astype(np.float64).where(values.abs() <= LARGEST)
