"""What was measured of the gradients of some configurations, at their first and their last epoch.

Means over seeds; saturation and dead units over the layers that have an activation. These are numbers and no reasons:
which of them made a network train is a question for a claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from tracking.verdict.types import Moment

LOSSES = ("train.loss", "validation.loss")
METRICS = (
    "gradient.data.rms",
    "gradient.total.rms",
    "gradient.first_to_last",
    "gradient.data.vanished",
    "saturated",
    "dead",
)


def gradients(frame: pd.DataFrame, numbers: Iterable[int], names: Mapping[int, str]) -> tuple[Moment, ...]:
    """The moments of each configuration that has records, in the order of the numbers."""
    rows = {n: frame[frame["configuration"] == n] for n in numbers}
    return tuple(moment for n, own in rows.items() if len(own) for moment in _moments(own, names[n]))


def _moments(rows: pd.DataFrame, name: str) -> list[Moment]:
    """At the first and the last epoch, or the last one before a seed diverged; once where these are one.

    Of a network that is no longer finite no unit is counted as saturated, and no coordinate as vanished.
    """
    broken = rows["epoch"][~np.isfinite(rows.filter(items=LOSSES).to_numpy()).all(axis=1)]
    whole = rows[~rows["epoch"].isin(broken)]
    rows = whole if len(whole) else rows
    # A ratio that some seeds do not have (0 by 0) has no mean.
    means = rows.select_dtypes("number").groupby(rows["epoch"]).mean(skipna=False)
    for what in ("saturated", "dead"):
        # The output has no activation: it would only dilute the mean.
        layers = means.filter(regex=rf"^layer\.[^.]+\.{what}$").drop(columns=f"layer.output.{what}", errors="ignore")
        means[what] = layers.mean(axis=1)
    ends = means.reindex(columns=METRICS).iloc[sorted({0, len(means) - 1})]
    return [
        Moment(name, int(str(epoch)), *(x if math.isfinite(x) else None for x in row))
        for epoch, row in zip(ends.index, ends.to_numpy().tolist(), strict=True)
    ]
