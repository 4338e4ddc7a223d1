"""The statistics, against scipy, against every sign pattern, and against arithmetic by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tracking.verdict.statistics import holm, interval, least_p, one_sided, pairs_needed

GAINS = np.array([0.10, 0.11, 0.09, 0.12, 0.13, 0.08, 0.14, 0.07])


def by_enumeration(gains: np.ndarray) -> float:
    """p of "not above 0" by all sign patterns of the ranks: the definition."""
    kept = gains[gains != 0]
    ranks = stats.rankdata(np.abs(kept))
    seen = ranks[kept > 0].sum()
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    return float(np.mean(np.array(sums) >= seen - 1e-9))


def test_both_directions_are_scipys() -> None:
    above, below = one_sided(GAINS)
    assert above == stats.wilcoxon(GAINS, method="exact", alternative="greater").pvalue == 1 / 2**8
    assert below == stats.wilcoxon(GAINS, method="exact", alternative="less").pvalue == 1.0
    assert one_sided(-GAINS) == (below, above)
    result = stats.bootstrap((GAINS,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    assert interval(GAINS) == (result.low, result.high) == interval(GAINS)


def test_a_textbook_case() -> None:
    # Darwin's 15 pairs of maize (Fisher, The Design of Experiments): the positive ranks add up to 96 of 120.
    darwin = np.array([49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
    assert 2 * one_sided(darwin)[0] == pytest.approx(0.0413, abs=5e-5)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
@settings(deadline=None, max_examples=25)
def test_ties_and_zeros_by_enumeration(gains: list[int]) -> None:
    array = np.array(gains, dtype=float)
    expected = by_enumeration(array) if array.any() else 1.0
    assert one_sided(array)[0] == pytest.approx(expected)
    assert one_sided(-array)[1] == pytest.approx(expected)


@pytest.mark.parametrize("pairs", [14, 16, 25, 60, 150])
def test_gains_of_one_size_are_a_sign_test(pairs: int) -> None:
    """Accuracies are counts of images: with few images, or small differences, most gains are one image."""
    for more in range(pairs // 2, pairs + 1):
        gains = np.repeat([1 / 143, -1 / 143], [more, pairs - more])
        assert one_sided(gains)[0] == pytest.approx(stats.binom.sf(more - 1, pairs, 0.5), rel=1e-9)
        assert one_sided(gains)[1] == pytest.approx(stats.binom.cdf(more, pairs, 0.5), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_many_ties_of_more_pairs_by_enumeration(seed: int) -> None:
    gains = np.round(np.random.default_rng(seed).normal(0.6, 1.0, 15), 0)
    assert one_sided(gains)[0] == pytest.approx(by_enumeration(gains))


def test_without_ties_more_pairs_are_scipys_too() -> None:
    gains = np.random.default_rng(0).normal(0.1, 1.0, 150)
    assert one_sided(gains)[0] == pytest.approx(stats.wilcoxon(gains, method="exact", alternative="greater").pvalue)
    many = np.random.default_rng(0).normal(0.1, 1.0, 400)
    expected = stats.wilcoxon(many, method="asymptotic", correction=True, alternative="greater").pvalue
    assert one_sided(many)[0] == expected


def test_little_shows_little() -> None:
    assert one_sided(np.zeros(5)) == one_sided(np.array([])) == (1.0, 1.0)
    assert interval(np.array([0.1])) == (None, None)
    assert (least_p(3), least_p(6), least_p(7, 2), least_p(0)) == (0.25, 0.03125, 0.03125, 1.0)
    assert [pairs_needed(claims) for claims in (1, 2, 5, 10)] == [6, 7, 8, 9]
    for claims in (1, 2, 5, 10):
        enough = np.arange(1.0, pairs_needed(claims) + 1)
        assert 2 * claims * one_sided(enough)[0] <= 0.05 < 2 * claims * one_sided(enough[:-1])[0]


def test_holm() -> None:
    # By hand: 4 * 0.005, 3 * 0.01, then 2 * 0.03, and the last is not below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.7]) == (1.0, 1.0) and holm([]) == () and holm([0.03]) == (0.03,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferronis(ps: list[float]) -> None:
    result = holm(ps)
    assert all(p <= f <= min(1.0, len(ps) * p) + 1e-12 for p, f in zip(ps, result, strict=True))
    assert sorted(range(len(ps)), key=ps.__getitem__) == sorted(range(len(ps)), key=lambda i: (result[i], ps[i], i))
