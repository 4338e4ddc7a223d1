"""The paper's partial derivatives as they are printed, held against autograd in float64.

With d = h'(y - g) the chain rule gives -d dg/dtheta^k; the paper prints +d, so every sign is wrong, and next to the
penalty's gradient the size is as well. For k = 1 the factor f^0 is x, not 1; with scaled activation the printed
alpha f_alpha^0 := alpha should be x (f_alpha^0 = x / alpha), so the printed derivative grows like alpha without bound
while the true one has the limit of Theorem 2. For k >= 2 sizes are right, with and without scaling.
"""

from __future__ import annotations

import numpy as np

from trainers.theory import autograd
from trainers.theory.claims import Claim, CounterExample, Holds, Network, Worst
from trainers.theory.sigmoids import SIGMOIDS
from trainers.theory.toy import forward, partials

TOLERANCE = 1e-10
FORMULA = "d/dtheta^k h = d f^(k-1) (1 - (f^l)^2) ... (1 - (f^k)^2) theta^(k+1) ... theta^l"
SETTINGS = (("rescaled", 1.0), ("rescaled", 2.0), ("rescaled", 0.5), ("naive", 2.0))


def disagreement(rng: np.random.Generator, draws: int = 200) -> float:
    """The largest relative difference between `toy.partials` and autograd, every sigmoid type and scaling.

    The engines' own activations on parameters as in Theorem 2, whose units are unsaturated, and the steady forms on
    parameters to some hundreds. Sizes below 1e-290, where autograd is about to underflow, are left out.
    """
    worst = 0.0
    for name, f in SIGMOIDS.items():
        for scaling, alpha in SETTINGS:
            for half_width, steady in ((1.5, False), (300.0, True)):
                theta = rng.uniform(-half_width, half_width, (draws, 5))
                x = rng.uniform(-1.5, 1.5, draws)
                ours = partials(f, theta, x, alpha, scaling)
                theirs = autograd.partials(name, theta, x, alpha, scaling, steady=steady)
                seen = (ours.log > -290 * np.log(10)) & (ours.log < 290 * np.log(10))
                gap = np.abs(theirs - ours.value)[seen] / np.abs(ours.value)[seen]
                worst = max(worst, float(gap.max()))
    return worst


def claims(rng: np.random.Generator) -> tuple[Claim, ...]:
    """The printed formulas of sections 2.1 to 2.3, for tanh."""
    return (_sign(), _first_factor(), _scaled(rng), _penalised(), _same())


def printed(at: Network) -> float:
    """The derivative of the penalised loss at a point by the printed formula."""
    f, theta = SIGMOIDS[at.activation], np.array(at.theta)
    d = 2 * (at.y - float(forward(f, theta, at.x, at.alpha).output))
    factor = partials(f, theta, at.x, at.alpha, printed=True).value[at.k - 1]
    return d * float(factor) + at.r * at.theta[at.k - 1]


def _sides(says: str, at: Network, size: bool) -> CounterExample:
    true, paper = autograd.derivative(at)[0], printed(at)
    return CounterExample(says, at, abs(true) if size else true, "=", abs(paper) if size else paper)


def _claim(name: str, statement: str, region: str, counter: CounterExample | None, worst: Worst | None = None) -> Claim:
    holds: Holds = "in a region" if counter else "everywhere tested"
    return Claim(name, "formulas", "tanh", statement, holds, region, "proved, and by autograd", worst, counter)


def _sign() -> Claim:
    at = Network("tanh", x=1.0, y=1.0, theta=(0.5, 0.5), k=2)
    return _claim(
        "sign", f"{FORMULA}, d = h'(y - g)", "up to the sign: it is -d", _sides("autograd against printed", at, False)
    )


def _first_factor() -> Claim:
    at = Network("tanh", x=1.5, y=1.0, theta=(0.5, 0.5), k=1)
    return _claim(
        "first factor",
        f"{FORMULA}, f^0 := 1",
        "k >= 2, or |x| = 1",
        _sides("sizes, autograd against printed", at, True),
    )


def _scaled(rng: np.random.Generator) -> Claim:
    theta, x = rng.uniform(-1.5, 1.5, (500, 5)), rng.uniform(-1.5, 1.5, 500)
    theirs = np.abs(autograd.partials("tanh", theta, x, 2.0))[:, 1:]
    paper = np.exp(partials(SIGMOIDS["tanh"], theta, x, 2.0, printed=True).log)[:, 1:]
    gap = float((np.abs(theirs - paper) / paper).max())
    at = Network("tanh", x=1.5, y=1.0, theta=(0.5, 0.5), k=1, alpha=2.0)
    return _claim(
        "scaled",
        "d/dtheta^k h = d alpha f_alpha^(k-1) (1 - (f_alpha^l)^2) ... theta^l, f_alpha^0 := 1",
        "k >= 2, up to the sign; f_alpha^0 is x / alpha",
        _sides("sizes at alpha = 2, autograd against printed", at, True),
        Worst(gap, 0.0, "largest relative difference of sizes, k >= 2, alpha = 2, 500 draws"),
    )


def _penalised() -> Claim:
    at = Network("tanh", x=1.0, y=1.0, theta=(0.5, 0.5), k=2, r=1.0)
    return _claim(
        "penalised",
        "d/dtheta^k (h + r/2 sum theta^2) = d f^(k-1) ... theta^l + r theta^k",
        "with -d in the place of d",
        _sides("sizes, autograd against printed", at, True),
    )


def _same() -> Claim:
    f = SIGMOIDS["tanh"]
    theta, x = np.linspace(-2, 2, 40).reshape(10, 4), np.linspace(0.1, 2, 10)
    gap = np.abs(partials(f, theta, x, 1.0, printed=True).log - partials(f, theta, x, printed=True).log).max()
    return _claim(
        "alpha = 1", "the derivatives with alpha = 1 equal those of section 2.1", "", None, Worst(float(gap), 0.0, "")
    )
