"""The statistics, against scipy, against every sign pattern, and against arithmetic by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tracking.verdict.claims import SECONDS, Claim
from tracking.verdict.statistics import (
    adjusted,
    hodges_lehmann,
    holm,
    interval,
    least_p,
    max_t,
    one_sided,
    pairs_needed,
    undecidable,
)

GAINS = np.array([0.10, 0.11, 0.09, 0.12, 0.13, 0.08, 0.14, 0.07])


def by_enumeration(gains: np.ndarray) -> float:
    """p of "not above 0" by all sign patterns of the ranks, of which those of zeros are left out: the definition."""
    ranks = stats.rankdata(np.abs(gains))[gains != 0]
    seen = ranks[gains[gains != 0] > 0].sum()
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    return float(np.mean(np.array(sums) >= seen - 1e-9))


def test_both_directions_are_scipys() -> None:
    above, below = one_sided(GAINS)
    assert above == stats.wilcoxon(GAINS, method="exact", alternative="greater").pvalue == 1 / 2**8
    assert below == stats.wilcoxon(GAINS, method="exact", alternative="less").pvalue == 1.0
    assert one_sided(-GAINS) == (below, above)


def test_a_textbook_case() -> None:
    # Darwin's 15 pairs of maize (Fisher, The Design of Experiments): the positive ranks add up to 96 of 120.
    darwin = np.array([49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])
    assert 2 * one_sided(darwin)[0] == pytest.approx(0.0413, abs=5e-5)
    # By R: wilcox.test(darwin, conf.int = TRUE, exact = TRUE) has the 26th smallest and largest of 120 Walsh averages.
    walsh = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(darwin, 2))
    assert interval(darwin) == (walsh[25], walsh[-26])
    assert hodges_lehmann(darwin) == (walsh[59] + walsh[60]) / 2


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
    many = np.round(np.random.default_rng(0).normal(0.1, 1.0, 400), 1)
    options = {"method": "asymptotic", "zero_method": "pratt", "correction": True, "alternative": "greater"}
    assert one_sided(many)[0] == stats.wilcoxon(many, **options).pvalue


FEW = st.lists(st.integers(-4, 9), min_size=1, max_size=13)


@given(FEW, st.integers(-12, 24))
@settings(deadline=None)
def test_the_interval_is_what_the_test_does_not_refute(gains: list[int], halves: int) -> None:
    """At half numbers lie the means of pairs of whole gains, where pairs are tied or zero."""
    array = np.array(gains, dtype=float)
    low, high = interval(array)
    for shift in (halves / 2, halves / 2 + 1 / 8):
        refuted = 2 * min(one_sided(array - shift)) <= 0.05
        assert refuted == (low is not None and high is not None and not low <= shift <= high)
    if low is not None and high is not None:
        assert low <= hodges_lehmann(array) <= high
        assert interval(-array) == (-high, -low)


@given(FEW, st.integers(1, 8))
@settings(deadline=None)
def test_larger_gains_never_have_a_larger_p(gains: list[int], more: int) -> None:
    """It is this that zeros left out before the ranking would break."""
    array = np.array(gains, dtype=float)
    assert one_sided(array + more / 2)[0] <= one_sided(array)[0] + 1e-15


def test_what_differs_by_an_error_is_equal() -> None:
    exact = np.array([3.0, -3, 5, 5, 0, 7, 9, 2])
    noisy = exact + 1e-13 * np.arange(8)
    assert one_sided(noisy, 1e-12) == one_sided(exact) != one_sided(noisy)
    assert interval(noisy, 1e-12) == pytest.approx(interval(exact))


def test_one_rival_is_the_signed_rank_test() -> None:
    for n in (5, 14, 25):
        gains = np.random.default_rng(n).normal(0.5, 1.0, n).round(1)
        assert max_t(gains[None]) == one_sided(gains)
        # Rivals that are the same one are one: what they have in common counts once.
        twice = max_t(np.stack([gains, 2 * gains, gains]))
        assert twice == pytest.approx(one_sided(gains), abs=0.0 if n <= 14 else 0.02)


def test_several_rivals_by_enumeration() -> None:
    gains = np.random.default_rng(3).normal(0.5, 1.0, (4, 8)).round(1)
    ranks = stats.rankdata(np.abs(gains), axis=1) * np.sign(gains)
    z = ranks / np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    largest = [(z * signs).sum(axis=1).max() for signs in itertools.product((1, -1), repeat=8)]
    above, below = max_t(gains)
    assert above == np.mean(np.array(largest) >= z.sum(axis=1).max() - 1e-9)
    assert below == np.mean(np.array(largest) >= (-z.sum(axis=1)).max() - 1e-9)
    assert max_t(-gains) == (below, above)


def test_of_rivals_ahead_on_every_seed_the_larger_mean_counts() -> None:
    """Every rival has the largest sum of ranks under the signs that are its own."""
    noise = np.random.default_rng(0).normal(0, 0.01, (20, 8))
    assert max_t(np.vstack([noise, np.linspace(0.6, 0.8, 8)]))[0] == 1 / 2**8
    assert max_t(np.vstack([noise, np.linspace(1, 2, 8) / 1e5]))[0] == 21 / 2**8


def test_rivals_do_not_raise_the_least_p() -> None:
    rivals = np.arange(1.0, 9) * np.linspace(0.1, 1, 30)[:, None]
    assert max_t(-rivals) == (1.0, 1 / 2**8)
    assert max_t(np.zeros((3, 8))) == (1.0, 1.0)
    missing = rivals.copy()
    missing[3, 5:] = np.nan
    assert max_t(missing)[0] == 1 / 2**8


def test_little_shows_little() -> None:
    assert one_sided(np.zeros(5)) == one_sided(np.array([])) == (1.0, 1.0)
    assert interval(np.array([0.1])) == interval(np.arange(1.0, 6)) == (None, None)
    assert interval(np.arange(1.0, 7)) == (1.0, 6.0)
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


@given(st.lists(st.floats(0, 1), max_size=8))
def test_without_an_order_the_correction_is_holms_to_the_bit(ps: list[float]) -> None:
    assert adjusted(ps, [None] * len(ps)) == holm(ps)
    # One that can't be refuted and has nothing after it keeps its share: the graph itself, beside Holm's formula.
    if ps:
        hopeless = adjusted([*ps, 1.0, 1.0], [*[None] * (len(ps) + 1), len(ps)])
        assert hopeless[:-2] == holm([*ps, 1.0])[:-1] and hopeless[-1] == 1.0


def test_a_claim_after_another_takes_over_its_share() -> None:
    # By hand. Each of two has half; the second of a chain inherits that, and what is left goes to the others.
    assert adjusted([0.01, 0.02], [None, 0]) == (0.01, 0.02)
    assert adjusted([0.01, 0.02, 0.04], [None, 0, None]) == (0.02, 0.04, 0.04)
    assert adjusted([0.2, 0.0, 0.04], [None, 0, None]) == (0.2, 0.2, 0.08)
    assert adjusted([0.01, 0.01, 0.03], [None, 0, 0]) == (0.01, 0.02, 0.03)
    assert adjusted([1.0, 0.0, 0.0], [None, 0, 1]) == (1.0, 1.0, 1.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(-1, 7)), min_size=1, max_size=8))
def test_no_claim_is_refuted_before_the_one_it_comes_after(claims: list[tuple[float, int]]) -> None:
    ps = [p for p, _ in claims]
    above = [parent if 0 <= parent < i else None for i, (_, parent) in enumerate(claims)]
    result = adjusted(ps, above)
    for i, parent in enumerate(above):
        assert ps[i] <= result[i] <= 1.0
        assert parent is None or result[i] >= result[parent]


def test_an_order_of_claims_keeps_the_rate_of_any_error() -> None:
    """Where all is chance, one sweep in twenty has an error, whatever comes after what."""
    random = np.random.default_rng(0)
    above = [None, 0, 0, None, 3, 4]
    errors = np.mean([min(adjusted(random.random(6).tolist(), above)) <= 0.05 for _ in range(4000)])
    assert stats.binom.ppf(0.001, 4000, 0.045) / 4000 < errors <= stats.binom.ppf(0.999, 4000, 0.05) / 4000


def test_which_claims_so_few_seeds_cannot_decide() -> None:
    def claims(*after: str, metric: str = "train.loss") -> list[Claim]:
        return [Claim("better", "a", "b", metric, name=f"c{i}", after=name) for i, name in enumerate(after)]

    assert undecidable(claims(""), 5) == {"c0": 6} and undecidable(claims(""), 6) == {}
    assert undecidable(claims("", "", ""), 6) == {"c0": 7, "c1": 7, "c2": 7}
    assert undecidable(claims("", "c0", "c1"), 6) == {} and undecidable(claims("", "c0", "c0"), 6) == {"c1": 7, "c2": 7}
    assert undecidable([*claims(""), *claims("", metric=SECONDS)], 5) == {"c0": 6}
    with pytest.raises(ValueError, match="comes after 'c9', which is no claim"):
        undecidable(claims("", "c9"), 6)
    with pytest.raises(ValueError, match="in a circle"):
        undecidable(claims("c1", "c0"), 6)
