"""A search as the figures see it: what was searched, and the value that each complete configuration reached.

Plain data that the service fills in from the sweep's spec: this room knows no search spaces.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tracking.figures.bands import complete, finals, own
from tracking.results import Outcome
from tracking.tidy import MEMBER


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
    """What was searched; `importance` is field -> share (they sum to 1) by metric, empty where it can't be told."""

    axes: tuple[Axis, ...] = ()
    importance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def results(frame: pd.DataFrame, outcomes: Mapping[int, Outcome] | None, metric: str) -> pd.DataFrame:
    """A row a complete configuration, by number: every field, `arm`, and `value`, the mean over its seeds."""
    frame = own(frame, outcomes)
    means = finals(frame, metric).dropna()
    firsts = frame.drop_duplicates("configuration").set_index("configuration").sort_index()
    firsts = firsts[firsts.index.isin(complete(frame, outcomes) & set(means.index))]
    return firsts.assign(value=means.reindex(firsts.index))


def points(
    frame: pd.DataFrame, outcomes: Mapping[int, Outcome], metric: str, fields: Sequence[str]
) -> list[tuple[dict[str, Any], float]]:
    """(what these fields were, the mean over the seeds) of each complete searched configuration, by number."""
    found = results(frame, outcomes, metric)
    found = found[found["arm"] == ""]
    rows = found[list(fields)].to_numpy(dtype=object).tolist()
    return [(dict(zip(fields, row, strict=True)), v) for row, v in zip(rows, found["value"].tolist(), strict=True)]


def alike(found: pd.DataFrame, free: Collection[str]) -> pd.DataFrame:
    """The largest part of a table of results that is the same in all fields but the `free` ones, and the engine's."""
    fixed = [field for field in MEMBER if field in found and field not in free and field not in ("engine", "epochs")]
    if not len(found) or not fixed:
        return found
    group = found.groupby(fixed, dropna=False, sort=False).ngroup()
    return found[group == group.value_counts(sort=False).idxmax()]
