"""A sweep without training: values of seeds in, the verdict's answers out, by the verdict's own functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from docs.build.simulations.noises import Noise, Values
from tracking.results import Outcome
from tracking.verdict.claims import BEST, BETTER, Claim, named, parents
from tracking.verdict.comparisons import Paired
from tracking.verdict.comparisons import Values as OfSeeds
from tracking.verdict.judge import Family, Stage, Tested, answered, judge_claims
from tracking.verdict.types import ClaimVerdict


def claim(noise: Noise, kind: str, arm: str, against: str, margin: float = 0.0, after: str = "") -> Claim:
    """A claim about the noise's metric, that more of it is better; a margin of sizes is a factor."""
    return Claim(
        kind,
        arm,
        against,
        noise.metric,
        margin=margin,
        times=bool(margin) and noise.metric != "validation.accuracy",
        scale=noise.scale,
        name=f"{arm} {kind} {against}",
        after=after,
    )


def better(noise: Noise, arm: str = "a1", against: str = "a0", after: str = "") -> Claim:
    """The plainest claim."""
    return claim(noise, BETTER, arm, against, after=after)


def judged(values: Values, claims: Sequence[Claim]) -> tuple[ClaimVerdict, ...]:
    """The verdicts on claims about arms a0, a1, ..., of which `values` (arms, seeds) are known after one epoch."""
    arms, seeds = values.shape
    frame = pd.DataFrame(
        {
            "configuration": np.repeat(np.arange(arms), seeds),
            "seed": np.tile(np.arange(seeds), arms),
            "epoch": 1,
            claims[0].metric: values.ravel(),
        }
    )
    outcomes = {n: Outcome(n, f"a{n}", f"a{n}", "complete") for n in range(arms)}
    return judge_claims(claims, Stage(frame, outcomes))


def answers(values: Values, claims: Sequence[Claim]) -> list[str]:
    """What becomes of the claims: confirmed, refuted or undecided.

    The short way: the same p and the same corrections, without tables, words and intervals, in a tenth of the time.
    """
    claims = [named(claim) for claim in claims]
    tests = [Tested(claim, "", pairs=_pairs(values, claim)) for claim in claims]
    family = Family([(test.deciding(0)[0], test.deciding(1)[0]) for test in tests], parents(claims))
    return [answered(test, family, i) for i, test in enumerate(tests)]


def _pairs(values: Values, claim: Claim) -> list[Paired]:
    """The claim's two arms, or with one of them the best: each of the others."""
    sides = [None if side == BEST else int(side.removeprefix("a")) for side in (claim.arm, claim.against)]
    rivals = [n for n in range(len(values)) if n not in sides] if None in sides else [0]
    both = [[rival if side is None else side for side in sides] for rival in rivals]
    series = [pd.Series(np.log(of) if claim.log else of) for of in values]
    return [Paired(claim, *((n, f"a{n}", OfSeeds(series[n])) for n in pair)) for pair in both]
