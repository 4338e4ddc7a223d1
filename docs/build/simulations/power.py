"""Sweeps in which there is something to be found: how often the verdict finds it."""

from __future__ import annotations

import numpy as np

from docs.build.simulations.false_positives import RIVALS
from docs.build.simulations.noises import ALL, NORMAL, PLATEAUS, SEEDS, Noise, Values
from docs.build.simulations.rates import Once, Row, rates
from docs.build.simulations.simulated import answers, better, claim
from tracking.verdict.claims import AS_GOOD, BEST
from tracking.verdict.judge import CONFIRMED, REFUTED
from tracking.verdict.statistics import LEVEL, one_sided

FEW = (5, 6, 8, 12)  # 5 decide nothing, 6 are the fewest that decide a claim
MARGIN = 0.01


def one_deviation(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """One arm is better by a deviation of a seed's value; both are drawn apart."""
    values = noise.draw(random, (2, seeds))
    values[1] = noise.shifted(values[1], 1.0)
    return answers(values, [better(noise)]) == [CONFIRMED]


def all_take_off(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """All seeds of one arm leave the plateau, and 70% of the other's."""
    values = noise.draw(random, (2, seeds))
    values[1] = 0.4 + random.normal(0, 0.02, seeds)
    return answers(values, [better(noise)]) == [CONFIRMED]


def far_behind(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """The claim that an arm 70 points behind its ten rivals is as good as the best of them is refuted."""
    claims = [claim(noise, AS_GOOD, "a0", BEST, MARGIN)]
    return answers(_behind(random, noise, seeds, 0.7), claims) == [REFUTED]


def far_behind_of_two(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """The same beside a second claim, as in the study quickstart: it is better than one of them."""
    claims = [better(noise, "a0", "a1"), claim(noise, AS_GOOD, "a0", BEST, MARGIN)]
    return answers(_behind(random, noise, seeds, 0.7), claims)[1] == REFUTED


def far_behind_by_bonferroni(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """What came of it when the smallest p was multiplied by the number of rivals."""
    values = _behind(random, noise, seeds, 0.7)
    least = min(one_sided(values[0] - rival + MARGIN)[1] for rival in values[1:])
    return 2 * RIVALS * least <= LEVEL


def ahead(random: np.random.Generator, noise: Noise, seeds: int) -> bool:
    """The claim that an arm one deviation better than its ten rivals is as good as the best of them is confirmed."""
    claims = [claim(noise, AS_GOOD, "a0", BEST, MARGIN)]
    return answers(_behind(random, noise, seeds, -noise.unit), claims) == [CONFIRMED]


def _behind(random: np.random.Generator, noise: Noise, seeds: int, loss: float) -> Values:
    values = noise.draw(random, (1 + RIVALS, seeds))
    values[0] -= loss
    return values


def power(sweeps: int) -> list[Row]:
    """By noise and number of seeds, of so many sweeps: a difference of one deviation is confirmed."""
    times = dict.fromkeys(SEEDS, sweeps)
    return [
        *(rates("better by one deviation", noise, times, one_deviation) for noise in ALL if noise is not PLATEAUS),
        rates("all take off against 70%", PLATEAUS, times, all_take_off),
    ]


def against_the_best(sweeps: int) -> list[Row]:
    """What becomes of a claim of as good as the best of ten rivals within 0.01, by the number of seeds."""
    cases: tuple[tuple[str, Once], ...] = (
        ("70 points behind: refuted", far_behind),
        ("the same, as one of two claims: refuted", far_behind_of_two),
        ("the same, with Bonferroni over the rivals: refuted", far_behind_by_bonferroni),
        ("one deviation ahead: confirmed", ahead),
    )
    return [rates(what, NORMAL, dict.fromkeys(FEW, sweeps), once) for what, once in cases]
