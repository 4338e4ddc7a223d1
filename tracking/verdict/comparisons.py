"""Two configurations held against each other, on what both have: the numbers that a claim is judged by.

Paired over seeds: same seed, same initial values, same order of images, so that what is left is what the
configurations do. The metric `seconds` is paired over epochs instead: the members of a pack are trained together and
share the clock, so their seeds are one measurement and not many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tracking.verdict.claims import AS_GOOD, BETTER, Claim
from tracking.verdict.statistics import Gains, interval, one_sided

SECONDS = "seconds"
_DIGITS = 12  # accuracies are fractions: ties must not be broken by the last bit of a difference
_ALIKE = 1e-6  # of the largest: what is smaller has digits of its own to lose


@dataclass(frozen=True)
class Comparison:
    """Two configurations under one claim; all differences are positive where `one` is better.

    `ones` and `others` are the two values of each of `pairs` (seeds, or epochs where `paired_over` says so), `gains`
    their differences, `gain` the mean of these, and `low` to `high` its 95% bootstrap interval.
    """

    one: str
    other: str
    configurations: tuple[int, int]
    paired_over: str
    pairs: tuple[int, ...]
    ones: tuple[float, ...]
    others: tuple[float, ...]
    gains: tuple[float, ...]
    gain: float | None
    low: float | None
    high: float | None


def values(rows: pd.DataFrame, claim: Claim) -> dict[int, float]:
    """The value of each seed of one configuration: its mean over the claim's epochs. Of `seconds`: of each epoch.

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
    """The differences of two configurations, `one` and `other` pair -> value, under a claim; and what they show."""

    def __init__(self, claim: Claim, one: dict[int, float], other: dict[int, float]) -> None:
        self.claim = claim
        self.pairs = tuple(sorted(one.keys() & other.keys()))
        self.ones, self.others = (np.array([of[pair] for pair in self.pairs], dtype=np.float64) for of in (one, other))
        self.gains = (self.ones - self.others) * (1 if claim.goal == "maximize" else -1)
        self.margins = claim.margin * (np.abs(self.others) if claim.relative else np.ones(len(self.pairs)))

    @property
    def decidable(self) -> bool:
        """Whether both have a finite number in every pair, and there is one."""
        return len(self.pairs) > 0 and bool(np.isfinite(self.gains).all())

    @property
    def threshold(self) -> float | None:
        """What the gain is held against, in the metric's unit: it has to be above this (its size below, if similar)."""
        if not self.decidable:
            return None
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
        if self.claim.kind == BETTER:
            found = [self.gains - self.margins]
        elif self.claim.kind == AS_GOOD:
            found = [self.gains + self.margins]
        else:
            found = [self.gains + self.margins, self.margins - self.gains]
        return [self._rounded(beyond) for beyond in found]

    def _rounded(self, gains: Gains) -> Gains:
        sizes = np.maximum(np.maximum(np.abs(self.ones), np.abs(self.others)), self.margins)
        # A gradient of 1e9 on one seed must not make those of 1e-5 on the others nothing, and their pairs ties.
        return np.where(sizes > _ALIKE * sizes.max(), self._on_grid(gains), gains)

    def _on_grid(self, numbers: Gains) -> Gains:
        scale = float(max(np.abs(self.ones).max(), np.abs(self.others).max(), self.margins.max()))
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
        """As plain data."""
        low, high = interval(self.gains) if self.decidable else (None, None)
        if low is not None and high is not None:
            low, high = self._on_grid(np.array([low, high])).tolist()
        return Comparison(
            one=names[0],
            other=names[1],
            configurations=configurations,
            paired_over="epoch" if self.claim.metric == SECONDS else "seed",
            pairs=self.pairs if self.decidable else (),
            ones=tuple(self.ones.tolist()) if self.decidable else (),
            others=tuple(self.others.tolist()) if self.decidable else (),
            gains=tuple(self.gains.tolist()) if self.decidable else (),
            gain=math.fsum(self.gains) / len(self.pairs) if self.decidable else None,
            low=low,
            high=high,
        )
