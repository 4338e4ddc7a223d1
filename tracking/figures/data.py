"""A sweep as the figures see it: its records, its objective, and what was searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tracking.results import Outcome
from tracking.tidy import MEMBER

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
        again = [o.number for o in self.outcomes.values() if o.confirms is not None]
        return self.frame[~self.frame["configuration"].isin(again)] if again else self.frame

    def rows(self, configuration: int) -> pd.DataFrame:
        """One configuration's records."""
        return self.frame[self.frame["configuration"] == configuration]

    def ends(self, configuration: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """One configuration's records before the first step and after its last epoch."""
        rows = self.rows(configuration)
        return rows[rows["epoch"] == 0], rows[rows["epoch"] == rows["epoch"].max()]

    def band(self, configuration: int, metric: str) -> pd.DataFrame:
        """`mean`, `q25`, `q75` by epoch; NaN from where a seed has no finite value: survivors would look too good."""
        rows = self.rows(configuration)
        by_epoch = within(rows[metric]).groupby(rows["epoch"])
        table = {"mean": by_epoch.mean(), "q25": by_epoch.quantile(0.25), "q75": by_epoch.quantile(0.75)}
        return pd.DataFrame(table).where(by_epoch.count() == by_epoch.size())

    @cached_property
    def results(self) -> pd.DataFrame:
        """A row per complete configuration, by number: every field, `arm`, and `value`, the objective's mean.

        Without those of the confirming stage, and those of which a seed has no finite value.
        """
        frame, metric = self.own, self.objective[0]
        if not len(frame) or metric not in frame:
            return frame.iloc[:0].assign(value=[])
        last = frame[frame["epoch"] == frame.groupby("configuration")["epoch"].transform("max")]
        values = within(last[metric]).groupby(last["configuration"])
        means = values.mean().where(values.count() == values.size()).dropna()
        fields = ["arm", *(name for name in MEMBER if name in frame)]
        firsts = frame.drop_duplicates("configuration").set_index("configuration").sort_index()[fields]
        complete = {o.number for o in self.outcomes.values() if o.state == "complete"}
        firsts = firsts[firsts.index.isin(complete & set(means.index))]
        return firsts.assign(value=means.reindex(firsts.index))

    @cached_property
    def tried(self) -> pd.DataFrame:
        """The results of the searched configurations, the best last."""
        results = self.results[self.results["arm"] == ""].iloc[::-1]  # of equal ones the first is the best
        return results.sort_values("value", ascending=self.objective[1] == "maximize", kind="stable")


def points(
    frame: pd.DataFrame, outcomes: Mapping[int, Outcome], metric: str, fields: Sequence[str]
) -> list[tuple[dict[str, Any], float]]:
    """(the values of these fields, the mean over the seeds) of each complete searched configuration, by number."""
    results = FigureData(frame, outcomes, (metric, "maximize")).tried.sort_index()
    rows = results[list(fields)].to_numpy(dtype=object).tolist()
    return [(dict(zip(fields, row, strict=True)), v) for row, v in zip(rows, results["value"].tolist(), strict=True)]


def within(values: pd.Series[float]) -> pd.Series[float]:
    """NaN in the place of what the engines' float32 can't hold: infinities, and sizes that would break an axis."""
    return values.astype(np.float64).where(values.abs() <= LARGEST)
