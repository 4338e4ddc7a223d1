"""What a sweep's table says of its claims: rankings, and differences paired over seeds with their uncertainty.

    >>> claims = [Claim("better", "paper", "plain", "validation.accuracy")]
    >>> verdict = judge(load("alpha-r"), outcomes("alpha-r"), [("validation.accuracy", "maximize")], claims)
    >>> print(verdict.text)

Everything here is a function of the table alone: numbers in, frozen dataclasses out. A number that does not exist (of
a diverged member, or of an empty set) is None, so that `dataclasses.asdict` gives JSON.

**One rule for every claim.** A claim says that the gain of one configuration over another is above a threshold: above
0, or above the margin that it names, if it is "better"; above minus the margin if it is "as good" (a non-inferiority
test); between minus and plus the margin if they are "similar" (two such tests). On the seeds that both have:

- *confirmed*: that the gain is at most the threshold is refuted, by Wilcoxon's signed rank test (one-sided, 2.5%,
  corrected) and by the 95% bootstrap interval of the mean, which lies wholly above it;
- *not confirmed*: that the gain is at least the threshold is refuted, by the same two the other way round. So is a
  claim of "better" whose two configurations are equal to the last digit on every seed, and one whose own
  configuration diverged where the other did not (but not one that its gradients, say, are the larger ones);
- *undecided*: neither. No difference seen is not a difference excluded: with a margin, what is too small to matter
  can be excluded too.

Both tests must agree because each has its weakness: Wilcoxon's takes differences for symmetric around their centre,
the bootstrap of few seeds is too narrow.

**Several claims.** p is corrected after Holm over all claims of a sweep, within each direction. At 2.5% each way, the
probability that a sweep gets any answer wrong (confirmed or not confirmed where the truth is otherwise) is at most 5%,
whatever the claims have in common. The p that are shown are doubled for the two directions, to be held against 5%.
This holds where differences scatter evenly around their centre. What goes wrong on one seed in ten is not seen at all
on 8 seeds in 43% of sweeps, on 25 in 7%, and no test counts what it has not seen.

**The best.** "As good as the best" is judged against every other complete configuration: it is confirmed where it
holds against each of them, and not confirmed where it fails against any, of so many (Bonferroni). So it does not
matter that the best was found by looking. But a searched configuration is the best in part by luck, on the very seeds
that chose it: a sweep with a confirming stage is judged on that stage's fresh seeds alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tracking.markdown import markdown
from tracking.results import Outcome
from tracking.verdict import words as wording
from tracking.verdict.causes import causes
from tracking.verdict.claims import BETTER, PLAIN, Claim
from tracking.verdict.comparisons import SECONDS
from tracking.verdict.judge import ClaimVerdict, Stage, judge_claims
from tracking.verdict.rankings import Summary, summaries

__all__ = ["ClaimVerdict", "ObjectiveVerdict", "Summary", "Verdict", "judge", "summaries"]

MOST_CAUSES = 3  # pairs of configurations whose gradients are described


@dataclass(frozen=True)
class ObjectiveVerdict:
    """One objective: the sweep's own configurations by rank, those of the confirming stage, the claim's arm."""

    metric: str
    goal: str
    ranking: tuple[Summary, ...]
    confirmed: tuple[Summary, ...]
    claim: Summary | None


@dataclass(frozen=True)
class Verdict:
    """The answer to a sweep's claims: what each objective shows, each claim, the gradients, and all in plain words.

    `states` counts the configurations that have records, of `total`. `markdown` is the same for MLflow.
    """

    sweep: str
    claim: str | None
    states: Mapping[str, int]
    total: int
    objectives: tuple[ObjectiveVerdict, ...]
    claims: tuple[ClaimVerdict, ...]
    causes: tuple[str, ...]
    text: str
    markdown: str


def judge(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome],
    objectives: Sequence[tuple[str, str]],
    claims: Sequence[Claim] = (),
    *,
    claim: str | None = None,
    sweep: str = "",
    confirming: bool = False,
    later: Collection[str] = (),
    left: int = 0,
) -> Verdict:
    """The verdict on `claims`; `objectives` are (metric, maximize | minimize), `claim` the arm that is singled out.

    With `confirming` the claims are judged on the confirming stage alone. `later` are the names of claims stated after
    the first results were there; `left` is how many configurations are still to come, of which one may be the best.
    Raises ValueError where a metric is not in the table, or a goal is no goal.
    """
    for metric, goal in [*objectives, *((c.metric, c.goal) for c in claims)]:
        if goal not in ("maximize", "minimize"):
            raise ValueError(f"a goal must be maximize or minimize, but got {goal!r}")
        if len(frame) and metric not in frame:
            raise ValueError(f"there is no metric {metric!r} in the records")
    own = {n: o for n, o in outcomes.items() if o.confirms is None}
    again = {n: o for n, o in outcomes.items() if o.confirms is not None}
    arms = {o.arm: n for n, o in own.items() if o.arm}
    judged = tuple(_objective(frame, own, again, metric, goal, arms, claim) for metric, goal in objectives)
    stage = Stage(frame, again, {a: n for n, o in again.items() if (a := o.confirms)}) if confirming else None
    stage = stage or Stage(frame, own, arms)
    found = judge_claims(claims, stage, later, left)
    fresh = (
        sorted({s for n in again if (rows := stage.rows(n)) is not None for s in rows["seed"]}) if confirming else []
    )
    why = _causes(frame, found, stage, claim)
    states: dict[str, int] = {}
    for o in outcomes.values():
        states[o.state] = states.get(o.state, 0) + 1
    ended = sum(count for state, count in states.items() if state != "running")
    total = max(ended + left, len(outcomes))
    text = wording.text(sweep, claim, states, total, judged, found, fresh, why)
    return Verdict(sweep, claim, states, total, judged, found, why, text, markdown(judged, found, fresh, why))


def _objective(
    frame: pd.DataFrame,
    own: Mapping[int, Outcome],
    again: Mapping[int, Outcome],
    metric: str,
    goal: str,
    arms: Mapping[str, int],
    claim: str | None,
) -> ObjectiveVerdict:
    ranking = summaries(frame, own, metric, goal)
    mine = next((s for s in ranking if s.configuration == arms.get(claim or "")), None)
    return ObjectiveVerdict(metric, goal, ranking, summaries(frame, again, metric, goal), mine)


def _causes(frame: pd.DataFrame, claims: Sequence[ClaimVerdict], stage: Stage, claim: str | None) -> tuple[str, ...]:
    """Of the arm singled out beside plain, then of every two that a claim calls better and worse."""
    arms = stage.arms
    pairs: dict[tuple[int, int], tuple[str, str]] = {}
    if claim is not None and claim in arms and claim != PLAIN and PLAIN in arms:
        pairs[arms[claim], arms[PLAIN]] = (PLAIN, claim)
    for c in claims:
        if c.kind == BETTER and c.comparison is not None and c.metric != SECONDS:
            pairs.setdefault(c.comparison.configurations, (c.comparison.other, c.comparison.one))
    said: dict[str, None] = {}
    for (one, other), names in list(pairs.items())[:MOST_CAUSES]:
        said |= dict.fromkeys(causes(frame, other, one, names))
    return tuple(said)
