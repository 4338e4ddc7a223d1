"""A sweep without training: values of seeds in, the verdict's answers out, by the verdict's own functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from docs.build.simulations.noises import Noise, Values
from tracking.results import Outcome
from tracking.verdict.claims import BETTER, Claim
from tracking.verdict.comparisons import Paired
from tracking.verdict.judge import CONFIRMED, NOT_CONFIRMED, UNDECIDED, Stage, judge_claims
from tracking.verdict.statistics import LEVEL
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


def answer(values: Values, claim: Claim) -> str:
    """What becomes of a single claim about a1 and a0, (2, seeds): the same p, without the words and intervals."""
    against, arm = (pd.Series(of) for of in values)
    pair = Paired(claim, (1, "a1", arm), (0, "a0", against))
    holds, fails = pair.p
    if 2 * holds <= LEVEL:
        return CONFIRMED
    return NOT_CONFIRMED if 2 * fails <= LEVEL or pair.same else UNDECIDED


def answers(values: Values, claims: Sequence[Claim]) -> list[str]:
    """What becomes of the claims: confirmed, not confirmed or undecided."""
    return [verdict.answer for verdict in judged(values, claims)]
