"""A claim as data: one configuration is better than, as good as, or similar to another on a metric.

    >>> Claim("better", "l2", "plain", "validation.accuracy", margin=0.01, since=11, says="improves considerably")

Without pandas and scipy, so that a spec is read quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from trainers.metrics import on_log_scale
from trainers.objectives import LAST, Epochs, Near, Objective

SECONDS = "seconds"  # the metric that is compared epoch by epoch, not seed by seed
BETTER, AS_GOOD, SIMILAR = "better", "as good", "similar"
BEST = "best"  # in the place of an arm: whichever of the other configurations is the best
PLAIN = "plain"
MARGIN = 0.01  # of an accuracy, where none is stated: one point in a hundred


@dataclass(frozen=True)
class Claim:
    """`arm` is better than `against` by more than `margin`; or at most `margin` worse; or within `margin` of it.

    `arm` and `against` are arms, or one of them is BEST. `metric`, `goal` and `epoch` are those of an objective.
    `margin` is in the unit of its value, or with `relative` a fraction of the value of `against`; with `times` it is a
    factor of it, at least 1. `scale` is log or linear; left empty, the metric's own. Where `since` or `until` is given,
    what is compared is a seed's mean over the epochs between them, both included, whatever `epoch` says. The claim is
    tested only once the claim named `after` is confirmed. `says` are the claim's own words.
    """

    kind: str
    arm: str
    against: str
    metric: str
    goal: str | Near = "maximize"
    margin: float = 0.0
    relative: bool = False
    times: bool = False
    scale: str = ""
    since: int | None = None
    until: int | None = None
    name: str = ""
    says: str = ""
    epoch: Epochs = LAST
    after: str = ""

    @property
    def objective(self) -> Objective:
        """What is compared."""
        return Objective(self.metric, self.goal, self.epoch)

    @property
    def log(self) -> bool:
        """Whether what is compared are ratios: as `scale` says, and else of sizes and where the margin is one.

        A margin in the metric's unit is one of differences; so are distances from a target and epochs.
        """
        if isinstance(self.goal, Near) or self.epoch.how == "first_above":
            return False
        if self.scale:
            return self.scale == "log"
        size = self.metric == SECONDS or on_log_scale(self.metric)
        return self.relative or self.times or (size and not self.margin)

    @property
    def ratios(self) -> tuple[float, float]:
        """The margin on the log scale, as the ratios to which it goes down and up: 0.9 and 1.1, or 1/2 and 2."""
        if self.times:
            return 1 / self.margin, self.margin
        return (1 - self.margin, 1 + self.margin) if self.relative else (1.0, 1.0)

    @property
    def sign(self) -> int:
        """1 where more of it is better, and -1 where less is."""
        return 1 if self.objective.direction == "maximize" else -1


def named(claim: Claim) -> Claim:
    """The claim with a name made of what it says, where its author has given none: l2-better-than-plain."""
    word = {BETTER: "better-than", AS_GOOD: "as-good-as"}.get(claim.kind, "similar-to")
    return claim if claim.name else replace(claim, name=f"{claim.arm}-{word}-{claim.against}")


def parents(claims: Sequence[Claim]) -> tuple[int | None, ...]:
    """For each claim the index of the one that it comes after; None where it comes after none.

    Raises ValueError where `after` names no claim, or claims come after each other in a circle.
    """
    places = {named(claim).name: i for i, claim in enumerate(claims)}
    for claim in claims:
        if claim.after and claim.after not in places:
            raise ValueError(f"claim {named(claim).name!r} comes after {claim.after!r}, which is no claim")
    above = tuple(places[claim.after] if claim.after else None for claim in claims)
    try:
        TopologicalSorter({i: [place] for i, place in enumerate(above) if place is not None}).prepare()
    except CycleError as error:
        circle = " -> ".join(named(claims[i]).name for i in reversed(error.args[1]))
        raise ValueError(f"claims come after each other in a circle: {circle}") from None
    return above


def default_claims(claim: str, arms: Iterable[str], objectives: Sequence[Objective]) -> tuple[Claim, ...]:
    """What naming an arm claims, of each objective: better than plain, and as good as the best.

    Without the arm `plain` (or where the claim is about it): better than each other arm. "As good" needs a margin, so
    it is claimed of accuracies alone, where one point is one everywhere.
    """
    others = [arm for arm in arms if arm != claim]
    rivals = [PLAIN] if PLAIN in others else others
    claims = []
    several = len(objectives) > 1
    for o in objectives:
        of_these = [Claim(BETTER, claim, rival, o.metric, o.goal, epoch=o.epoch) for rival in rivals]
        if o.metric.endswith(".accuracy") and o.epoch.how != "first_above":
            of_these.append(Claim(AS_GOOD, claim, BEST, o.metric, o.goal, MARGIN, epoch=o.epoch))
        suffix = f"-in-{o.name.replace(' ', '-')}" * several
        claims += [replace(c, name=named(c).name + suffix) for c in of_these]
    return tuple(claims)
