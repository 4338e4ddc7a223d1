"""Numbers that others have published on signal propagation, where each is to be found, and ours.

`gradsweep theory signal` prints them side by side; a test holds them together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainers.theory.signal import correlation_map, critical_sigma_w

RESCALED = (1.0, "rescaled")
HE = "He et al. 2015, arXiv:1502.01852"
CHO_AND_SAUL = "Cho and Saul 2009, arc-cosine kernel of degree 1"
# Read off notebooks/figures/pennington_phase_diagram.svg of github.com/google/neural-tangents, whose line is smoothed.
PENNINGTON = "Pennington et al. 2018, arXiv:1802.09979, its phase diagram"
# The book itself was not at hand: github.com/Striletchi-Vlad/CritMLP quotes it, and for gelu so does the README of
# NTK-Unlimited (arXiv:2508.11522). For silu CritMLP has sigma_b^2 = 0.055514317, the same digits one place off.
ROBERTS = "Roberts, Yaida and Hanin 2022, arXiv:2106.10165, as quoted by CritMLP"


@dataclass(frozen=True)
class Published:
    """A number, its source, how near it is known, and our function for the same."""

    what: str
    source: str
    value: float
    within: float
    compute: Callable[[], float]


def _edge(
    activation: str, bias_variance: float, value: float, within: float, source: str, slope: float | None = None
) -> Published:
    with_slope = "" if slope is None else f" with slope {slope:g}"
    what = f"{activation}{with_slope}: sigma_w^2 on the edge at sigma_b^2 = {bias_variance:.9g}"
    at = (activation, *RESCALED, math.sqrt(bias_variance), slope)
    return Published(what, source, value, within, lambda: critical_sigma_w(*at) ** 2)


def _correlation(name: str, c: float, value: float) -> Published:
    at = (c, "relu", *RESCALED, math.sqrt(2.0), 0.0)
    return Published(f"relu: C({name}) on the edge", CHO_AND_SAUL, value, 1e-9, lambda: correlation_map(*at))


PUBLISHED = (
    _edge("tanh", 0.0, 1.0, 1e-9, ROBERTS),
    _edge("tanh", 0.05, 1.758, 0.005, PENNINGTON),
    _edge("tanh", 0.1, 1.991, 0.005, PENNINGTON),
    _edge("tanh", 0.2, 2.284, 0.005, PENNINGTON),
    _edge("relu", 0.0, 2.0, 1e-9, HE),
    _edge("prelu", 0.0, 2 / (1 + 0.25**2), 1e-9, ROBERTS, slope=0.25),
    _edge("gelu", 0.17292239, 1.98305826, 1e-8, ROBERTS),
    _edge("silu", 0.55514317, 1.98800468, 1e-8, ROBERTS),
    _correlation("0", 0.0, 1 / math.pi),
    _correlation("1/2", 0.5, (math.sin(math.pi / 3) + 2 / 3 * math.pi * math.cos(math.pi / 3)) / math.pi),
)


def compared() -> list[dict[str, Any]]:
    """Each with ours; `within` is how near the published number is known."""
    return [
        {"what": p.what, "source": p.source, "published": p.value, "within": p.within, "ours": p.compute()}
        for p in PUBLISHED
    ]
