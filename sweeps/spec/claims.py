"""The claims of a spec: what the sweep is to decide, written beside what it is to train.

    claims:
      - {better: l2, than: plain, by: 0.01, since: 11, says: "improves the accuracies considerably"}
      - {as_good: paper, as: best, margin: 0.01}
      - {similar: l2, to: plain, margin: 2%, until: 10}
      - {better: l2, than: plain, metric: gradient.data.rms, goal: maximize, by: 10x, after: paper-as-good-as-best}

`claim: ARM` is short for the two that `tracking.verdict.claims.default_claims` makes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import PlainValidator, model_validator

from sweeps.spec.values import (
    EPOCH,
    GOAL,
    PERCENT,
    Epoch,
    Goal,
    Part,
    Problem,
    earlier_is_better,
    optional,
    refuse,
)
from tracking.verdict.claims import AS_GOOD, BETTER, SECONDS, SIMILAR, Claim, named
from trainers.errors import shown
from trainers.objectives import LAST, Objective

# key of a kind -> (the kind, the key of the other configuration, that of the margin)
KINDS = {
    "better": (BETTER, "than", "by"),
    "as_good": (AS_GOOD, "as", "margin"),
    "similar": (SIMILAR, "to", "margin"),
}


def _amount(value: Any) -> float | str:
    if isinstance(value, str) and (PERCENT.fullmatch(value) or FACTOR.fullmatch(value)):
        return value
    if type(value) in (int, float) and value >= 0:
        return float(value)
    raise ValueError(f"must be a number >= 0, a percentage like 10% or a factor like 2x, but got {shown(value)}")


FACTOR = re.compile(r"([1-9][0-9]*(?:\.[0-9]*)?) *x")
Margin = Annotated[float | str, PlainValidator(_amount)]


class ClaimSpec(Part):
    """What the verdict is to decide: better ... than, as_good ... as, or similar ... to.

    A seed counts with its mean over the epochs from since to until, or with what epoch says: the objective's, if the
    metric is one, and else the last epoch.
    """

    name: str | None = optional(None, "the claim's name; left out, it is made of what the claim says")
    says: str | None = optional(None, "the claim in its author's words")
    better: str | None = optional(None, "an arm, or best, that is better than the arm of than")
    than: str | None = optional(None, "an arm, or best: the best of the other configurations")
    by: Margin | None = optional(None, "by more than this, in the metric's unit, as 10% or 2x; left out, by anything")
    as_good: str | None = optional(None, "an arm, or best, that is as good as the arm of as")
    as_: str | None = optional(None, "an arm, or best", alias="as")
    similar: str | None = optional(None, "an arm that is neither better nor worse than the arm of to")
    to: str | None = optional(None, "an arm")
    margin: Margin | None = optional(None, "the difference that does not matter, in the metric's unit, as 10% or 2x")
    metric: str | None = optional(None, "a metric; left out, the first objective's")
    goal: Goal | None = optional(None, f"{GOAL}; left out, the objective's, if it is one")
    epoch: Epoch | None = optional(None, f"{EPOCH}; instead of since and until")
    since: int | None = optional(None, "the first epoch that counts; 0 is before the first step", ge=0)
    until: int | None = optional(None, "the last epoch that counts", ge=0)
    scale: Literal["linear", "log"] | None = optional(
        None, "linear: differences | log: ratios; left out, ratios for sizes and where the margin is 10% or 2x"
    )
    after: str | None = optional(None, "the name of another claim: this one is tested only once that one is confirmed")

    _first = model_validator(mode="before")(earlier_is_better)

    @property
    def given(self) -> dict[str, Any]:
        """What is written."""
        return self.model_dump(by_alias=True, exclude_none=True)

    @property
    def key(self) -> str:
        """The key of its kind."""
        return next(key for key in KINDS if key in self.given)

    @model_validator(mode="after")
    def _is_one_claim(self) -> ClaimSpec:
        given = self.given
        kinds = [key for key in KINDS if key in given]
        if len(kinds) != 1:
            rule = f"must have one of better, as_good and similar, but got {' and '.join(kinds) or 'none of them'}"
            refuse([(tuple(kinds[1:2]), rule)])
        key = kinds[0]
        _, other, margin = KINDS[key]
        wrong: list[Problem] = [
            ((word,), f"does not go with {key}: a claim of {key} has {other} and {margin}")
            for word in ("than", "as", "to", "by", "margin")
            if word in given and word not in (other, margin)
        ]
        if other not in given:
            wrong.append(((other,), f"is missing: {key} {shown(given[key])} {other} which arm?"))
        elif given[key] == given[other]:
            wrong.append(((other,), f"must be another one than {key}, but got {shown(given[key])} twice"))
        if margin == "margin" and margin not in given:
            wrong.append(((margin,), f"is missing: {ClaimSpec.model_fields[margin].description}"))
        if self.since is not None and self.until is not None and self.since > self.until:
            wrong.append((("until",), f"since <= until must hold, but got {self.since} and {self.until}"))
        if self.epoch is not None and (self.since, self.until) != (None, None):
            wrong.append((("epoch",), "does not go with since and until: they say which epochs count, too"))
        if self.epoch is not None and self.metric == SECONDS:
            wrong.append(
                (("epoch",), "must be left out: seconds are compared epoch by epoch; since and until can limit them")
            )
        refuse(wrong)
        return self

    def judged(self, objectives: Sequence[Objective], longest: int) -> Claim:
        """What the verdict judges; the goal is "" where it is neither given nor an objective's."""
        given = self.given
        kind, other, margin = KINDS[self.key]
        size = given.get(margin, 0.0)
        percent = PERCENT.fullmatch(size) if isinstance(size, str) else None
        factor = FACTOR.fullmatch(size) if isinstance(size, str) else None
        metric = self.metric or objectives[0].metric
        own_epochs = {"epoch", "since", "until"} & given.keys()
        same = [o for o in objectives if o.metric == metric and self.goal in (None, o.goal)]
        # To be early is a goal of its epoch alone.
        ours = next((o for o in same if not own_epochs or o.epoch.how != "first_above"), None)
        epoch = self.epoch or (LAST if own_epochs or not ours or metric == SECONDS else ours.epoch)
        return Claim(
            kind=kind,
            arm=given[self.key],
            against=given[other],
            metric=metric,
            goal=self.goal or (ours.goal if ours else ""),
            epoch=epoch.within(longest),
            margin=float(percent[1]) / 100 if percent else float(factor[1]) if factor else float(size),
            relative=percent is not None,
            times=factor is not None,
            **{word: given[word] for word in ("since", "until", "name", "says", "scale", "after") if word in given},
        )


def judged(claims: Sequence[ClaimSpec], objectives: Sequence[Objective], longest: int) -> tuple[Claim, ...]:
    """What the verdict judges, given the objectives and the most epochs that any configuration trains. Claims without
    a name get one each, which says what they differ in where it must."""
    made = [claim.judged(objectives, longest) for claim in claims]
    names = [named(claim).name for claim in made]
    for differences in zip(*map(_differences, made), strict=True):
        for word in {name for name in names if names.count(name) > 1}:
            same = [i for i, claim in enumerate(made) if names[i] == word and not claim.name]
            if len({differences[i] for i in same}) > 1:
                for i in same:
                    names[i] += differences[i]
    return tuple(replace(claim, name=name) for claim, name in zip(made, names, strict=True))


def _differences(claim: Claim) -> tuple[str, str, str]:
    """What claims about the same arms may differ in, each as the end of a name."""
    epochs = [f"-{word}-{n}" for word, n in (("since", claim.since), ("until", claim.until)) if n is not None]
    if claim.epoch.how != "last":
        epochs.append(f"-{claim.epoch.how}" + (f"-{claim.epoch.amount:g}" if claim.epoch.amount else ""))
    margin = f"{100 * claim.margin:g}%" if claim.relative else f"{claim.margin:g}" + "x" * claim.times
    return f"-in-{claim.metric}", "".join(epochs), f"-by-{margin}"
