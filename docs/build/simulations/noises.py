"""What makes one seed's value differ from another's: the noises of the simulations.

Every draw is of independent values in the shape asked for. Accuracies lie around 0.5, sizes around 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Values]

ACCURACY = "validation.accuracy"
SIZE = "gradient.data.mean_abs"
TAKES_OFF = 0.7  # the share of the seeds that leave the plateau
FAILS, LOSS = 0.1, 0.4  # the share of the seeds that fail, and by how much
IMAGES = 200  # in the validation split of `ties`


@dataclass(frozen=True)
class Noise:
    """Values of seeds: `name` in the tables, `unit` as one deviation, and the metric and scale they are judged on.

    `grid` is the step between two values, 0 where they are continuous.
    """

    name: str
    draw: Draw
    unit: float
    metric: str = ACCURACY
    scale: str = ""
    grid: float = 0.0

    def shifted(self, values: Values, units: float | Values) -> Values:
        """The values better by so many units: sizes are multiplied, so that a unit is one of their logs."""
        by = units * np.float64(self.unit)
        return values * np.exp(by) if self.metric == SIZE else values + by


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Light tails."""
    return 0.5 + random.normal(0, 0.02, shape)


def student(random: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Heavy tails: Student's t with 2 degrees of freedom, which has no variance."""
    return 0.5 + 0.01 * random.standard_t(2, shape)


def sizes(sigma: float) -> Draw:
    """Lognormal sizes: their logs have the deviation sigma."""
    return lambda random, shape: random.lognormal(0, sigma, shape)


def plateaus(random: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Two groups of seeds: those that have taken off, and those that never leave the plateau at 0.1."""
    off = random.random(shape) < TAKES_OFF
    return np.where(off, 0.4 + random.normal(0, 0.02, shape), 0.1 + random.normal(0, 0.002, shape))


def failures(random: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """A few seeds fail, and lose much."""
    return 0.5 + random.normal(0, 0.01, shape) - LOSS * (random.random(shape) < FAILS)


def ties(random: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Counts of images, of which only a few differ from seed to seed."""
    return np.round(IMAGES * (0.5 + random.normal(0, 0.005, shape))) / IMAGES


NORMAL = Noise("normal", normal, 0.02)
STUDENT = Noise("Student's t, 2 degrees of freedom", student, 0.01)
SIZES = {s: Noise(f"lognormal, sigma {s}, log scale", sizes(s), s, SIZE) for s in (1, 2, 3)}
LINEAR = {s: Noise(f"lognormal, sigma {s}, linear scale", sizes(s), s, SIZE, "linear") for s in (1, 2, 3)}
PLATEAUS = Noise("bimodal: 30% stay on the plateau", plateaus, 0.02)
FAILURES = Noise("one seed in ten at -0.40", failures, 0.01)
TIES = Noise("ties: counts of 200 images", ties, 0.005, grid=1 / IMAGES)

ALL = (NORMAL, STUDENT, *SIZES.values(), *LINEAR.values(), PLATEAUS, FAILURES, TIES)
SOME = (NORMAL, STUDENT, SIZES[2], PLATEAUS, FAILURES, TIES)
SEEDS = (5, 8, 25)
