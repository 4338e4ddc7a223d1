"""The statistics of paired differences: one number per pair, positive where the claim's arm is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.05
_EXACT = 200

Gains = NDArray[np.float64]


def interval(gains: Gains) -> tuple[float | None, float | None]:
    """The 95% percentile bootstrap interval of the mean; None with fewer than two. The same numbers give the same."""
    if len(gains) < 2:
        return None, None
    resampled = stats.bootstrap(
        (gains,), np.mean, confidence_level=1 - LEVEL, method="percentile", rng=np.random.default_rng(0)
    )
    low, high = resampled.confidence_interval
    return float(low), float(high)


def one_sided(gains: Gains) -> tuple[float, float]:
    """Wilcoxon's signed rank test in both directions: p of "not above 0", p of "not below 0".

    Zeros are left out; (1, 1) where nothing is left. Exact up to 200 pairs, with ties too; beyond, the normal
    approximation with ties and continuity corrected.
    """
    kept = gains[gains != 0]
    if not len(kept):
        return 1.0, 1.0
    if len(kept) <= _EXACT:
        return _exact(kept)
    above, below = (
        float(stats.wilcoxon(kept, method="asymptotic", correction=True, alternative=side).pvalue)
        for side in ("greater", "less")
    )
    return above, below


def _exact(kept: Gains) -> tuple[float, float]:
    """p from the distribution of the sum of positive ranks when each sign is a coin's.

    scipy's exact one knows no ties, and accuracies are counts of images: with gains of one size (1, 1, -1, ...) its
    approximation gives 0.018 for what is 0.029.
    """
    # Twice the ranks, which are whole where ties share a half.
    ranks = np.rint(2 * stats.rankdata(np.abs(kept))).astype(np.int64)
    chances = np.ones(1)
    for rank in ranks:
        without = np.concatenate([chances, np.zeros(rank)])
        without[rank:] += chances
        chances = without / 2
    seen = int(ranks[kept > 0].sum())
    return min(1.0, float(chances[seen:].sum())), min(1.0, float(chances[: seen + 1].sum()))


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction, as adjusted p in the order given: scipy has none that controls the family-wise rate.

    S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6 (1979).
    """
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted, least = [1.0] * len(ps), 0.0
    for place, i in enumerate(order):
        least = max(least, min(1.0, (len(ps) - place) * ps[i]))
        adjusted[i] = least
    return tuple(adjusted)


def least_p(pairs: int, claims: int = 1) -> float:
    """The smallest two-sided p that so many pairs can give, corrected for so many claims."""
    return min(1.0, claims * 2.0 ** (1 - pairs))


def pairs_needed(claims: int = 1) -> int:
    """The fewest pairs with which one of so many claims can be decided at all: 6 for one."""
    return next(n for n in range(1, 100) if least_p(n, claims) <= LEVEL)
