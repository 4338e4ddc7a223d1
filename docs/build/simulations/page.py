"""The page about the verdict's statistics, from the numbers of its simulations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from docs.build.pages import table
from docs.build.simulations import words
from docs.build.simulations.coverage import RESAMPLES, Covered, coverage
from docs.build.simulations.failing import Failing, failures_confirmed
from docs.build.simulations.false_positives import RIVALS, SCATTERS_LINEAR, attainable, false_positives
from docs.build.simulations.noises import FAILS, SEEDS
from docs.build.simulations.power import FEW, against_the_best, power
from docs.build.simulations.rates import SEED, Row, percent
from docs.build.simulations.records import DEALS, SameArm, kept, same_arm
from tracking.verdict.statistics import least_p, pairs_needed
from tracking.verdict.tables import number


@dataclass(frozen=True)
class Size:
    """How much is simulated: `sweeps` of each rate, `samples` of each interval, `draws` for a true pseudo-median.

    `slow` are the sweeps of many rivals, which take long.
    """

    sweeps: int
    slow: int
    samples: int
    draws: int


def full(sweeps: int) -> Size:
    """As many of everything as a number of sweeps calls for."""
    return Size(sweeps, max(1, sweeps // 8), sweeps, 4_000_000)


SMALL = Size(sweeps=8, slow=2, samples=100, draws=100_000)


@dataclass(frozen=True)
class Numbers:
    """Everything that was simulated, and what real records show."""

    size: Size
    wrong: Sequence[Row]
    found: Sequence[Row]
    best: Sequence[Row]
    covered: Sequence[Covered]
    failing: Sequence[Failing]
    records: Sequence[SameArm]


def simulate(size: Size, records: Path) -> Numbers:
    """All of it; progress goes to stderr."""
    return Numbers(
        size,
        false_positives(size.sweeps, size.slow),
        power(size.sweeps),
        against_the_best(size.slow),
        coverage(size.samples, size.draws),
        failures_confirmed(size.sweeps),
        same_arm(kept(records)),
    )


def page(numbers: Numbers) -> str:
    """The page as Markdown."""
    size = numbers.size
    parts = [
        words.INTRODUCTION.format(pairs=pairs_needed(), floor=percent(least_p(5))),
        "## In short",
        "\n".join(f"- {line}" for line in _in_short(numbers)),
        "## How often an answer is wrong",
        words.ERRORS.format(sweeps=size.sweeps, slow=size.slow),
        _rates(SEEDS, numbers.wrong, [("one claim", "in theory", *(percent(attainable(n)) for n in SEEDS))]),
        words.WRONG,
        "## How often what is there is found",
        words.POWER.format(sweeps=size.sweeps),
        _rates(SEEDS, numbers.found),
        words.BEST.format(sweeps=size.slow, rivals=RIVALS),
        _rates(FEW, numbers.best),
        "## How often an interval covers",
        words.INTERVALS.format(samples=size.samples, draws=f"{size.draws:,}", resamples=RESAMPLES),
        _covered(numbers.covered),
        words.COVERED,
        "## What fails on one seed in ten",
        words.FAILING.format(sweeps=size.sweeps),
        _failing(numbers.failing),
        words.FAILED,
        "## Real records",
        words.RECORDS.format(deals=DEALS),
        _same_arm(numbers.records),
        "## How this page was made",
        words.MADE.format(seed=SEED, numpy=version("numpy"), scipy=version("scipy")),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _rates(seeds: Sequence[int], rows: Iterable[Row], before: Sequence[Sequence[str]] = ()) -> str:
    lines = [(row.what, row.noise, *(str(row.rates[n]) for n in seeds)) for row in rows]
    return table(("what", "noise", *(f"{n} seeds#" for n in seeds)), [*before, *lines])


def _covered(rows: Sequence[Covered]) -> str:
    heads = ("gains", "pseudo-median#", *(f"{n} seeds#" for n in SEEDS), "mean#", *(f"bootstrap, {n}#" for n in SEEDS))
    return table(
        heads,
        [
            (
                row.gains,
                number(round(row.pseudo_median, 4) + 0.0, ".3g"),
                *(str(rate) if (rate := row.covers[n]) else "no interval" for n in SEEDS),
                number(row.mean, ".3g"),
                *(str(row.bootstrap[n]) for n in SEEDS),
            )
            for row in rows
        ],
    )


def _failing(rows: Sequence[Failing]) -> str:
    heads = ("seeds#", "no failure in theory#", "no failure seen#", "confirmed#", "with a warning#", "without one#")
    return table(
        (*heads, "and by the bootstrap#"),
        [
            (
                str(row.seeds),
                percent((1 - FAILS) ** row.seeds),
                *map(str, (row.unseen, row.confirmed, row.warned, row.silent, row.by_bootstrap)),
            )
            for row in rows
        ],
    )


def _same_arm(rows: Sequence[SameArm]) -> str:
    heads = ("sweep", "arms#", "tests#", "pairs#", "p up to 5%#", "standard error#", "in theory#")
    lines = [
        (
            row.sweep,
            str(row.arms),
            str(row.tests),
            " to ".join(map(str, dict.fromkeys(row.pairs))),
            percent(row.share),
            percent(row.error) if row.error is not None else "",
            percent(row.attains),
        )
        for row in rows
    ]
    return table(heads, lines or [("no records yet", *[""] * 6)])


def _in_short(numbers: Numbers) -> Iterator[str]:
    kept = [row for row in numbers.wrong if row.noise != SCATTERS_LINEAR.name]
    rates = [rate for row in kept for n, rate in row.rates.items() if n >= pairs_needed()]
    highest, row, n = max(
        ((rate, row, n) for row in kept for n, rate in row.rates.items()), key=lambda cell: cell[0].rate
    )
    wrong = percent(sum(rate.hits for rate in rates) / sum(rate.of for rate in rates))
    yield (
        f"Sweeps of 8 and 25 seeds without anything to be found have a wrong answer in {wrong} of cases, over "
        f"{len(rates)} kinds of them; the most of any one kind are {highest} ({row.what}, {row.noise}, {n} seeds)."
    )
    few, enough = (numbers.found[0].rates[n] for n in (8, 25))
    yield f"A difference of one deviation is confirmed by 8 seeds in {few} of sweeps, by 25 in {enough} (normal noise)."
    lost = numbers.best[0].rates
    yield f"An arm 70 points behind the best of ten: refuted by 5 seeds in {lost[5]} of sweeps, by 8 in {lost[8]}."
    scales = {scale: [row for row in numbers.covered if scale in row.gains] for scale in ("log scale", "linear scale")}
    yield (
        "Of lognormal gains with sigma 1, 2 and 3, 25 seeds each, the interval covers "
        f"{_listed([str(row.covers[25]) for row in scales['log scale']])} on the log scale. The bootstrap of the mean "
        f"covered {_listed([str(row.bootstrap[25]) for row in scales['linear scale']])}."
    )
    confirmed = _listed([str(row.confirmed) for row in numbers.failing])
    silent = _listed([str(row.silent) for row in numbers.failing])
    yield (
        "An arm that fails on one seed in ten is confirmed as better, at "
        f"{_listed([str(row.seeds) for row in numbers.failing])} seeds, in {confirmed} of sweeps; without a warning in "
        f"{silent}."
    )
    if numbers.records:
        real = numbers.records[-1]
        yield (
            f"In our own records, an arm against itself has a p up to 5% in {percent(real.share)} of cases; with so "
            f"few pairs the test attains {percent(real.attains)} at most."
        )


def _listed(of: Sequence[str]) -> str:
    *first, last = of
    return f"{', '.join(first)} and {last}" if first else last
