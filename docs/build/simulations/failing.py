"""What few seeds can't see: an arm that is a little better on nine seeds in ten, and fails on the tenth.

Its mean is lower than the other's. What a typical seed gains is positive: that is what the verdict is about.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from docs.build.simulations.coverage import bootstrap, failing
from docs.build.simulations.noises import LOSS, NORMAL
from docs.build.simulations.rates import Rate, generator, told
from docs.build.simulations.simulated import better, judged
from tracking.verdict.judge import CONFIRMED

SEEDS = (8, 12, 25)


@dataclass(frozen=True)
class Failing:
    """Of sweeps with so many seeds: how many saw no failure, and how many confirmed that the arm is better.

    `warned` are those confirmed with a warning that the gains are skewed; `by_bootstrap` those confirmed that the
    bootstrap interval of the mean would have let pass too.
    """

    seeds: int
    unseen: Rate
    confirmed: Rate
    warned: Rate
    by_bootstrap: Rate

    @property
    def silent(self) -> Rate:
        """Those confirmed without a warning."""
        return Rate(self.confirmed.hits - self.warned.hits, self.confirmed.of)


def failures_confirmed(sweeps: int) -> list[Failing]:
    """For 8, 12 and 25 seeds, of so many sweeps."""
    return [_failing(seeds, sweeps) for seeds in SEEDS]


def _failing(seeds: int, sweeps: int) -> Failing:
    random, start = generator("failing", seeds), time.monotonic()
    gains = failing(random, (sweeps, seeds))
    unseen = (gains > -LOSS / 2).all(axis=1)
    verdicts = [judged(np.stack([np.full(seeds, 0.5), 0.5 + of]), [better(NORMAL)])[0] for of in gains]
    confirmed = np.array([verdict.answer == CONFIRMED for verdict in verdicts])
    warned = np.array([bool(verdict.warning) for verdict in verdicts])
    above = bootstrap(gains, random)[0] > 0
    masks = (unseen, confirmed, confirmed & warned, confirmed & above)
    result = Failing(seeds, *(Rate(int(mask.sum()), sweeps) for mask in masks))
    told(f"failing, {seeds} seeds: {result.confirmed} confirmed", start)
    return result
