"""What `gradsweep theory signal` says: where gradients vanish and explode before training, by mean-field theory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.commands.text import table
from trainers.errors import RequestError, did_you_mean

MOST_AT_EDGE = 1e-6  # |chi - 1| that is printed as the edge
NOTE = """\
For wide dense networks whose weights have variance sigma_w^2 / fan_in and whose biases have variance sigma_b^2
(initialization: lecun_normal, init_scale: sigma_w, bias_scale: sigma_b). q* is the variance of a deep pre-activation,
chi a layer's factor on the mean square of a gradient, and c* the correlation that two inputs come to;
xi_q and xi_c count the layers over which the distance to q* and to c* changes by a factor of e. The last column is the
sigma_w with chi = 1 at this sigma_b: none where no stable q* has it. docs/theory.md has the maps, their law for alpha,
and the accuracy."""


@dataclass(frozen=True)
class Asked:
    """What is asked for: each activation with each alpha, at one point of the plane."""

    activations: Sequence[str]
    alphas: Sequence[float]
    scaling: str
    sigma_w: float
    sigma_b: float

    def __post_init__(self) -> None:
        from trainers.activations import ACTIVATIONS
        from trainers.members import ALPHAS

        for name in self.activations:
            if name not in ACTIVATIONS:
                raise RequestError(f"there is no activation {name!r}: {did_you_mean(name, list(ACTIVATIONS))}")
        for alpha in self.alphas:
            if not ALPHAS[0] <= alpha <= ALPHAS[1]:
                raise RequestError(f"{ALPHAS[0]:g} <= alpha <= {ALPHAS[1]:g} must hold, but got {alpha!r}")
        for name, value, least in (("sigma-w", self.sigma_w, "> 0"), ("sigma-b", self.sigma_b, ">= 0")):
            if not (value >= 0 and value <= 1e6 and (value > 0 or least == ">= 0")):
                raise RequestError(f"{name} {least} and at most 1e6 must hold, but got {value!r}")

    @property
    def units(self) -> list[tuple[str, float, str]]:
        """Activation, alpha and scaling, as the functions of `trainers.theory.signal` take them."""
        return [(name, alpha, self.scaling) for name in self.activations for alpha in self.alphas]


def propagation(asked: Asked) -> dict[str, Any]:
    """The document: a row per activation and alpha, and the published numbers with ours. Infinity is "infinity"."""
    from trainers.theory.published import compared

    rows = [_row(unit, asked.sigma_w, asked.sigma_b) for unit in asked.units]
    at = {"sigma_w": asked.sigma_w, "sigma_b": asked.sigma_b, "scaling": asked.scaling}
    return at | {"activations": rows, "published": compared()}


def _row(unit: tuple[str, float, str], sigma_w: float, sigma_b: float) -> dict[str, Any]:
    from trainers.theory import signal

    at = (*unit, sigma_w, sigma_b)
    xi_q, xi_c = signal.depth_scales(*at)
    numbers = {
        "q": signal.fixed_point(*at),
        "chi": signal.chi(*at),
        "c": signal.fixed_correlation(*at),
        "xi_q": xi_q,
        "xi_c": xi_c,
        "critical_sigma_w": signal.critical_sigma_w(*unit, sigma_b),
    }
    return {"activation": unit[0], "alpha": unit[1]} | {name: _plain(value) for name, value in numbers.items()}


def _plain(value: float) -> float | str | None:
    return value if math.isfinite(value) else None if math.isnan(value) else "infinity"


def propagation_text(document: dict[str, Any]) -> str:
    """The tables."""
    title = f"Signal propagation at sigma_w = {document['sigma_w']:g}, sigma_b = {document['sigma_b']:g}"
    columns = ["f", "alpha#", "q*#", "chi#", "gradients", "c*#", "xi_q#", "xi_c#", "critical sigma_w#"]
    rows = [
        (r["activation"], f"{r['alpha']:g}", _shown(r["q"]), _shown(r["chi"]), _phase(r["chi"]),
         *(_shown(r[name]) for name in ("c", "xi_q", "xi_c", "critical_sigma_w")))
        for r in document["activations"]
    ]  # fmt: skip
    published = [
        (p["what"], p["source"], digits(p["published"], p["within"]), digits(p["ours"], p["within"]))
        for p in document["published"]
    ]
    return "\n\n".join(
        (
            table(columns, rows, f"{title}, {document['scaling']}"),
            table(["what~", "source~", "published#", "ours#"], published, "Published numbers, and ours"),
            NOTE,
        )
    )


def _phase(chi: float) -> str:
    return "on the edge" if abs(chi - 1) <= MOST_AT_EDGE else "explode" if chi > 1 else "vanish"


def _shown(value: float | str | None) -> str:
    return "none" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def digits(value: float, within: float) -> str:
    """As many as the published number has."""
    return f"{value:.{max(3, round(-math.log10(within)))}f}".rstrip("0").rstrip(".")
