"""The statistics of paired differences: one number a seed, positive where the claim is better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.05
_RESAMPLES = 9_999
# 2^13 sign patterns are few enough to go through where ties leave no closed form.
_ENUMERATED = 13
_EXACT = 50

Gains = NDArray[np.float64]


def interval(gains: Gains) -> tuple[float | None, float | None]:
    """The 95% percentile bootstrap interval of the mean; None with fewer than two. The same numbers give the same."""
    if len(gains) < 2:
        return None, None
    found = stats.bootstrap(
        (gains,),
        np.mean,
        confidence_level=1 - LEVEL,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def wilcoxon(gains: Gains) -> float | None:
    """The two-sided p of the signed rank test, exact where it can be; zeros are left out, 1 where nothing is left."""
    if not len(gains):
        return None
    # Accuracies are fractions: without this, ties would be broken by the last bit of a difference.
    rounded = np.round(gains, 12)
    rounded = rounded[rounded != 0]
    if not len(rounded):
        return 1.0
    tied = len(np.unique(np.abs(rounded))) < len(rounded)
    if tied and len(rounded) <= _ENUMERATED:
        method: str | stats.PermutationMethod = stats.PermutationMethod(n_resamples=2**_ENUMERATED)
    else:
        method = "approx" if tied or len(rounded) > _EXACT else "exact"
    return float(stats.wilcoxon(rounded, method=method).pvalue)


def least_p(seeds: int) -> float | None:
    """The smallest p that the test can give with so many seeds: all on one side is 2 of 2^n sign patterns."""
    return min(1.0, 2.0 ** (1 - seeds)) if seeds else None


def seeds_needed(level: float = LEVEL) -> int:
    """The fewest seeds with which the test can be significant at all: 6 at 5%."""
    return next(n for n in range(1, 100) if 2.0 ** (1 - n) <= level)
