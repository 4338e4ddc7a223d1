"""Two configurations compared on what both have: the numbers that a claim is judged by.

Paired over seeds: same seed, same initial values, same order of images, so that what is left is what the
configurations do. The metric `seconds` is paired over epochs instead: the members of a pack are trained together and
share the clock, so their seeds are one measurement and not many.

On the log scale a seed's value is the mean of the logs over its epochs, and a gain the log of a ratio. A size of 0 has
no log: it counts as the smallest positive float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tracking.results import per_seed
from tracking.verdict.claims import AS_GOOD, BETTER, SECONDS, SIMILAR, Claim
from tracking.verdict.statistics import Gains, hodges_lehmann, interval, one_sided
from tracking.verdict.types import Comparison
from trainers.objectives import LAST, Near

SMALLEST = 2.0**-149  # the smallest positive float32
_LARGEST = 700.0  # the log of the largest ratio that is shown
_DIGITS = 1e-12  # of a value: accuracies are fractions, and ties must not be broken by the last bit of a difference


@dataclass(frozen=True)
class Values:
    """A configuration's value per seed (of `seconds`, per epoch), NaN where an epoch that counts has no number.

    On the log scale `zeros` and `negative` are those of the seeds with such a number among the metric's.
    """

    of: pd.Series[float]
    zeros: frozenset[int] = frozenset()
    negative: frozenset[int] = frozenset()


def window(rows: pd.DataFrame, claim: Claim) -> tuple[int, int]:
    """The first and the last epoch that a claim is about, in one configuration's records."""
    last = int(rows["epoch"].max())
    if claim.metric == SECONDS:
        start = 1  # epoch 0 is before the first step: nothing is trained in it
    else:
        start = last if claim.until is None else 0
    return (start if claim.since is None else claim.since, last if claim.until is None else min(claim.until, last))


def values(rows: pd.DataFrame, claim: Claim) -> Values:
    """The part of a configuration's records that a claim compares, as one value per seed."""
    if claim.epoch == LAST:
        rows = rows[rows["epoch"].between(*window(rows, claim))]
    if not claim.log:
        return Values(_per_pair(rows, claim))
    sizes = rows[claim.metric]
    logs = np.log(np.maximum(sizes.where(sizes >= 0), SMALLEST))
    by_pair = _per_pair(rows.assign(**{claim.metric: logs}), claim)
    # A zero counts only if it enters the seed's value: its best epoch may be another one.
    floor = rows[_paired_over(claim)][sizes < SMALLEST]
    at_floor = by_pair.index[np.isclose(by_pair, math.log(SMALLEST))]
    zeros = frozenset(floor if claim.epoch.how != "best" else at_floor)
    return Values(by_pair, zeros, frozenset(rows[_paired_over(claim)][sizes < 0]))


def _per_pair(rows: pd.DataFrame, claim: Claim) -> pd.Series[float]:
    if claim.epoch != LAST:
        return per_seed(rows, claim.objective).droplevel("configuration")
    scores = rows[claim.metric].map(claim.objective.score) if isinstance(claim.goal, Near) else rows[claim.metric]
    return scores.groupby(rows[_paired_over(claim)]).mean(skipna=False)


def _paired_over(claim: Claim) -> str:
    return "epoch" if claim.metric == SECONDS else "seed"


class Paired:
    """Two configurations (number, name, `values`) under a claim, value by value of what both have (`pairs`).

    `gains` are the differences, on the log scale those of logs, positive where `arm` is better; `worse` and `better`
    are the gains that are the margin, in the two directions. Pairs are `decidable` where there are some, and all are
    finite; `same` where there is no difference at all in any.
    """

    def __init__(self, claim: Claim, *sides: tuple[int, str, Values]) -> None:
        self.claim, self.paired_over = claim, _paired_over(claim)
        self.configurations, self.names, self.values = zip(*sides, strict=True)
        arm, against = (values.of for values in self.values)
        common = arm.index.intersection(against.index).sort_values()
        self.pairs: tuple[int, ...] = tuple(common.tolist())
        self.arm, self.against = (of[common].to_numpy(dtype=np.float64) for of in (arm, against))
        self.gains = (self.arm - self.against) * claim.sign
        self.worse, self.better = self._margins()
        self.decidable = len(self.pairs) > 0 and bool(np.isfinite(self.gains).all())
        self.same = not np.any(self.gains)

    def _margins(self) -> tuple[Gains, Gains]:
        claim, ones = self.claim, np.ones(len(self.pairs))
        if not claim.log:
            margins = claim.margin * (np.abs(self.against) if claim.relative else ones)
            return -margins, margins
        lower, higher = (math.log(max(ratio, SMALLEST)) for ratio in claim.ratios)
        return (lower * ones, higher * ones) if claim.sign > 0 else (-higher * ones, -lower * ones)

    def flaw(self, epochs: str) -> str:
        """Why these pairs decide nothing; nothing where they can."""
        metric, all_pairs = self.claim.metric, len(self.pairs)
        if not self.pairs:
            return f"the two have no value of {metric} in common {epochs}"
        # The seconds of one pack are shared out equally: no two clocks agree to the bit.
        if metric == SECONDS and self.same:
            return "both were trained in one pack and share its clock; set resources.pack to 1"
        negative = self._of_pairs(*(values.negative for values in self.values))
        if negative:
            return f"{metric} is below 0 for {negative} of {all_pairs} pairs: compare it with scale: linear"
        missing = int((~np.isfinite(self.gains)).sum())
        return f"{metric} is not finite for {missing} of {all_pairs} pairs" if missing else ""

    def _of_pairs(self, *of: frozenset[int]) -> int:
        return len(frozenset().union(*of).intersection(self.pairs))

    @property
    def zeros(self) -> list[tuple[str, int]]:
        """On the log scale: which of the two has zeros, and on how many seeds."""
        found = [(str(name), self._of_pairs(of.zeros)) for name, of in zip(self.names, self.values, strict=True)]
        return [(name, amount) for name, amount in found if amount]

    @cached_property
    def errors(self) -> Gains:
        """How exact each gain is."""
        sizes = np.maximum(np.maximum(np.abs(self.arm), np.abs(self.against)), 1 if self.claim.log else self.better)
        return np.asarray(_DIGITS * sizes)

    @cached_property
    def beyond(self) -> list[Gains]:
        """What has to be above 0 for the claim to hold: one array, or two where a difference has two bounds."""
        not_worse, better = self.gains - self.worse, self.gains - self.better
        return {BETTER: [better], AS_GOOD: [not_worse], SIMILAR: [not_worse, -better]}[self.claim.kind]

    @cached_property
    def p(self) -> tuple[float, float]:
        """One-sided p: of "the claim does not hold", and of "the claim holds"."""
        above, below = zip(*(one_sided(beyond, self.errors) for beyond in self.beyond), strict=True)
        # Two bounds: it holds within both (the larger p), and fails beyond either (the smaller, of two chances).
        return max(above), min(1.0, len(below) * min(below))

    @property
    def threshold(self) -> float:
        """What the gain has to be above, on the log scale as a ratio; of "similar" the upper bound."""
        lower, higher = self.claim.ratios
        if not self.claim.log:
            return float((self.worse if self.claim.kind == AS_GOOD else self.better).mean())
        return lower if (self.claim.kind, self.claim.sign) in ((AS_GOOD, 1), (BETTER, -1)) else higher

    def comparison(self) -> Comparison:
        """As plain data, of a pair that is decidable."""
        (low, high), sign, log = self._interval(), self.claim.sign, self.claim.log
        shown = [hodges_lehmann(self.gains), low, high]
        ones, others = self.arm, self.against
        if log:
            ones, others = np.exp(ones), np.exp(others)
            shown = [None if gain is None else math.exp(min(sign * gain, _LARGEST)) for gain in shown]
        gain, *ends = shown
        low, high = ends[::sign] if log else ends
        (one, other), of_pairs = self.names, (self.configurations, self.paired_over, self.pairs)
        first, second, gains = (tuple(of.tolist()) for of in (ones, others, self.gains))
        scale = "log" if log else "linear"
        return Comparison(one, other, *of_pairs, first, second, gains, gain, low, high, scale)

    def _interval(self) -> tuple[float | None, float | None]:
        """The interval of the gains that the tests of the claim's bounds invert."""
        if not np.ptp(self.better):
            return interval(self.gains, self.errors)
        lower = self.better if self.claim.kind == BETTER else self.worse
        upper = self.worse if self.claim.kind == AS_GOOD else self.better
        # Margins that are a fraction of each value: around what they are on average.
        low, high = (interval(self.gains - bound, self.errors)[i] for i, bound in enumerate((lower, upper)))
        if low is None or high is None:
            return None, None
        return low + float(lower.mean()), high + float(upper.mean())
