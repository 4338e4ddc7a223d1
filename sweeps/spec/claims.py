"""The claims of a spec: what the sweep is to decide, written beside what it is to train.

    claims:
      - {better: l2, than: plain, by: 0.01, since: 11, says: "improves the accuracies considerably"}
      - {as_good: paper, as: best, margin: 0.01}
      - {similar: l2, to: plain, margin: 2%, until: 10}

The checks give their problems, each with its place, and raise nothing; `claims_of` makes what the verdict judges.
`claim: ARM` is short for the two that `tracking.verdict.claims.default_claims` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sweeps.spec.checks import Checked, Problem, close, near, shown
from tracking.verdict.claims import AS_GOOD, BEST, BETTER, SIMILAR, Claim, default_claims, named
from trainers.errors import printable

if TYPE_CHECKING:
    from sweeps.spec.model import ClaimSpec, SweepSpec

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) *%")
# key of a kind -> (the kind, the key of the other configuration, that of the margin)
KINDS = {
    "better": (BETTER, "than", "by"),
    "as_good": (AS_GOOD, "as", "margin"),
    "similar": (SIMILAR, "to", "margin"),
}


def amount(value: Any) -> Checked:
    """A number >= 0, or a text like 10%."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value), []
    if isinstance(value, str) and _PERCENT.fullmatch(value):
        return value, []
    return None, [Problem((), f"must be a number >= 0, or a percentage like 10%, but got {shown(value)}")]


def problems(spec: SweepSpec, metrics: Sequence[str]) -> list[Problem]:
    """What is wrong with a spec's claims; `metrics` are those that all of its networks have."""
    found: list[Problem] = []
    seen: set[str] = set()
    if BEST in spec.arms:
        found.append(Problem(("arms", BEST), "an arm can't be called best: in a claim that is whichever is the best"))
    for i, claim in enumerate(spec.claims):
        wrong = _problems(spec, claim, tuple(metrics))
        found += [Problem(("claims", i, *p.path), p.message) for p in wrong]
        if not wrong:
            name = _claim(spec, claim).name
            if name in seen:
                hint = "give this one a name" if claim.name is None else "they must differ"
                found.append(Problem(("claims", i, "name"), f"another claim has the name {shown(name)}; {hint}"))
            seen.add(name)
    return found


def claims_of(spec: SweepSpec) -> tuple[Claim, ...]:
    """What the verdict judges: the claims that are stated, or what `claim` stands for."""
    if spec.claims:
        return tuple(_claim(spec, claim) for claim in spec.claims)
    if spec.claim is None:
        return ()
    return default_claims(spec.claim, spec.arms, [(o.metric, o.goal) for o in spec.objective])


def undecidable(spec: SweepSpec) -> list[str]:
    """A line for each claim about epochs that a side of it does not reach: no error, for fewer epochs are a quick look.

    A shipped study is tried with `--set base.epochs=1`, whatever its claims are about.
    """
    found = []
    for claim in claims_of(spec):
        sides = [(_epochs(spec, side), side) for side in (claim.arm, claim.against)]
        most, side = min(sides, key=lambda has: has[0])
        if claim.since is not None and claim.since > most:
            who = "no configuration has more than" if side == BEST else f"{side} has"
            about = f"is about epochs from {claim.since} on, but {who} {most}"
            found.append(printable(f"claim {claim.name}: {about}: it will be undecided"))
    return found


def _epochs(spec: SweepSpec, side: str) -> int:
    """How many an arm has, or the most that any configuration has."""
    return spec.search_plan().epochs if side == BEST else spec.members(spec.arms[side])[0].epochs


def _problems(spec: SweepSpec, claim: ClaimSpec, metrics: tuple[str, ...]) -> list[Problem]:
    given = claim.model_dump(by_alias=True, exclude_none=True)
    kinds = [key for key in KINDS if key in given]
    if len(kinds) != 1:
        rule = "must have one of better, as_good and similar"
        return [Problem(kinds[1:2] and (kinds[1],) or (), f"{rule}, but got {' and '.join(kinds) or 'none of them'}")]
    key = kinds[0]
    _, other, margin = KINDS[key]
    found = []
    for word in ("than", "as", "to", "by", "margin"):
        if word in given and word not in (other, margin):
            found.append(Problem((word,), f"does not go with {key}: a claim of {key} has {other} and {margin}"))
    if other not in given:
        found.append(Problem((other,), f"is missing: {key} {shown(given[key])} {other} which arm?"))
    if margin == "margin" and margin not in given:
        found.append(
            Problem((margin,), "is missing: the difference that does not matter, in the metric's unit or as 10%")
        )
    sides = [(word, given[word]) for word in (key, other) if word in given]
    found += [p for word, side in sides if (p := _side(spec, word, side, key))]
    if not found and sides[0][1] == sides[1][1]:
        found.append(Problem((other,), f"must be another one than {key}, but got {shown(sides[1][1])} twice"))
    return found + _what(spec, claim, metrics)


def _side(spec: SweepSpec, word: str, side: str, key: str) -> Problem | None:
    if side in spec.arms or (side == BEST and key != "similar"):
        return None
    if side == BEST:
        return Problem((word,), "must be the name of an arm: to be similar to the best is to be as_good as it")
    hint = close(side, (*spec.arms, BEST)) if spec.arms else "there are no arms"
    return Problem((word,), f"must be the name of an arm, or best, but got {shown(side)}; {hint}")


def _what(spec: SweepSpec, claim: ClaimSpec, metrics: tuple[str, ...]) -> list[Problem]:
    found = []
    if claim.metric is not None and claim.metric not in metrics:
        found.append(Problem(("metric",), f"unknown metric {shown(claim.metric)}; {near(claim.metric, metrics)}"))
    elif claim.goal is None and _goal(spec, claim) is None:
        found.append(Problem(("goal",), f"is missing: which {claim.metric} is better? maximize | minimize"))
    if claim.since is not None and claim.until is not None and claim.since > claim.until:
        found.append(Problem(("until",), f"since <= until must hold, but got {claim.since} and {claim.until}"))
    return found


def _goal(spec: SweepSpec, claim: ClaimSpec) -> str | None:
    """The goal stated, or the objective's of this metric."""
    if claim.goal is not None or claim.metric is None:
        return claim.goal or spec.objective[0].goal
    return next((o.goal for o in spec.objective if o.metric == claim.metric), None)


def _claim(spec: SweepSpec, written: ClaimSpec) -> Claim:
    given = written.model_dump(by_alias=True, exclude_none=True)
    key = next(key for key in KINDS if key in given)
    kind, other, margin = KINDS[key]
    size = given.get(margin, 0.0)
    percent = _PERCENT.fullmatch(size) if isinstance(size, str) else None
    claim = Claim(
        kind=kind,
        arm=given[key],
        against=given[other],
        metric=written.metric or spec.objective[0].metric,
        goal=_goal(spec, written) or "",
        margin=float(percent[1]) / 100 if percent else float(size),
        relative=percent is not None,
        since=written.since,
        until=written.until,
        name=written.name or "",
        says=written.says or "",
    )
    return named(claim)
