"""What a figure shows of a configuration: the mean and the quartiles over its seeds, by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tracking.results import Outcome

LARGEST = float(np.finfo(np.float32).max)


def within(values: pd.Series[float]) -> pd.Series[float]:
    """NaN in the place of what the engines' float32 can't hold: infinities, and sizes that would break an axis."""
    return values.astype(np.float64).where(values.abs() <= LARGEST)


def own(frame: pd.DataFrame, outcomes: Mapping[int, Outcome] | None) -> pd.DataFrame:
    """The records without those of the confirming stage, which are of other seeds; all of them without outcomes."""
    again = {o.number for o in (outcomes or {}).values() if o.confirms is not None}
    return frame[~frame["configuration"].isin(again)] if again else frame


def band(frame: pd.DataFrame, configuration: int, metric: str) -> pd.DataFrame:
    """`mean`, `q25` and `q75` by epoch; NaN from where a seed has no finite value: survivors would look too good."""
    rows = frame.loc[frame["configuration"] == configuration, ["epoch", metric]]
    values = within(rows[metric])
    by_epoch = values.groupby(rows["epoch"])
    whole = by_epoch.count() == by_epoch.size()
    found = pd.DataFrame({"mean": by_epoch.mean(), "q25": by_epoch.quantile(0.25), "q75": by_epoch.quantile(0.75)})
    return found.where(whole)


def finals(frame: pd.DataFrame, metric: str) -> pd.Series[float]:
    """The mean over the seeds after each configuration's last epoch, by configuration; NaN where a seed has none."""
    if metric not in frame or not len(frame):
        return pd.Series(dtype=np.float64)
    last = frame[frame["epoch"] == frame.groupby("configuration")["epoch"].transform("max")]
    values = within(last[metric])
    by_configuration = values.groupby(last["configuration"])
    return by_configuration.mean().where(by_configuration.count() == by_configuration.size())


def complete(frame: pd.DataFrame, outcomes: Mapping[int, Outcome] | None) -> set[int]:
    """The configurations that were trained to their end; without outcomes, those with as many epochs as any."""
    if outcomes is not None:
        return {o.number for o in outcomes.values() if o.state == "complete"}
    last = frame.groupby("configuration")["epoch"].max()
    return {int(number) for number in last.index[last == last.max()]}


def best_searched(
    frame: pd.DataFrame, outcomes: Mapping[int, Outcome] | None, metric: str, goal: str = "maximize"
) -> int | None:
    """The searched configuration with the best mean; None where nothing was searched, or none is complete."""
    searched = set(frame.loc[frame["arm"] == "", "configuration"].tolist())
    means = finals(frame, metric).dropna()
    means = means[means.index.isin(searched & complete(frame, outcomes))]
    if not len(means):
        return None
    return int(str(means.idxmax() if goal == "maximize" else means.idxmin()))
