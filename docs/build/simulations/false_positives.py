"""Sweeps in which there is nothing to be found: how often the verdict finds something all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from docs.build.simulations.noises import ALL, NORMAL, PLATEAUS, SEEDS, SIZE, SIZES, SOME, STUDENT, TIES, Noise, sizes
from docs.build.simulations.rates import Once, Row, rates
from docs.build.simulations.simulated import answers, better, claim
from tracking.verdict.claims import AS_GOOD, BEST, BETTER, SIMILAR
from tracking.verdict.judge import UNDECIDED
from tracking.verdict.statistics import LEVEL, one_sided

SCATTERS = Noise("lognormal, sigma 1 against sigma 3, log scale", sizes(1), 1, SIZE)
SCATTERS_LINEAR = Noise("lognormal, sigma 1 against sigma 3, linear scale", sizes(1), 1, SIZE, "linear")
RIVALS = 10


@dataclass(frozen=True)
class Family:
    """Claims that are judged together; `wrong` draws a sweep and says whether any answer is one."""

    name: str
    wrong: Once
    noises: Sequence[Noise]


def one_claim(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """Two arms that are the same."""
    return decided(answers(noise.draw(random, (2, seeds)), [better(noise)]))


def scatter(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """Two arms of the same median, one of which scatters more."""
    values = np.stack([sizes(1)(random, (seeds,)), sizes(3)(random, (seeds,))])
    return decided(answers(values, [better(noise)]))


def family(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """Four claims about four arms that are the same; three of the claims share an arm."""
    pairs = (("a1", "a0"), ("a2", "a0"), ("a3", "a0"), ("a2", "a1"))
    return decided(answers(noise.draw(random, (4, seeds)), [better(noise, *pair) for pair in pairs]))


def nested(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """The first of three claims is true by fifty deviations; the two that come after it are not."""
    values = noise.draw(random, (4, seeds))
    values[0] = noise.shifted(values[0], -50)
    first, second = better(noise, "a1", "a0"), better(noise, "a2", "a1", after="a1 better a0")
    return decided(answers(values, [first, second, better(noise, "a3", "a2", after=second.name)])[1:])


def at_the_margin(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """As good, similar and better by a margin, where the truth lies on the margin: neither answer is right."""
    units = np.array([0.0, -1.0, 1.0, 1.0])[:, None]
    values = noise.shifted(noise.draw(random, (4, seeds)), units)
    margin = float(np.exp(noise.unit)) if noise.metric == SIZE else noise.unit
    kinds = ((AS_GOOD, "a1"), (SIMILAR, "a2"), (BETTER, "a3"))
    return decided(answers(values, [claim(noise, kind, arm, "a0", margin) for kind, arm in kinds]))


def best_of_many(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """An arm and ten rivals, all the same: none is better than the best, though the best was found by looking."""
    values = noise.draw(random, (1 + RIVALS, seeds))
    kinds = ((AS_GOOD, "a0", BEST), (BETTER, "a0", BEST), (BETTER, BEST, "a0"))
    return decided(answers(values, [claim(noise, *kind) for kind in kinds]))


def decided(of: Sequence[str]) -> bool:
    """Whether any answer is another than undecided."""
    return any(answer != UNDECIDED for answer in of)


FAMILIES = (
    Family("one claim", one_claim, ALL),
    Family("one claim", scatter, (SCATTERS, SCATTERS_LINEAR)),
    Family("four claims, three share an arm", family, SOME),
    Family("three nested claims, the first true", nested, SOME),
    Family("three claims at the margin", at_the_margin, (NORMAL, STUDENT, SIZES[2], TIES)),
    Family(f"three claims about the best of {RIVALS} rivals", best_of_many, (NORMAL, STUDENT, PLATEAUS, TIES)),
)


def attainable(seeds: int) -> float:
    """The rate of a single claim without ties in theory: the largest two-sided p of so many pairs up to 5%."""
    ranks = np.arange(1.0, seeds + 1)
    reached = 0.0
    for total in range(seeds * (seeds + 1) // 2 + 1):
        gains, left = ranks.copy(), total
        for i in reversed(range(seeds)):  # ranks that are negative, of this total
            if ranks[i] <= left:
                gains[i], left = -gains[i], left - int(ranks[i])
        if (p := 2 * one_sided(gains)[0]) > LEVEL:
            break
        reached = p
    return reached


def false_positives(sweeps: int, slow: int) -> list[Row]:
    """For each family and noise, by the number of seeds: the rate of sweeps with a wrong answer.

    Of `sweeps` each, or `slow` of best_of_many, which takes ten times as long and more.
    """
    return [rates(of.name, noise, _times(of, sweeps, slow), of.wrong) for of in FAMILIES for noise in of.noises]


def _times(of: Family, sweeps: int, slow: int) -> dict[int, int]:
    return dict.fromkeys(SEEDS, slow if of.wrong is best_of_many else sweeps)
