"""When the seeds of two arms took off: for outcomes in two clusters, between which a mean says little.

A seed takes off at the first epoch after which its accuracy is more than ABOVE over chance, the median of all the
sweep's seeds before their first step. Where some seeds learn and some never do, the mean is where no seed is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tracking.verdict.types import ClaimVerdict, TakeOff

ABOVE = 0.05


def take_offs(frame: pd.DataFrame, claims: Iterable[ClaimVerdict]) -> tuple[TakeOff, ...]:
    """Of the two arms of each claim about an accuracy, each two once; those of which some seeds took off and some not.

    `frame` has all of the sweep's records.
    """
    found: dict[tuple[str, frozenset[int]], TakeOff] = {}
    for claim in claims:
        if claim.comparison and claim.metric.endswith("accuracy"):
            key = claim.metric, frozenset(claim.comparison.configurations)
            if key not in found:
                found[key] = _take_off(frame, claim)
    return tuple(t for t in found.values() if 0 < sum(t.took_off) < 2 * len(t.seeds))


def _take_off(frame: pd.DataFrame, claim: ClaimVerdict) -> TakeOff:
    comparison = claim.comparison
    assert comparison is not None
    chance = float(frame.loc[frame["epoch"] == 0, claim.metric].median())
    arms = [frame[frame["configuration"] == number] for number in comparison.configurations]
    # An arm that was trained for longer would have had more time.
    last = min(int(rows["epoch"].max()) for rows in arms)
    ones, others = (_epochs(rows[rows["epoch"] <= last], claim.metric, chance, comparison.pairs) for rows in arms)
    earlier = sum(one < other for one, other in zip(ones, others, strict=True))
    later = sum(one > other for one, other in zip(ones, others, strict=True))
    return TakeOff(
        comparison.one,
        comparison.other,
        claim.metric,
        chance,
        last,
        comparison.pairs,
        (_known(ones), _known(others)),
        (sum(map(math.isfinite, ones)), sum(map(math.isfinite, others))),
        (_median(ones), _median(others)),
        earlier,
        later,
        _sign_test(earlier, later),
    )


def _epochs(rows: pd.DataFrame, metric: str, chance: float, seeds: Sequence[int]) -> list[float]:
    """When each seed took off; infinity where it did not."""
    # Before the first step nothing is learned: what is above chance there is luck.
    above = rows[(rows["epoch"] > 0) & (rows[metric] > chance + ABOVE)]
    return above.groupby("seed")["epoch"].min().reindex(list(seeds)).fillna(math.inf).tolist()


def _known(epochs: Sequence[float]) -> tuple[int | None, ...]:
    return tuple(int(epoch) if math.isfinite(epoch) else None for epoch in epochs)


def _median(epochs: Sequence[float]) -> int | None:
    """The first epoch by which half have taken off: Kaplan and Meier's, since all are watched up to the same epoch."""
    return _known([float(np.quantile(epochs, 0.5, method="inverted_cdf"))])[0]


def _sign_test(earlier: int, later: int) -> float | None:
    """Two-sided; None where no two differ."""
    from scipy import stats

    return float(stats.binomtest(earlier, earlier + later).pvalue) if earlier + later else None
