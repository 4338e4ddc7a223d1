"""The statistics of paired differences: one number per pair, positive where the claim's arm is better.

One test and what follows from it: Wilcoxon's signed-rank test, the interval that inverts it, the estimate in its
middle, its joint form over several rivals, and the corrections for several claims.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracking.verdict.claims import SECONDS, Claim, named, parents

LEVEL = 0.05
_EXACT = 200  # pairs
_ENUMERATED = 14  # seeds whose sign patterns are all tried
_DRAWN = 2**14  # sign patterns, where not all are tried
_ALIKE = 1e-9  # sums of standardized ranks that differ by less are equal
_SKEWED = 1.0  # skewness from which on gains are no longer taken for symmetric
_DIGITS = 1e-12  # of the largest gain: what is added to an end of an interval that does not belong to it

Gains = NDArray[np.float64]
Ranks = NDArray[np.int64]


def signed_ranks(gains: Gains, error: Gains | float = 0.0) -> Ranks:
    """Twice the ranks of the gains' sizes, which are whole where ties share a half, with the gains' signs.

    Zeros are ranked and then count 0. They are not left out beforehand: with zeros left out, larger gains can have a
    larger p (J. W. Pratt, Remarks on zeros and ties in the Wilcoxon signed rank procedures, JASA 54, 1959). Gains that
    differ by no more than their `error` are equal.
    """
    sizes, errors = np.abs(gains), np.broadcast_to(np.asarray(error, dtype=np.float64), np.shape(gains))
    order = np.argsort(sizes, kind="stable")
    apart = np.diff(sizes[order]) > np.minimum(errors[order][1:], errors[order][:-1])
    group = np.concatenate([np.zeros(min(1, len(gains)), dtype=np.int64), np.cumsum(apart)])
    members = np.bincount(group)
    ranks = np.empty(len(gains), dtype=np.int64)
    ranks[order] = (2 * np.cumsum(members) - members + 1)[group]
    return np.where(sizes <= errors, 0, np.sign(gains).astype(np.int64) * ranks)


def one_sided(gains: Gains, error: Gains | float = 0.0) -> tuple[float, float]:
    """Wilcoxon's signed-rank test in both directions: p of "not above 0", p of "not below 0".

    Ties share their ranks, zeros are ranked and count neither way (`signed_ranks`), and the larger the gains, the
    smaller is p. (1, 1) where all are zero. Exact up to 200 pairs, with ties too; beyond, scipy's normal approximation
    with ties and continuity corrected.
    """
    ranks = signed_ranks(gains, error)
    if not ranks.any():
        return 1.0, 1.0
    if len(ranks) <= _EXACT:
        return _exact(ranks[ranks != 0])
    from scipy import stats

    above, below = (
        float(stats.wilcoxon(ranks, zero_method="pratt", method="asymptotic", correction=True, alternative=side).pvalue)
        for side in ("greater", "less")
    )
    return above, below


def _exact(ranks: Ranks) -> tuple[float, float]:
    """p from the distribution of the sum of positive ranks when each sign is a coin's.

    scipy's exact one knows no ties, and accuracies are counts of images: with gains of one size (1, 1, -1, ...) its
    approximation gives 0.018 for what is 0.029.
    """
    chances = np.ones(1)
    for rank in np.abs(ranks):
        without = np.concatenate([chances, np.zeros(rank)])
        without[rank:] += chances
        chances = without / 2
    seen = int(ranks[ranks > 0].sum())
    return min(1.0, float(chances[seen:].sum())), min(1.0, float(chances[: seen + 1].sum()))


def _walsh(gains: Gains) -> Gains:
    """The means of all pairs of gains, each also paired with itself, in order."""
    one, other = np.triu_indices(len(gains))
    return np.sort((gains[one] + gains[other]) / 2)


def hodges_lehmann(gains: Gains) -> float:
    """The estimate that goes with the signed-rank test: the median of the means of all pairs of gains."""
    return float(np.median(_walsh(gains)))


def interval(gains: Gains, error: Gains | float = 0.0) -> tuple[float | None, float | None]:
    """The 95% interval that inverts the signed-rank test; None where so few pairs refute nothing.

    It has the shifts that `one_sided` does not refute at 2.5%: `min(one_sided(gains - shift)) <= 0.025` exactly where
    `shift` lies outside. Its ends are means of pairs of gains (Walsh averages). At such a mean itself, pairs are tied
    or zero, and the test may refute it though it refutes nothing just inside; then it does not belong to the interval,
    whose end is moved inwards by a trillionth of the largest gain.
    """
    low, high = _low(gains, error), _low(-gains, error)
    return (low, -high) if low is not None and high is not None else (None, None)


def _low(gains: Gains, error: Gains | float) -> float | None:
    if least_p(len(gains)) > LEVEL:
        return None
    means = np.unique(_walsh(gains))
    # p changes at the means and is constant between them: a mean, the middle up to the next one, the next one ...
    between = (means[:-1] + means[1:]) / 2

    def kept(place: int) -> bool:
        shift = between[place // 2] if place % 2 else means[place // 2]
        return one_sided(gains - shift, error)[0] > LEVEL / 2

    first = bisect_left(range(2 * len(means) - 1), True, key=kept)
    mean = means[first // 2]
    if first % 2 == 0:
        return float(mean)
    return float(min(max(mean + _DIGITS * np.abs(gains).max(), np.nextafter(mean, np.inf)), between[first // 2]))


def tail(gains: Gains) -> int:
    """How many of the lowest gains make a tail against a positive answer; 0 where the gains are not skewed that way.

    Skewed is a sample skewness below -1; the tail is what lies farther below the estimate than anything lies above it.
    At -1, of confirmed answers 4.5, 2 and 0.3% are warned of without need at 8, 25 and 50 seeds of normal noise, and 6,
    17 and 18% of noise with heavy tails (Student's t, 3 degrees). Of those with a loss of 20 deviations on one seed in
    ten, 91% are warned of at 25 seeds and 99% at 50; at 8, 5%: in the others the loss was not seen.
    """
    if len(gains) < 3 or np.ptp(gains) <= _ALIKE * np.abs(gains).max():
        return 0
    from scipy import stats

    if stats.skew(gains) >= -_SKEWED:
        return 0
    middle = hodges_lehmann(gains)
    return max(1, int((middle - gains > (gains - middle).max()).sum()))


def max_t(gains: Gains, error: Gains | float = 0.0) -> tuple[float, float]:
    """Several rivals at once: p of "none is above 0", p of "none is below 0". `gains` are (rivals, seeds).

    The statistic is the largest, over the rivals, of the signed-rank sum divided by its standard deviation; where that
    is the same, the larger is the larger mean gain. Its distribution is that under flips of a seed's signs, of all
    rivals at once, so that what the rivals have in common counts once: a rival that is ahead on every seed, by more
    than others differ, has p = 2^-seeds however many they are (P. H. Westfall, S. S. Young, Resampling-based multiple
    testing, 1993). All sign patterns up to 14 seeds; beyond, 16,384 drawn with a fixed seed, with those seen counted
    as one more. Never less than the smallest p of a rival alone. NaN where a rival has no such seed.
    """
    errors = np.broadcast_to(np.asarray(error, dtype=np.float64), gains.shape)
    known = np.isfinite(gains)
    alone = [one_sided(own[kept], uncertain[kept]) for own, kept, uncertain in zip(gains, known, errors, strict=True)]
    if len(gains) == 1:
        return alone[0]
    ranks = np.zeros(gains.shape, dtype=np.int64)
    for of, own, kept, uncertain in zip(ranks, gains, known, errors, strict=True):
        of[kept] = signed_ranks(own[kept], uncertain[kept])
    if not ranks.any():
        return 1.0, 1.0
    standard = ranks / np.maximum(np.sqrt((ranks**2).sum(axis=1, keepdims=True)), 1)
    sizes = np.where(known, gains, 0.0) / known.sum(axis=1, keepdims=True)
    as_seen = np.ones((gains.shape[1], 1))
    seen = [_largest(standard, sizes, side * as_seen) for side in (1, -1)]
    signs = _signs(gains.shape[1])
    sums, means = _largest(standard, sizes, signs)
    drawn = gains.shape[1] > _ENUMERATED
    ps = []
    for (own_sum, own_mean), smallest in zip(seen, map(min, zip(*alone, strict=True)), strict=True):
        tied = (sums >= own_sum - _ALIKE) & (means >= own_mean - _ALIKE * np.abs(own_mean))
        as_extreme = int(((sums > own_sum + _ALIKE) | tied).sum())
        ps.append(max(smallest, (as_extreme + drawn) / (signs.shape[1] + drawn)))
    return ps[0], ps[1]


def _largest(standard: Gains, sizes: Gains, signs: Gains) -> tuple[Gains, Gains]:
    """The largest sum of signed ranks over the rivals for each pattern of signs, and the largest mean that it has."""
    sums = standard @ signs
    largest = sums.max(axis=0)
    return largest, np.where(sums >= largest - _ALIKE, sizes @ signs, -np.inf).max(axis=0)


@lru_cache(maxsize=4)
def _signs(seeds: int) -> Gains:
    """Sign patterns as (seeds, patterns)."""
    if seeds <= _ENUMERATED:
        return np.array([*itertools.product((1.0, -1.0), repeat=seeds)]).T
    return np.random.default_rng(0).choice(np.array([1.0, -1.0]), (seeds, _DRAWN))


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


def adjusted(ps: Sequence[float], parents: Sequence[int | None]) -> tuple[float, ...]:
    """Holm's correction where some are tested only once another one, their parent's index, is refuted.

    Those without a parent share the level equally. What is refuted passes its share on: to those that come after it,
    equally, and else to those without a parent. So no share is lost, the probability of any error stays that of Holm's
    correction, and without parents the p are Holm's. (F. Bretz, W. Maurer, W. Brannath, M. Posch, A graphical approach
    to sequentially rejective multiple test procedures, Statistics in Medicine 28 (2009), algorithm 1.)
    """
    roots = [i for i, parent in enumerate(parents) if parent is None]
    if len(roots) == len(ps):
        return holm(ps)
    after = {i: [j for j, parent in enumerate(parents) if parent == i] for i in range(len(ps))}
    share = {i: Fraction(parents[i] is None, max(1, len(roots))) for i in after}
    passes = {}
    for i, children in after.items():
        heirs = children or [root for root in roots if root != i]
        passes[i] = {j: Fraction(1, len(heirs)) for j in heirs}
    result, least = [1.0] * len(ps), 0.0
    while open_ := [i for i, own in share.items() if own]:
        # By the inverse, which is whole where all shares are equal: to the bit what Holm's factor gives.
        first = min(open_, key=lambda i: float(1 / share[i]) * ps[i])
        result[first] = least = max(least, min(1.0, float(1 / share[first]) * ps[first]))
        own, heirs_of = share.pop(first), passes.pop(first)
        for i in share:
            share[i] += own * heirs_of.get(i, 0)
            through, back = passes[i].pop(first, Fraction(0)), heirs_of.get(i, Fraction(0))
            if through and through * back < 1:
                for j, part in heirs_of.items():
                    if j != i:
                        passes[i][j] = passes[i].get(j, Fraction(0)) + through * part
                passes[i] = {j: part / (1 - through * back) for j, part in passes[i].items()}
    return tuple(result)


def least_p(pairs: int, claims: int = 1) -> float:
    """The smallest two-sided p that so many pairs can give, corrected for so many claims."""
    return min(1.0, claims * 2.0 ** (1 - pairs))


def pairs_needed(claims: int = 1) -> int:
    """The fewest pairs with which one of so many claims can be decided at all: 6 for one."""
    return next(n for n in range(1, 100) if least_p(n, claims) <= LEVEL)


def undecidable(claims: Sequence[Claim], seeds: int) -> dict[str, int]:
    """The names of the claims that so few seeds can't decide, whatever comes out, and the fewest seeds that could.

    A claim against the best counts as one, however many rivals there are. Claims of `seconds`, which are paired over
    epochs, are left out, and taken to be confirmed before the others.
    """
    above = parents(claims)

    def least(pairs: int) -> tuple[float, ...]:
        ps = [0.0 if claim.metric == SECONDS else least_p(pairs) for claim in claims]
        return tuple(map(min, adjusted(ps, above), holm(ps)))

    missing = [i for i, p in enumerate(least(seeds)) if p > LEVEL]
    needed = {i: next(n for n in itertools.count(seeds + 1) if least(n)[i] <= LEVEL) for i in missing}
    return {named(claims[i]).name: n for i, n in needed.items()}
