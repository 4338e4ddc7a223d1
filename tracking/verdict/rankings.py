"""Configurations ranked by their values over the seeds after their last epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from tracking.results import Outcome
from tracking.verdict.types import Summary


def summaries(
    frame: pd.DataFrame, outcomes: Mapping[int, Outcome], metric: str, goal: str = "maximize"
) -> tuple[Summary, ...]:
    """Every configuration of `outcomes` at its last epoch; the complete ones by rank, then the others by number."""
    ends: dict[int, pd.DataFrame] = {}
    if len(frame):
        last = frame[frame["epoch"] == frame.groupby("configuration")["epoch"].transform("max")]
        ends = {int(str(number)): rows for number, rows in last.groupby("configuration")}
    every = [_summary(outcome, ends.get(number), metric) for number, outcome in outcomes.items()]
    means = {s.configuration: s.mean for s in every if s.state == "complete" and s.mean is not None}
    ranks = pd.Series(means, dtype=float).rank(method="min", ascending=goal == "minimize").astype(int).to_dict()
    ranked = [replace(s, rank=ranks.get(s.configuration)) for s in every]
    return tuple(sorted(ranked, key=lambda s: (s.rank is None, s.rank or 0, s.configuration)))


def _summary(outcome: Outcome, rows: pd.DataFrame | None, metric: str) -> Summary:
    by_seed: dict[int, float] = {}
    if rows is not None:
        by_seed = dict(sorted(zip(rows["seed"].tolist(), rows[metric].tolist(), strict=True)))
    finite = [v for v in by_seed.values() if math.isfinite(v)]
    # Of all seeds or of none: the mean of those that survived would be too good.
    whole = bool(by_seed) and len(finite) == len(by_seed)
    quartiles = np.quantile(finite, (0.25, 0.5, 0.75)).tolist() if whole else (None, None, None)
    return Summary(
        outcome.number,
        outcome.arm,
        outcome.name,
        outcome.state,
        None if rows is None else int(rows["epoch"].iloc[0]),
        tuple(by_seed),
        tuple(v if math.isfinite(v) else None for v in by_seed.values()),
        math.fsum(finite) / len(finite) if whole else None,
        float(np.std(finite, ddof=1)) if whole and len(finite) > 1 else None,
        *quartiles,
    )
