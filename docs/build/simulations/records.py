"""The verdict's test where nothing is to be found in real records: one arm against itself.

The seeds of an arm are dealt out to two halves at random, and the halves are paired at random. What is compared is
what the sweep's claims compare: their metrics over their epochs, on their scales.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from docs.build.paper.records import load
from docs.build.simulations.false_positives import attainable
from docs.build.simulations.rates import generator, told
from tracking.verdict.claims import BETTER, SECONDS, Claim
from tracking.verdict.comparisons import Paired, Values, values
from tracking.verdict.statistics import LEVEL

DEALS = 20  # ways in which the seeds of an arm are dealt out
FEWEST = 6  # pairs: fewer decide nothing


@dataclass(frozen=True)
class SameArm:
    """The p of one sweep: `tests` p-values of each deal, the share up to 5%, and what the test attains at most.

    `pairs` are the fewest and the most that an arm has; what is attained is the mean over the tests. `error` is the
    standard error of the share, from how it differs between the arms: what is compared of one arm hangs together. None
    for a single arm.
    """

    sweep: str
    arms: int
    tests: int
    pairs: tuple[int, int]
    share: float
    error: float | None
    attains: float


@dataclass(frozen=True)
class Kept:
    """The tidy table of a sweep, and its claims."""

    frame: pd.DataFrame
    claims: Sequence[Claim]


def kept(folder: Path) -> dict[str, Kept]:
    """Every sweep in a folder of records, by name; none where there is no folder."""
    records = [load(file.stem, folder) for file in sorted(folder.glob("*.parquet"))]
    return {record.name: Kept(record.frame, record.spec.judged_claims()) for record in records}


def same_arm(sweeps: Mapping[str, Kept], deals: int = DEALS) -> list[SameArm]:
    """For each sweep that has an arm of enough seeds, and for all of them together where there are several."""
    found = {name: of for name, sweep in sweeps.items() if (of := list(_arms(name, sweep, deals)))}
    together = {"all": [arm for arms in found.values() for arm in arms]} if len(found) > 1 else {}
    return [_summary(name, arms) for name, arms in (found | together).items()]


@dataclass(frozen=True)
class _Arm:
    """The p of one arm: (tests, deals), and the number of pairs."""

    p: np.ndarray
    pairs: int


def _summary(name: str, arms: list[_Arm]) -> SameArm:
    small = [float((arm.p <= LEVEL).mean()) for arm in arms]
    tests = sum(len(arm.p) for arm in arms)
    share = sum((arm.p <= LEVEL).sum() for arm in arms) / sum(arm.p.size for arm in arms)
    error = float(np.std(small, ddof=1) / np.sqrt(len(small))) if len(small) > 1 else None
    pairs = [arm.pairs for arm in arms]
    attains = sum(attainable(arm.pairs) * len(arm.p) for arm in arms) / tests
    return SameArm(name, len(arms), tests, (min(pairs), max(pairs)), float(share), error, attains)


def _arms(name: str, sweep: Kept, deals: int) -> Iterator[_Arm]:
    claims = _compared(sweep)
    for configuration, rows in sweep.frame.groupby("configuration"):
        start, random = time.monotonic(), generator("same arm", name, configuration)
        seeds = rows["seed"].nunique()
        if seeds // 2 < FEWEST:
            continue
        ps = [p for claim in claims if (p := _of(claim, rows, deals, random)) is not None]
        if ps:
            yield _Arm(np.stack(ps), seeds // 2)
            told(f"same arm, {name}, configuration {configuration}: {len(ps)} tests", start)


def _of(claim: Claim, rows: pd.DataFrame, deals: int, random: np.random.Generator) -> np.ndarray | None:
    """The p of each deal; None where a value is missing or no two seeds differ."""
    of_seeds = values(rows, claim).of.dropna()
    half = len(of_seeds) // 2
    if half < FEWEST or of_seeds.nunique() < 2:
        return None
    ps = []
    for _ in range(deals):
        dealt = random.permutation(of_seeds.to_numpy())
        halves = [(n, f"half {n}", Values(pd.Series(dealt[n * half : (n + 1) * half]))) for n in range(2)]
        pair = Paired(claim, *halves)
        if not pair.decidable:
            return None
        ps.append(min(1.0, 2 * min(pair.p)))
    return np.array(ps)


def _compared(sweep: Kept) -> list[Claim]:
    """What the claims compare, each once, as claims of better without a margin."""
    plain = (
        replace(
            c, kind=BETTER, arm="one half", against="the other", margin=0.0, relative=False, times=False, scale=scale
        )
        for c in sweep.claims
        if c.metric != SECONDS
        for scale in ["log" if c.log else "linear"]
    )
    return list(dict.fromkeys(replace(c, name="", says="", after="") for c in plain))
