"""Two configurations compared on what both have: the numbers that a claim is judged by.

Paired over seeds: same seed, same initial values, same order of images, so that what is left is what the
configurations do. The metric `seconds` is paired over epochs instead: the members of a pack are trained together and
share the clock, so their seeds are one measurement and not many.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import pandas as pd

from tracking.verdict.claims import AS_GOOD, BETTER, Claim
from tracking.verdict.statistics import Gains, interval, one_sided
from tracking.verdict.types import Comparison

SECONDS = "seconds"
_DIGITS = 12  # accuracies are fractions: ties must not be broken by the last bit of a difference
_ALIKE = 1e-6  # of the largest: what is smaller has digits of its own to lose


def values(rows: pd.DataFrame, claim: Claim) -> dict[int, float]:
    """The value per seed of one configuration, its mean over the claim's epochs; of `seconds`, the value per epoch.

    Empty where nothing was recorded in these epochs; NaN where one of them has no number.
    """
    first, last = window(rows, claim)
    kept = rows[(rows["epoch"] >= first) & (rows["epoch"] <= last)]
    means = kept.groupby("epoch" if claim.metric == SECONDS else "seed")[claim.metric].mean(skipna=False)
    return {int(str(key)): float(value) for key, value in means.items()}


def window(rows: pd.DataFrame, claim: Claim) -> tuple[int, int]:
    """The first and the last epoch that a claim is about, in one configuration's records."""
    last = int(rows["epoch"].max()) if len(rows) else 0
    if claim.metric == SECONDS:
        start = 1  # epoch 0 is before the first step: nothing is trained in it
    else:
        start = last if claim.until is None else 0
    return (start if claim.since is None else claim.since, last if claim.until is None else min(claim.until, last))


class Paired:
    """The differences of two configurations, pair -> value of `arm` and `against`, under a claim; what they show."""

    def __init__(self, claim: Claim, arm: dict[int, float], against: dict[int, float]) -> None:
        self.claim = claim
        self.pairs = tuple(sorted(arm.keys() & against.keys()))
        self.arm, self.against = (np.array([of[p] for p in self.pairs], dtype=np.float64) for of in (arm, against))
        self.gains = (self.arm - self.against) * (1 if claim.goal == "maximize" else -1)
        self.margins = claim.margin * (np.abs(self.against) if claim.relative else np.ones(len(self.pairs)))

    @property
    def decidable(self) -> bool:
        """Whether both have a finite number in every pair, and there is one."""
        return len(self.pairs) > 0 and bool(np.isfinite(self.gains).all())

    @property
    def threshold(self) -> float:
        """What the gain is held against, in the metric's unit: it has to be above this (its size below, if similar)."""
        margin = float(self.margins.mean())
        return -margin if self.claim.kind == AS_GOOD else margin

    @property
    def same(self) -> bool:
        """Whether there is no difference at all, in any pair."""
        return not np.any(self.gains)

    @property
    def one_clock(self) -> bool:
        """Whether these are the seconds of one pack, which are shared out equally: no two clocks agree to the bit."""
        return self.claim.metric == SECONDS and self.same

    @cached_property
    def _beyond(self) -> list[Gains]:
        """What has to be above 0 for the claim to hold: one array, or two where a difference has two bounds."""
        not_worse, better = self.gains + self.margins, self.gains - self.margins
        kinds = {BETTER: [better], AS_GOOD: [not_worse]}
        return [self._rounded(beyond) for beyond in kinds.get(self.claim.kind, [not_worse, self.margins - self.gains])]

    def _rounded(self, gains: Gains) -> Gains:
        sizes = np.maximum(np.maximum(np.abs(self.arm), np.abs(self.against)), self.margins)
        # A gradient of 1e9 on one seed must not make those of 1e-5 on the others nothing, and their pairs ties.
        return np.where(sizes > _ALIKE * sizes.max(), self._on_grid(gains), gains)

    def _on_grid(self, numbers: Gains) -> Gains:
        scale = float(max(np.abs(self.arm).max(), np.abs(self.against).max(), self.margins.max()))
        return np.round(numbers / scale, _DIGITS) * scale if scale else numbers

    @cached_property
    def p(self) -> tuple[float, float]:
        """One-sided p: of "the claim does not hold", and of "the claim holds"."""
        both = [one_sided(beyond) for beyond in self._beyond]
        # Two bounds: it holds within both (the larger p), and fails beyond either (the smaller, of two chances).
        return max(above for above, _ in both), min(1.0, len(both) * min(below for _, below in both))

    @cached_property
    def clear(self) -> tuple[bool, bool]:
        """Whether the bootstrap interval lies wholly where the claim holds; wholly where it does not."""
        ends = [interval(beyond) for beyond in self._beyond]
        holds = all(low is not None and low > 0 for low, _ in ends)
        return holds, any(high is not None and high < 0 for _, high in ends)

    def comparison(self, names: tuple[str, str], configurations: tuple[int, int]) -> Comparison:
        """As plain data, of a pair that is decidable."""
        low, high = interval(self.gains)
        if low is not None and high is not None:
            low, high = self._on_grid(np.array([low, high])).tolist()
        return Comparison(
            one=names[0],
            other=names[1],
            configurations=configurations,
            paired_over="epoch" if self.claim.metric == SECONDS else "seed",
            pairs=self.pairs,
            ones=tuple(self.arm.tolist()),
            others=tuple(self.against.tolist()),
            gains=tuple(self.gains.tolist()),
            gain=math.fsum(self.gains) / len(self.pairs),
            low=low,
            high=high,
        )
