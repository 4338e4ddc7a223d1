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

from tracking.results import per_seed
from tracking.verdict.claims import AS_GOOD, BETTER, SECONDS, SIMILAR, Claim
from tracking.verdict.statistics import Gains, interval, one_sided
from tracking.verdict.types import Comparison
from trainers.objectives import LAST, Near

_DIGITS = 12  # accuracies are fractions: ties must not be broken by the last bit of a difference
_ALIKE = 1e-6  # of the largest: what is smaller has digits of its own to lose


def window(rows: pd.DataFrame, claim: Claim) -> tuple[int, int]:
    """The first and the last epoch that a claim is about, in one configuration's records."""
    last = int(rows["epoch"].max())
    if claim.metric == SECONDS:
        start = 1  # epoch 0 is before the first step: nothing is trained in it
    else:
        start = last if claim.until is None else 0
    return (start if claim.since is None else claim.since, last if claim.until is None else min(claim.until, last))


def values(rows: pd.DataFrame, claim: Claim) -> pd.Series[float]:
    """A configuration's value per seed, NaN where an epoch that counts has no number; of `seconds`, that per epoch."""
    if claim.epoch != LAST:
        return per_seed(rows, claim.objective).droplevel("configuration")
    kept = rows[rows["epoch"].between(*window(rows, claim))]
    scores = kept[claim.metric].map(claim.objective.score) if isinstance(claim.goal, Near) else kept[claim.metric]
    return scores.groupby(kept[_paired_over(claim)]).mean(skipna=False)


def _paired_over(claim: Claim) -> str:
    return "epoch" if claim.metric == SECONDS else "seed"


class Paired:
    """Two configurations (number, name, `values`) under a claim, value by value of what both have (`pairs`).

    `gains` are the differences, positive where `arm` is better. Pairs are `decidable` where there are some, and all are
    finite; `same` where there is no difference at all in any.
    """

    def __init__(self, claim: Claim, *sides: tuple[int, str, pd.Series[float]]) -> None:
        self.claim, self.paired_over = claim, _paired_over(claim)
        self.configurations, self.names, (arm, against) = zip(*sides, strict=True)
        common = arm.index.intersection(against.index).sort_values()
        self.pairs: tuple[int, ...] = tuple(common.tolist())
        self.arm, self.against = (of[common].to_numpy(dtype=np.float64) for of in (arm, against))
        self.gains = (self.arm - self.against) * claim.sign
        self.margins = claim.margin * (np.abs(self.against) if claim.relative else np.ones(len(self.pairs)))
        self.decidable = len(self.pairs) > 0 and bool(np.isfinite(self.gains).all())
        self.same = not np.any(self.gains)

    def flaw(self, epochs: str) -> str:
        """Why these pairs decide nothing; nothing where they can."""
        if not self.pairs:
            return f"the two have no value of {self.claim.metric} in common {epochs}"
        # The seconds of one pack are shared out equally: no two clocks agree to the bit.
        if self.claim.metric == SECONDS and self.same:
            return "both were trained in one pack and share its clock; set resources.pack to 1"
        missing = int((~np.isfinite(self.gains)).sum())
        return f"{self.claim.metric} is not finite for {missing} of {len(self.pairs)} pairs" if missing else ""

    @cached_property
    def _beyond(self) -> list[Gains]:
        """What has to be above 0 for the claim to hold: one array, or two where a difference has two bounds."""
        not_worse, better = self.gains + self.margins, self.gains - self.margins
        sizes = np.maximum(np.maximum(np.abs(self.arm), np.abs(self.against)), self.margins)
        # A gradient of 1e9 on one seed must not make those of 1e-5 on the others nothing, and their pairs ties.
        large = sizes > _ALIKE * sizes.max()
        bounds = {BETTER: [better], AS_GOOD: [not_worse], SIMILAR: [not_worse, -better]}[self.claim.kind]
        return [np.where(large, self._on_grid(beyond), beyond) for beyond in bounds]

    def _on_grid(self, numbers: Gains) -> Gains:
        scale = float(max(np.abs(self.arm).max(), np.abs(self.against).max(), self.margins.max()))
        return np.round(numbers / scale, _DIGITS) * scale if scale else numbers

    @cached_property
    def p(self) -> tuple[float, float]:
        """One-sided p: of "the claim does not hold", and of "the claim holds"."""
        above, below = zip(*map(one_sided, self._beyond), strict=True)
        # Two bounds: it holds within both (the larger p), and fails beyond either (the smaller, of two chances).
        return max(above), min(1.0, len(below) * min(below))

    @cached_property
    def clear(self) -> tuple[bool, bool]:
        """Whether the bootstrap interval lies wholly where the claim holds; wholly where it does not."""
        lows, highs = zip(*map(interval, self._beyond), strict=True)
        return all(low is not None and low > 0 for low in lows), any(high is not None and high < 0 for high in highs)

    def comparison(self) -> Comparison:
        """As plain data, of a pair that is decidable."""
        low, high = interval(self.gains)
        if low is not None and high is not None:
            low, high = self._on_grid(np.array([low, high])).tolist()
        ones, others, gains = (tuple(of.tolist()) for of in (self.arm, self.against, self.gains))
        gain = math.fsum(gains) / len(gains)
        (one, other), over = self.names, self.paired_over
        return Comparison(one, other, self.configurations, over, self.pairs, ones, others, gains, gain, low, high)
