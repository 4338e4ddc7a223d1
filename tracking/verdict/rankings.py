"""Configurations ranked by their values over the seeds after their last epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from tracking.results import Outcome
from tracking.verdict.types import Summary


def summaries(
    frame: pd.DataFrame, outcomes: Mapping[int, Outcome], metric: str, goal: str = "maximize"
) -> tuple[Summary, ...]:
    """Every configuration of `outcomes` at its last epoch; the complete ones by rank, then the others by number."""
    by_number = {o.number: _summary(o, (), (), None) for o in outcomes.values()}
    if len(frame):
        last = frame.groupby("configuration")["epoch"].transform("max")
        ends = frame.loc[frame["epoch"] == last, ["configuration", "seed", "epoch", metric]]
        for key, rows in ends.groupby("configuration"):
            number = int(str(key))
            if number in by_number:
                epoch = int(rows["epoch"].iloc[0])
                by_number[number] = _summary(outcomes[number], rows["seed"].tolist(), rows[metric].tolist(), epoch)
    sign = -1 if goal == "maximize" else 1
    means = {n: sign * s.mean for n, s in by_number.items() if s.state == "complete" and s.mean is not None}
    rank: dict[float, int] = {}
    for place, value in enumerate(sorted(means.values()), 1):
        rank.setdefault(value, place)
    ranked = [replace(s, rank=rank[means[n]]) if n in means else s for n, s in by_number.items()]
    return tuple(sorted(ranked, key=lambda s: (s.rank is None, s.rank or 0, s.configuration)))


def _summary(outcome: Outcome, seeds: Iterable[int], values: Iterable[float], epoch: int | None) -> Summary:
    by_seed = dict(sorted(zip(seeds, values, strict=True)))
    finite = [v for v in by_seed.values() if math.isfinite(v)]
    # Of all seeds or of none: the mean of those that survived would be too good.
    whole = bool(by_seed) and len(finite) == len(by_seed)
    q25, q50, q75 = np.quantile(finite, (0.25, 0.5, 0.75)).tolist() if whole else (None, None, None)
    return Summary(
        configuration=outcome.number,
        arm=outcome.arm,
        name=outcome.name,
        state=outcome.state,
        epoch=epoch,
        seeds=tuple(by_seed),
        values=tuple(v if math.isfinite(v) else None for v in by_seed.values()),
        mean=math.fsum(finite) / len(finite) if whole else None,
        deviation=float(np.std(finite, ddof=1)) if whole and len(finite) > 1 else None,
        q25=q25,
        q50=q50,
        q75=q75,
        rank=None,
    )
