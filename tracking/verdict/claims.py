"""A claim as data: one configuration is better than, as good as, or similar to another on a metric.

    >>> Claim("better", "l2", "plain", "validation.accuracy", margin=0.01, since=11, says="improves considerably")

Standard library only, so that a spec can be read without pandas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

BETTER, AS_GOOD, SIMILAR = "better", "as good", "similar"
BEST = "best"  # in the place of an arm: whichever of the other configurations is the best
PLAIN = "plain"
MARGIN = 0.01  # of an accuracy, where none is stated: one point in a hundred


@dataclass(frozen=True)
class Claim:
    """`arm` is better than `against` by more than `margin`; or at most `margin` worse; or within `margin` of it.

    `arm` and `against` are arms, or one of them is BEST. `goal`, maximize or minimize, says which way of `metric` is
    better. `margin` is in the metric's unit, or with `relative` a fraction of the value of `against`. What is compared
    is a seed's mean over the epochs from `since` to `until`, both included; the last epoch where neither is given, all
    before or after where one is. `says` are the claim's own words.
    """

    kind: str
    arm: str
    against: str
    metric: str
    goal: str = "maximize"
    margin: float = 0.0
    relative: bool = False
    since: int | None = None
    until: int | None = None
    name: str = ""
    says: str = ""


def named(claim: Claim) -> Claim:
    """The claim with a name made of what it says, where its author has given none: l2-better-than-plain."""
    word = {BETTER: "better-than", AS_GOOD: "as-good-as"}.get(claim.kind, "similar-to")
    return claim if claim.name else replace(claim, name=f"{claim.arm}-{word}-{claim.against}")


def default_claims(claim: str, arms: Iterable[str], objectives: Sequence[tuple[str, str]]) -> tuple[Claim, ...]:
    """What naming an arm claims, of each objective: better than plain, and as good as the best.

    Without the arm `plain` (or where the claim is about it): better than each other arm. "As good" needs a margin, so
    it is claimed of accuracies alone, where one point is one everywhere.
    """
    others = [arm for arm in arms if arm != claim]
    rivals = [PLAIN] if PLAIN in others else others
    claims = []
    for metric, goal in objectives:
        claims += [Claim(BETTER, claim, rival, metric, goal) for rival in rivals]
        if metric.endswith(".accuracy"):
            claims.append(Claim(AS_GOOD, claim, BEST, metric, goal, MARGIN))
    several = len({metric for metric, _ in objectives}) > 1
    return tuple(replace(c, name=named(c).name + f"-in-{c.metric}" * several) for c in claims)
