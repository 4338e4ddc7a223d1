"""How often something came out in so many simulations, and how sure that is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from docs.build.simulations.noises import Noise

SEED = 17  # of all simulations on the page

Once = Callable[[np.random.Generator, Noise, int], bool]  # one sweep with so many seeds: did it happen?


def generator(*names: object) -> np.random.Generator:
    """A stream of random numbers that belongs to a row and a column of a table, whatever else is simulated."""
    return np.random.default_rng([SEED, *"/".join(map(str, names)).encode()])


@dataclass(frozen=True)
class Rate:
    """`hits` of `of` independent simulations.

    >>> str(Rate(39, 1000))
    '3.9% (2.8 to 5.3)'
    """

    hits: int
    of: int

    @property
    def rate(self) -> float:
        """The fraction seen."""
        return self.hits / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95% interval of Clopper and Pearson."""
        low, high = stats.binomtest(self.hits, self.of).proportion_ci(0.95, method="exact")
        return float(low), float(high)

    def within(self, low: float, high: float | None = None) -> bool:
        """Whether chance makes what was seen of a true rate of `low`, or of one from `low` to `high`, at 0.001."""
        least, most = low, low if high is None else high
        few, many = stats.binom.cdf(self.hits, self.of, least), stats.binom.sf(self.hits - 1, self.of, most)
        return bool(many >= 0.0005 if self.rate > most else few >= 0.0005 if self.rate < least else True)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{percent(self.rate)} ({100 * low:.1f} to {100 * high:.1f})"


def percent(share: float) -> str:
    """A fraction in percent, with a tenth: 3.9%."""
    return f"{100 * share:.1f}%"


@dataclass(frozen=True)
class Row:
    """A line of a table: what is claimed, the noise, and by the number of seeds how often it came out."""

    what: str
    noise: str
    rates: Mapping[int, Rate]


def rates(what: str, noise: Noise, times: Mapping[int, int], once: Once) -> Row:
    """How often `once` is true, of so many times for each number of seeds."""
    return Row(what, noise.name, {seeds: _rate(what, noise, seeds, of, once) for seeds, of in times.items()})


def _rate(what: str, noise: Noise, seeds: int, times: int, once: Once) -> Rate:
    random, start = generator(what, noise.name, seeds), time.monotonic()
    result = Rate(sum(once(random, noise, seeds) for _ in range(times)), times)
    told(f"{what}, {noise.name}, {seeds} seeds: {result}", start)
    return result


def told(line: str, start: float) -> None:
    """A line of progress on stderr: what came out, and how long it took."""
    print(f"{line}, {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
