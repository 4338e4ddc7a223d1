"""The verdict on a sweep's claims: rankings, and differences paired over seeds with their uncertainty.

    >>> claims = [Claim("better", "paper", "plain", "validation.accuracy")]
    >>> verdict = judge(load("alpha-r"), outcomes("alpha-r"), [Objective("validation.accuracy")], claims)
    >>> print(verdict.text)

Everything here is a function of the table alone: numbers in, frozen dataclasses out.

**One rule for every claim.** A claim says that the gain of one configuration over another is above a threshold: above
0, or above the margin that it names, if it is "better"; above minus the margin if it is "as good" (a non-inferiority
test); between minus and plus the margin if they are "similar" (two such tests). On the seeds that both have:

- *confirmed*: that the gain is at most the threshold is rejected by Wilcoxon's signed-rank test (one-sided, 2.5%,
  corrected);
- *refuted*: that the gain is at least the threshold is rejected, by the same test the other way round. A claim of
  "better" is also refuted where the two configurations are equal to the last digit on every seed, or where its own
  diverged and the other did not (unless it claims, say, that its own gradients are the larger ones);
- *undecided*: neither. No difference seen is not a difference excluded: with a margin, what is too small to matter
  can be excluded too.

**One test, one estimate, one interval.** The gain that is shown is the Hodges-Lehmann estimate, the median of the
means of all pairs of gains, and its 95% interval has the thresholds that the test does not reject. So the interval
excludes the threshold exactly where the test rejects it, before the correction for several claims. All three take
gains for symmetric around their middle, and are about the typical seed: what goes wrong on one seed in ten does not
change an answer, however many seeds there are. Where an answer rests on gains that are skewed against it, it says so.
But no test counts what it has not seen: such a failure is not seen at all on 8 seeds in 43% of sweeps, on 25 in 7%.

**Sizes are compared as ratios.** Sizes, ratios and seconds span decades: one seed can be nearly all of their mean. So
their gains are differences of logs, averaged over epochs as logs, and what is shown is a ratio ("2.3 times as high").
So is what a claim with a margin in per cent or as a factor compares. A size of 0 has no log; it counts as the smallest
positive float32, 1.4e-45, and the claim says so. `Claim.scale` says otherwise where it is given.

**Several claims.** p is corrected after Holm over all claims of a sweep, within each direction. At 2.5% each way, the
probability that a sweep gets any answer wrong (confirmed or refuted where the truth is otherwise) is at most 5%,
whatever the claims have in common. The p that are shown are doubled for the two directions, to be held against 5%. A
claim that comes after another is tested only once that is confirmed, and takes over its share of the level: a chain of
claims costs no more than one. Otherwise it is undecided.

**The best.** "As good as the best" is judged against every other complete configuration: it is confirmed where it
holds against each of them, and refuted where it fails against any, tested against all of them at once (max-T:
`tracking.verdict.statistics.max_t`). So it does not matter that the best was found by looking. The comparison that is
shown is the one that decided: the weakest of those that all have to hold. But a searched configuration is the best in
part by luck, on the very seeds that chose it: a sweep with a confirming stage is judged on that stage's fresh seeds
alone.

**Copies.** A search may suggest what it has suggested before. A configuration whose members are those of another one
has its numbers to the bit, so it is no further rival: it has no rank, and no claim counts it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd

from tracking.best import best, copies, dominators
from tracking.results import CONFIRM, Outcome, per_seed
from tracking.verdict.claims import BETTER, SECONDS, Claim
from tracking.verdict.gradients import gradients
from tracking.verdict.judge import Stage, judge_claims
from tracking.verdict.sections import rankings, sections
from tracking.verdict.tables import Section, markdown
from tracking.verdict.take_off import take_offs
from tracking.verdict.types import ClaimVerdict, ObjectiveVerdict, ParetoPoint, Summary, Verdict
from trainers.objectives import Near, Objective

__all__ = ["ClaimVerdict", "ObjectiveVerdict", "Verdict", "judge"]

MOST_COLUMNS = 6  # configurations whose gradients are shown side by side
MOST_RANKED = 5  # in MLflow's description


def judge(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome],
    objectives: Sequence[Objective],
    claims: Sequence[Claim] = (),
    *,
    claim: str | None = None,
    sweep: str = "",
    confirming: bool = False,
    later: Collection[str] = (),
    left: int = 0,
    seeds_added: bool = False,
) -> Verdict:
    """The verdict on `claims`; the sweep's `objectives` rank it, and `claim` is the arm that is singled out.

    With `confirming` the claims are judged on the confirming stage alone. `later` are the names of claims stated after
    results were available, and with `seeds_added` all are judged on seeds that were added then; `left` configurations
    are unfinished, of which one may be the best.
    Raises ValueError where a metric is not in the table, or a goal is no goal.
    """
    for o in [*objectives, *(c.objective for c in claims)]:
        if o.direction not in ("maximize", "minimize"):
            raise ValueError(f"a goal must be maximize or minimize, but got {o.goal!r}")
        if len(frame) and o.metric not in frame:
            raise ValueError(f"there is no metric {o.metric!r} in the records")
    search, confirmation = Stage(frame, outcomes), Stage(frame, outcomes, fresh=True)
    stage = confirmation if confirming else search
    judged = []
    for o in objectives:
        ranking, fresh = summaries(search, o), summaries(confirmation, o)
        claimed = next((s for s in ranking if s.configuration == search.arms.get(claim or "")), None)
        means = {s.configuration: s.mean for s in (*ranking, *fresh) if s.rank is not None and s.mean is not None}
        first = best(means, confirmation.outcomes, o.direction)
        first_of_all = next((s for s in (*ranking, *fresh) if s.configuration == first), None)
        judged.append(ObjectiveVerdict(o.metric, o.direction, o.name, o.when, ranking, fresh, claimed, first_of_all))
    answers = judge_claims(claims, stage, later, left, seeds_added)
    # What a claim calls better and worse, the best, the arms.
    of_claims = [c.comparison for c in answers if c.kind == BETTER and c.comparison and c.metric != SECONDS]
    compared = [number for comparison in of_claims for number in comparison.configurations[::-1]]
    compared += [o.best.configuration for o in judged[:1] if o.best and o.best.configuration in stage.outcomes]
    compared += [n for n, o in stage.outcomes.items() if (o.confirms or o.arm) in search.arms]
    names = {n: o.confirms or o.name for n, o in outcomes.items()}
    measured = gradients(frame, sorted(list(dict.fromkeys(compared))[:MOST_COLUMNS]), names)
    states = dict(Counter(o.state for o in outcomes.values()))
    total = len(outcomes) + max(left - states.get("running", 0), 0)
    repeated = len(copies(frame, outcomes))
    verdict = Verdict(sweep, claim, states, total, repeated, tuple(judged), pareto(judged), answers, measured)
    verdict = replace(verdict, take_offs=take_offs(frame, answers))
    parts = sections(verdict)
    lines = [line for part in parts if part.sentences for line in (part.title, *part.lines) if line]
    # The whole of it: a list of the best closes what is read from the top.
    described = (*parts[1:], Section("", (), rankings(verdict, MOST_RANKED)))
    return replace(verdict, text="\n".join(lines), markdown=markdown(described))


def summaries(stage: Stage, objective: Objective) -> tuple[Summary, ...]:
    """Every configuration of a stage; the complete ones by rank, then the others by number."""
    values, near = _by_seed(stage, objective), isinstance(objective.goal, Near)
    measured = _by_seed(stage, objective, measured=True) if near else {}
    epochs = stage.records.groupby("configuration")["epoch"].max().to_dict() if values else {}
    every = [
        _summary(outcome, epochs.get(number), values.get(number, {}), [*measured.get(number, {}).values()])
        for number, outcome in stage.outcomes.items()
    ]
    means = {s.configuration: s.mean for s in every if s.state == "complete" and s.mean is not None}
    ascending = objective.direction == "minimize"
    ranks = pd.Series(means, dtype=float).rank(method="min", ascending=ascending).astype(int).to_dict()
    ranked = [replace(s, rank=ranks.get(s.configuration)) for s in every]
    return tuple(sorted(ranked, key=lambda s: (s.rank is None, s.rank or 0, s.configuration)))


def pareto(objectives: Sequence[ObjectiveVerdict]) -> tuple[ParetoPoint, ...]:
    """The complete configurations of several objectives, the front first; on fresh seeds where there are some.

    By their means alone: whether two differ by more than noise is a question for a claim.
    """
    if len(objectives) < 2:
        return ()
    fresh = any(s.rank for o in objectives for s in o.confirmed)
    ranked = [{s.configuration: s for s in (o.confirmed if fresh else o.ranking) if s.rank} for o in objectives]
    shared = [n for n in ranked[0] if all(n in of for of in ranked)]
    values = [tuple(s.mean for of in ranked if (s := of[n]).mean is not None) for n in shared]
    over = dominators(values, [o.goal for o in objectives])
    names = {n: ranked[0][n].name.removeprefix(CONFIRM) for n in shared}
    arms = {s.arm for s in objectives[0].ranking}
    points = [
        ParetoPoint(n, names[n] if names[n] in arms else "", names[n], value, tuple(shared[i] for i in by))
        for n, value, by in zip(shared, values, over, strict=True)
    ]
    return tuple(sorted(points, key=lambda point: len(point.dominated_by) > 0))


def _by_seed(stage: Stage, objective: Objective, *, measured: bool = False) -> dict[int, dict[int, float]]:
    """Configuration -> seed -> the value of an objective, or of its metric."""
    values: dict[int, dict[int, float]] = {}
    for key, value in per_seed(stage.records, objective, measured=measured).items() if len(stage.records) else ():
        configuration, seed = cast(tuple[int, int], key)
        values.setdefault(configuration, {})[seed] = value
    return values


def _summary(outcome: Outcome, epoch: int | None, by_seed: Mapping[int, float], measured: Sequence[float]) -> Summary:
    """A configuration's results; `measured` are those of a metric whose distance from a number is the objective."""
    seeds = tuple(sorted(by_seed))
    values = tuple(by_seed[seed] if math.isfinite(by_seed[seed]) else None for seed in seeds)
    summary = Summary(outcome.number, outcome.arm, outcome.name, outcome.state, epoch, seeds, values)
    finite = [v for v in values if v is not None]
    # Of all seeds or of none: the mean of those that survived would be too good.
    if not finite or len(finite) < len(values):
        return summary
    if measured and math.isfinite(mean := float(np.mean(measured))):
        summary = replace(summary, measured=mean)
    q25, q50, q75 = np.quantile(finite, (0.25, 0.5, 0.75)).tolist()
    deviation = float(np.std(finite, ddof=1)) if len(finite) > 1 else None
    return replace(summary, mean=math.fsum(finite) / len(finite), deviation=deviation, q25=q25, q50=q50, q75=q75)
