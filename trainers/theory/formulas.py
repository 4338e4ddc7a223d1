"""The paper's partial derivatives as they are printed, held against autograd in float64."""

from __future__ import annotations

import numpy as np

from trainers.theory.claims import Claim, CounterExample, Network, Worst
from trainers.theory.network import by_autograd, derivative, partials, printed
from trainers.theory.sigmoids import SIGMOIDS

TOLERANCE = 1e-10
FORMULA = "d/dtheta^k h = d f^(k-1) (1 - (f^l)^2) ... (1 - (f^k)^2) theta^(k+1) ... theta^l"
SETTINGS = (("rescaled", 1.0), ("rescaled", 2.0), ("rescaled", 0.5), ("naive", 2.0))


def disagreement(rng: np.random.Generator, draws: int = 200) -> float:
    """The largest relative difference between `partials` and autograd, every sigmoid type and scaling.

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
                theirs = by_autograd(name, theta, x, alpha, scaling, steady=steady)
                seen = (ours.log > -290 * np.log(10)) & (ours.log < 290 * np.log(10))
                gap = np.abs(theirs - ours.value)[seen] / np.abs(ours.value)[seen]
                worst = max(worst, float(gap.max()))
    return worst


def claims(rng: np.random.Generator) -> tuple[Claim, ...]:
    """The printed formulas of sections 2.1 to 2.3, for tanh."""
    tanh = SIGMOIDS["tanh"]
    second = Network("tanh", x=1.0, y=1.0, theta=(0.5, 0.5), k=2)
    penalised = Network("tanh", x=1.0, y=1.0, theta=(0.5, 0.5), k=2, r=1.0)
    first = Network("tanh", x=1.5, y=1.0, theta=(0.5, 0.5), k=1)
    scaled = Network("tanh", x=1.5, y=1.0, theta=(0.5, 0.5), k=1, alpha=2.0)

    theta, x = rng.uniform(-1.5, 1.5, (500, 5)), rng.uniform(-1.5, 1.5, 500)
    paper = np.exp(partials(tanh, theta, x, 2.0, printed=True).log)[:, 1:]
    gap = float((np.abs(np.abs(by_autograd("tanh", theta, x, 2.0, "rescaled"))[:, 1:] - paper) / paper).max())
    sizes = Worst(gap, 0.0, "largest relative difference of sizes, k >= 2, alpha = 2, 500 draws")

    theta, x = np.linspace(-2, 2, 40).reshape(10, 4), np.linspace(0.1, 2, 10)
    logs = (partials(tanh, theta, x, *alpha, printed=True).log for alpha in ((1.0,), ()))
    same = Worst(float(np.abs(np.subtract(*logs)).max()), 0.0, "")
    rows: tuple[tuple[str, str, str, Worst | None, CounterExample | None], ...] = (
        ("sign", f"{FORMULA}, d = h'(y - g)", "up to the sign: it is -d", None,
         CounterExample("autograd against printed", second, derivative(second)[0], "=", printed(second)[0])),
        ("first factor", f"{FORMULA}, f^0 := 1", "k >= 2, or |x| = 1", None,
         _sizes("sizes, autograd against printed", first)),
        ("scaled", "d/dtheta^k h = d alpha f_alpha^(k-1) (1 - (f_alpha^l)^2) ... theta^l, f_alpha^0 := 1",
         "k >= 2, up to the sign; f_alpha^0 is x / alpha", sizes,
         _sizes("sizes at alpha = 2, autograd against printed", scaled)),
        ("penalised", "d/dtheta^k (h + r/2 sum theta^2) = d f^(k-1) ... theta^l + r theta^k",
         "with -d in the place of d", None, _sizes("sizes, autograd against printed", penalised)),
        ("alpha = 1", "the derivatives with alpha = 1 equal those of section 2.1", "", same, None),
    )  # fmt: skip
    return tuple(
        Claim("formulas", name, "tanh", statement, region, "proved, and by autograd", worst, counter)
        for name, statement, region, worst, counter in rows
    )


def _sizes(says: str, at: Network) -> CounterExample:
    return CounterExample(says, at, abs(derivative(at)[0]), "=", abs(printed(at)[0]))
