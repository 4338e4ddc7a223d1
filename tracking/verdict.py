"""What a sweep's table says of its claim: rankings and differences paired over seeds, with their uncertainty.

    >>> verdict = judge(load("alpha-r"), outcomes("alpha-r"), [("validation.accuracy", "maximize")], claim="paper")
    >>> print(verdict.text)

Everything here is a function of the table alone: numbers in, frozen dataclasses out. A number that does not exist (of
a diverged member, or of an empty set) is None, so that `dataclasses.asdict` gives JSON.

Two configurations are compared on the seeds that both have: same seed, same initial values, same order of images, so
that what is left is what the configurations do. The rules:

- "Better than plain?" is *confirmed* where the mean gain is positive, its 95% bootstrap interval is above 0 and
  Wilcoxon's two-sided p is at most 0.05, which takes 6 seeds at least; *not confirmed* where the mean gain is not
  positive; else *undecided*.
- "As good as the best?" is *confirmed* where no complete configuration has a better mean; *not confirmed* where the
  best is better by the same rules; else *undecided*: that no difference is seen does not show that there is none.

Not corrected for several comparisons; and the best of many is so in part by luck, on the very seeds that chose it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tracking import wording
from tracking.causes import causes
from tracking.paired import LEVEL, interval, least_p, wilcoxon
from tracking.results import Outcome

PLAIN = "plain"
CONFIRMED, NOT_CONFIRMED, UNDECIDED = "confirmed", "not confirmed", "undecided"


@dataclass(frozen=True)
class Summary:
    """One configuration under one objective: its last epoch's value a seed, and what they have in common.

    `deviation` is the sample standard deviation (n - 1); `rank` counts from 1 among complete configurations, equal
    means sharing the better one, None for the others.
    """

    configuration: int
    arm: str
    name: str
    state: str
    epoch: int | None
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    mean: float | None
    deviation: float | None
    q25: float | None
    q50: float | None
    q75: float | None
    rank: int | None


@dataclass(frozen=True)
class Comparison:
    """The claim against another configuration, on the seeds that both have.

    `gains` are a seed's differences and `gain` their mean, positive where the claim is better whatever the goal;
    `low` to `high` is the 95% bootstrap interval of `gain`; `p` is that of Wilcoxon's signed rank test, two-sided;
    `least_p` the smallest that so many seeds can give. `answer` is confirmed | not confirmed | undecided.
    """

    configuration: int
    name: str
    question: str
    answer: str
    sentence: str
    seeds: tuple[int, ...]
    gains: tuple[float, ...]
    gain: float | None
    low: float | None
    high: float | None
    p: float | None
    least_p: float | None


@dataclass(frozen=True)
class ObjectiveVerdict:
    """One objective: all configurations by rank, the claim among them, and the claim against others.

    `to_plain` is the claim against the arm `plain`; where there is none, `to_arms` holds every other arm. `to_best`
    is the claim against the best other configuration.
    """

    metric: str
    goal: str
    ranking: tuple[Summary, ...]
    claim: Summary | None
    to_plain: Comparison | None
    to_arms: tuple[Comparison, ...]
    to_best: Comparison | None


@dataclass(frozen=True)
class Verdict:
    """The answer to a sweep's claim: per objective, what the gradients show, and all of it in plain words."""

    sweep: str
    claim: str | None
    states: Mapping[str, int]
    objectives: tuple[ObjectiveVerdict, ...]
    causes: tuple[str, ...]
    text: str


def judge(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome],
    objectives: Sequence[tuple[str, str]],
    claim: str | None = None,
    sweep: str = "",
) -> Verdict:
    """The verdict on the arm `claim` (None: rankings alone); `objectives` are (metric, maximize | minimize).

    Raises ValueError where an objective is not in the table, or the claim not among the arms.
    """
    arms = {o.arm: o.number for o in outcomes.values() if o.arm}
    if claim is not None and claim not in arms:
        raise ValueError(
            f"the claim must be one of the arms ({', '.join(arms) or 'there are none'}), but got {claim!r}"
        )
    for metric, goal in objectives:
        if goal not in ("maximize", "minimize"):
            raise ValueError(f"a goal must be maximize or minimize, but got {goal!r}")
        if len(frame) and metric not in frame:
            raise ValueError(f"there is no metric {metric!r} in the records")
    judged = tuple(_objective(frame, outcomes, metric, goal, arms, claim) for metric, goal in objectives)
    plain = arms.get(PLAIN)
    why = causes(frame, plain, arms[claim], claim) if claim not in (None, PLAIN) and plain is not None else ()
    states: dict[str, int] = {}
    for o in outcomes.values():
        states[o.state] = states.get(o.state, 0) + 1
    text = wording.text(sweep, claim, states, judged, why)
    return Verdict(sweep, claim, states, judged, why, text)


def summaries(
    frame: pd.DataFrame, outcomes: Mapping[int, Outcome], metric: str, goal: str = "maximize"
) -> tuple[Summary, ...]:
    """Every configuration at its last epoch; the complete ones by rank, then the others by number."""
    found = {o.number: _summary(o, (), (), None) for o in outcomes.values()}
    if len(frame):
        last = frame.groupby("configuration")["epoch"].transform("max")
        ends = frame.loc[frame["epoch"] == last, ["configuration", "seed", "epoch", metric]]
        for number, rows in ends.groupby("configuration"):
            outcome = outcomes.get(int(str(number)))
            if outcome is not None:
                epoch = int(rows["epoch"].iloc[0])
                found[outcome.number] = _summary(outcome, rows["seed"].tolist(), rows[metric].tolist(), epoch)
    sign = -1 if goal == "maximize" else 1
    means = {s.configuration: sign * s.mean for s in found.values() if s.state == "complete" and s.mean is not None}
    rank: dict[float, int] = {}
    for place, value in enumerate(sorted(means.values()), 1):
        rank.setdefault(value, place)
    ranked = [replace(s, rank=rank[means[n]]) if n in means else s for n, s in found.items()]
    return tuple(sorted(ranked, key=lambda s: (s.rank is None, s.rank or 0, s.configuration)))


def compare(claim: Summary, other: Summary, goal: str = "maximize", question: str = "better") -> Comparison:
    """The claim against another configuration: `question` is better (than it) | as good (as the best other one)."""
    theirs = _finite(other)
    mine = _finite(claim)
    seeds = tuple(seed for seed in mine if seed in theirs)
    sign = 1 if goal == "maximize" else -1
    gains = np.array([sign * (mine[s] - theirs[s]) for s in seeds], dtype=np.float64)
    gain = float(gains.mean()) if len(gains) else None
    low, high = interval(gains)
    p, least = wilcoxon(gains), least_p(len(gains))
    answer = _better(gain, low, p) if question == "better" else _as_good(gain, high, p)
    # Half of a training, or none, is no answer; that of a claim which broke down is.
    if {claim.state, other.state} != {"complete"}:
        answer = NOT_CONFIRMED if claim.state in ("diverged", "failed") and other.state == "complete" else UNDECIDED
    found = Comparison(
        configuration=other.configuration,
        name=other.name,
        question=question,
        answer=answer,
        sentence="",
        seeds=seeds,
        gains=tuple(gains.tolist()),
        gain=gain,
        low=low,
        high=high,
        p=p,
        least_p=least,
    )
    return replace(found, sentence=wording.comparison(found, claim, other))


def _finite(summary: Summary) -> dict[int, float]:
    return {seed: value for seed, value in zip(summary.seeds, summary.values, strict=True) if value is not None}


def _better(gain: float | None, low: float | None, p: float | None) -> str:
    if gain is None:
        return UNDECIDED
    if gain <= 0:
        return NOT_CONFIRMED
    return CONFIRMED if low is not None and low > 0 and p is not None and p <= LEVEL else UNDECIDED


def _as_good(gain: float | None, high: float | None, p: float | None) -> str:
    if gain is None:
        return UNDECIDED
    if gain >= 0:
        return CONFIRMED
    return NOT_CONFIRMED if high is not None and high < 0 and p is not None and p <= LEVEL else UNDECIDED


def _objective(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome],
    metric: str,
    goal: str,
    arms: Mapping[str, int],
    claim: str | None,
) -> ObjectiveVerdict:
    ranking = summaries(frame, outcomes, metric, goal)
    of = {s.configuration: s for s in ranking}
    if claim is None:
        return ObjectiveVerdict(metric, goal, ranking, None, None, (), None)
    mine = of[arms[claim]]
    others = {arm: of[number] for arm, number in arms.items() if arm != claim}
    best = next((s for s in ranking if s.rank is not None and s.configuration != mine.configuration), None)
    plain = others.get(PLAIN)
    return ObjectiveVerdict(
        metric=metric,
        goal=goal,
        ranking=ranking,
        claim=mine,
        to_plain=compare(mine, plain, goal) if plain else None,
        to_arms=() if plain else tuple(compare(mine, other, goal) for other in others.values()),
        to_best=compare(mine, best, goal, "as good") if best else None,
    )


def _summary(outcome: Outcome, seeds: Iterable[int], values: Iterable[float], epoch: int | None) -> Summary:
    by_seed = dict(sorted(zip(seeds, values, strict=True)))
    finite = [v for v in by_seed.values() if math.isfinite(v)]
    # Of all seeds or of none: the mean of those that survived would be too good.
    whole = bool(by_seed) and len(finite) == len(by_seed)
    quartiles = np.quantile(finite, (0.25, 0.5, 0.75)).tolist() if whole else (None, None, None)
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
        q25=quartiles[0],
        q50=quartiles[1],
        q75=quartiles[2],
        rank=None,
    )
