"""What was measured of the gradients of some configurations, at their first and their last epoch.

Sizes are medians over the seeds, since the largest seed may be the whole mean; shares and counts are means. Saturation
and dead units are over the layers that have an activation. These are numbers and no reasons: which of them made a
network train is a question for a claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from tracking.verdict.types import Moment

LOSSES = ("train.loss", "validation.loss")
SIZES = ("gradient.data.rms", "gradient.total.rms", "gradient.first_to_last")
SHARES = ("gradient.data.vanished", "saturated", "dead", "dead_layers")


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
    rows = rows[rows["epoch"].isin([rows["epoch"].min(), rows["epoch"].max()])]
    measured = rows.reindex(columns=[*SIZES, *SHARES])
    for what in ("saturated", "dead"):
        # The output has no activation: it would only dilute the mean.
        layers = rows.filter(regex=rf"^layer\.[^.]+\.{what}$").drop(columns=f"layer.output.{what}", errors="ignore")
        measured[what] = layers.mean(axis=1)
    by_epoch = measured.groupby(rows["epoch"])
    # A ratio that some seeds do not have (0 by 0) has neither.
    ends = by_epoch[[*SIZES]].median(skipna=False).join(by_epoch[[*SHARES]].mean(skipna=False))
    activation = str(rows["activation"].iloc[0])
    return [
        Moment(name, int(str(epoch)), activation, *(x if math.isfinite(x) else None for x in row))
        for epoch, row in zip(ends.index, ends.to_numpy().tolist(), strict=True)
    ]
