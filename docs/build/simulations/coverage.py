"""How often the 95% interval of the verdict covers what it is an interval of: the gain's pseudo-median.

The pseudo-median of a distribution is the median of the mean of two independent draws; the Hodges-Lehmann estimate is
that of a sample. Beside it is what the verdict had before: the percentile bootstrap of the mean, and the mean.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from docs.build.simulations.noises import FAILS, LOSS, NORMAL, PLATEAUS, SEEDS, STUDENT, TAKES_OFF, TIES, Draw, Values
from docs.build.simulations.rates import Rate, generator, told
from tracking.verdict.statistics import interval

RESAMPLES = 1000  # of each bootstrap
CHUNK = 100  # samples that are resampled at once
DRAWS = 4_000_000  # pairs of draws for the true pseudo-median


@dataclass(frozen=True)
class Gains:
    """How gains scatter, and their mean."""

    name: str
    draw: Draw
    mean: float


def paired(draw: Draw) -> Draw:
    """Gains of an arm over another that is the same."""
    return lambda random, shape: draw(random, shape) - draw(random, shape)


def lognormal(sigma: float) -> Draw:
    """Skewed gains, as those of sizes are on the linear scale."""
    return lambda random, shape: random.lognormal(0, sigma, shape)


def logs(sigma: float) -> Draw:
    """The same on the log scale."""
    return lambda random, shape: np.log(random.lognormal(0, sigma, shape))


def from_the_plateau(random: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Gains of an arm all of whose seeds take off."""
    return 0.4 + random.normal(0, 0.02, shape) - PLATEAUS.draw(random, shape)


def failing(random: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Gains of an arm that is better on nine seeds in ten, and loses much on the tenth."""
    return 0.02 + random.normal(0, 0.01, shape) - LOSS * (random.random(shape) < FAILS)


FAILING_MEAN = 0.02 - LOSS * FAILS
GAINS = (
    Gains("normal", paired(NORMAL.draw), 0.0),
    Gains("Student's t, 2 degrees of freedom", paired(STUDENT.draw), 0.0),
    *(Gains(f"lognormal, sigma {s}, log scale", logs(s), 0.0) for s in (1, 2, 3)),
    *(Gains(f"lognormal, sigma {s}, linear scale", lognormal(s), math.exp(s**2 / 2)) for s in (1, 2, 3)),
    Gains("bimodal: all take off against 70%", from_the_plateau, 0.3 * (1 - TAKES_OFF)),
    Gains("one seed in ten at -0.40", failing, FAILING_MEAN),
    Gains("ties: counts of 200 images", paired(TIES.draw), 0.0),
)


@dataclass(frozen=True)
class Covered:
    """By the number of seeds: how often the interval covers the pseudo-median, and the bootstrap's the mean."""

    gains: str
    pseudo_median: float
    mean: float
    covers: dict[int, Rate | None]
    bootstrap: dict[int, Rate]


def coverage(samples: int, draws: int = DRAWS, seeds: Sequence[int] = SEEDS) -> list[Covered]:
    """Of so many samples; None where so few seeds have no interval."""
    rows = []
    for gains in GAINS:
        center = pseudo_median(gains, draws)
        covers: dict[int, Rate | None] = {}
        bootstrap = {}
        for n in seeds:
            start, sample = time.monotonic(), gains.draw(generator("coverage", gains.name, n), (samples, n))
            covers[n], bootstrap[n] = _covers(sample, center), _bootstrap_covers(sample, gains)
            told(f"coverage, {gains.name}, {n} seeds: {covers[n]}; bootstrap {bootstrap[n]}", start)
        rows.append(Covered(gains.name, center, gains.mean, covers, bootstrap))
    return rows


def pseudo_median(gains: Gains, draws: int = DRAWS) -> float:
    """The true one, by a large sample."""
    return float(np.median(gains.draw(generator("pseudo-median", gains.name), (2, draws)).mean(axis=0)))


def _covers(samples: Values, center: float) -> Rate | None:
    hits = 0
    for sample in samples:
        low, high = interval(sample)
        if low is None or high is None:
            return None
        hits += low <= center <= high
    return Rate(hits, len(samples))


def _bootstrap_covers(samples: Values, gains: Gains) -> Rate:
    low, high = bootstrap(samples, generator("bootstrap", gains.name, samples.shape[1]))
    return Rate(int(((low <= gains.mean) & (gains.mean <= high)).sum()), len(samples))


def bootstrap(samples: Values, random: np.random.Generator) -> tuple[Values, Values]:
    """The bounds of the 95% percentile bootstrap interval of the mean of each sample (samples, seeds)."""
    bounds = [
        stats.bootstrap((chunk,), np.mean, axis=1, n_resamples=RESAMPLES, method="percentile", rng=random)
        for chunk in np.array_split(samples, math.ceil(len(samples) / CHUNK))
    ]
    low, high = zip(*(b.confidence_interval for b in bounds), strict=True)
    return np.concatenate(low), np.concatenate(high)
