"""The paper's claims as a table: where each holds, by which evidence, and a point where it fails.

Where the evidence begins with "proved", the argument is in docs/theory.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from trainers.theory.network import SIGMOIDS, Network, derivative, printed
from trainers.theory.theorems import DRAWS

Sides = Callable[[Network], tuple[float, float]]


def _times(bound: Callable[[Network], float], by: Sides = derivative) -> Sides:
    """The size of the derivative, and |d| times a bound."""
    return lambda at: (abs(by(at)[0]), abs(by(at)[1]) * bound(at))


def _sizes(at: Network) -> tuple[float, float]:
    return abs(derivative(at)[0]), abs(printed(at)[0])


GRID = np.concatenate([-np.logspace(-3, 9, 121), np.logspace(-3, 9, 121)])
NEAR = GRID[np.abs(GRID) < 300]  # where no slope underflows
HALVES = (0.5, 0.5)
PRODUCT = "d/dtheta^k h = d f^(k-1) (1 - (f^l)^2) ... (1 - (f^k)^2) theta^(k+1) ... theta^l"
BOTH = "proved, and by autograd"
FIRST = "|d/dtheta^k h| <= |d| t, for all t in (0, 1), |theta^i| >= log(1/t) / min(|x|, 1/2)"
SECOND = "|d/dtheta^k (h + r/2 sum theta^2)| >= |d| log(1/t), for all t in (0, 1), r >= |d|"
DRAWN = f"proved; {DRAWS} draws agree"
OUTSIDE = "; outside, {above} of them are above the bound"
NOWHERE = ("for no t", "proved: for every t there is a counter-example")
AVOIDED = "gradients can vanish with increasing depth, while this behavior is avoided with larger alpha"
FIXED = "alpha chosen after l, growing exponentially with it; at a fixed alpha gradients vanish as l grows"
FACTOR = "proved; each further layer multiplies by {factor} at any alpha"
AGAIN = FACTOR + "; below |d| / 2^l again from {again}"
CHECKED = "proved, and numerically"

# Part, name, statement in plain letters, the two sides in words, their relation, the two sides of a network, or of an
# f and its arguments; then for some f each: where it holds, "" for everywhere or nowhere, evidence, the point where it
# fails, and points where it holds. `check` fills in what is in braces.
TABLE: tuple[tuple[Any, ...], ...] = (
    ("formulas", "sign", f"{PRODUCT}, d = h'(y - g)",
     "autograd against printed", "=", lambda at: (derivative(at)[0], printed(at)[0]),
     ("tanh", "up to the sign: it is -d", BOTH, dict(x=1.0, y=1.0, theta=HALVES, k=2))),
    ("formulas", "first factor", f"{PRODUCT}, f^0 := 1",
     "sizes, autograd against printed", "=", _sizes,
     ("tanh", "k >= 2, or |x| = 1", BOTH, dict(x=1.5, y=1.0, theta=HALVES, k=1))),
    ("formulas", "scaled", "d/dtheta^k h = d alpha f_alpha^(k-1) (1 - (f_alpha^l)^2) ... theta^l, f_alpha^0 := 1",
     "sizes at alpha = 2, autograd against printed", "=", _sizes,
     ("tanh", "k >= 2, up to the sign; f_alpha^0 is x / alpha", BOTH,
      dict(scaling="rescaled", alpha=2.0, x=1.5, y=1.0, theta=HALVES, k=1))),
    ("formulas", "penalised", "d/dtheta^k (h + r/2 sum theta^2) = d f^(k-1) ... theta^l + r theta^k",
     "sizes, autograd against printed", "=", _sizes,
     ("tanh", "with -d in the place of d", BOTH, dict(x=1.0, y=1.0, theta=HALVES, k=2, r=1.0))),
    ("formulas", "alpha = 1", "the derivatives with alpha = 1 equal those of section 2.1", "", "=", None,
     ("tanh", "", BOTH)),
    ("theorem 1", "first bound", FIRST, "|d/dtheta^k h| against |d| t", "<=", _times(lambda at: at.t),
     ("tanh", "t <= {high}", DRAWN + OUTSIDE, dict(t=0.8, x=1.7, y=2.0, theta=(0.45,), k=1)),
     ("arctan softsign", "{low} <= t <= {high}", DRAWN + OUTSIDE, dict(t=0.01, x=0.5, y=1.0, theta=(9.3,), k=1)),
     ("sigmoid", *NOWHERE, dict(t=0.01, x=-1.0, y=1.0, theta=(9.3, 17_000.0), k=1)),
     ("logsigmoid", *NOWHERE, dict(t=0.01, x=-1.0, y=1.0, theta=(9.3,), k=1))),
    # The penalty undoes the data gradient of theta^1; one neuron at x = 1 whose slope is its theta does so at r = |d|.
    ("theorem 1", "second bound", SECOND,
     "|d/dtheta^k (h + penalty)| against |d| log(1/t)", ">=", _times(lambda at: -math.log(at.t)),
     ("tanh", "t <= {second}", DRAWN, dict(t=0.8, x=1.0, y=2.58, theta=(0.663105,), k=1, r=3.9991513719883316)),
     ("arctan", "t <= {second}", DRAWN, dict(t=0.8, x=1.0, y=2.599, theta=(0.6823278,), k=1, r=4.000466631416971)),
     ("softsign", "t <= {second}", DRAWN, dict(t=0.8, x=1.0, y=2.318, theta=(0.4655711,), k=1, r=4.000657583653897)),
     ("sigmoid", *NOWHERE, dict(t=0.5, x=-7.0, y=-1.175, theta=(1.4, 28_000.0), k=1, r=4.477684488294039)),
     ("logsigmoid", *NOWHERE, dict(t=0.01, x=-10.0, y=-95.0, theta=(9.3,), k=1, r=4.301075268817204))),
    ("theorem 1", "first bound, f^0 := 1 as printed", FIRST,
     "|d/dtheta^k h| as printed against |d| t", "<=", _times(lambda at: at.t, printed),
     ("tanh", "t <= {first_printed}", "proved", dict(t=0.5, x=0.5, y=1.0, theta=(1.4,), k=1))),
    ("theorem 1", "second bound, f^0 := 1 as printed", SECOND,
     "|d/dtheta^k (h + penalty)| as printed against |d| log(1/t)", ">=", _times(lambda at: -math.log(at.t), printed),
     ("tanh", "t <= {second_printed}", "proved", dict(t=0.55, x=0.5, y=-1.0, theta=(1.22,), k=1, r=3.088254197707135))),
    ("theorem 1", "the experiments' r = 0.01", "regularization can avoid this problem: by r >= |d|, where |d| >~ 1",
     "|d/dtheta^k (h + penalty)| against |d| log(1/t)", ">=", _times(lambda at: -math.log(at.t)),
     ("tanh", "|d| <= 0.01",
      "by the assumption r >= |d|; at smaller r the gradient is within |d| m / |theta^k| of r |theta^k|",
      dict(t=0.01, x=0.5, y=2.0, theta=(9.3,), k=1, r=0.01))),
    ("theorem 2", "bound",
     "|d/dtheta^k h| <= |d| / 2^(l-k+1) for |x| = |theta^1| = ... = |theta^l| = 1.5, alpha = 1, all k",
     "|d/dtheta^k h| against |d| / 2^(l-k+1)", "<=", _times(lambda at: 2.0 ** (at.k - 1 - len(at.theta))),
     ("tanh arctan sigmoid", "", "proved"),
     ("softsign", "l < 9", "computed; signs do not matter, f is odd", dict(x=1.5, y=1.0, theta=(1.5,) * 9, k=3)),
     ("logsigmoid", "", "a counter-example", dict(x=1.5, y=1.0, theta=(-1.5,), k=1))),
    ("theorem 2", "limit", "|d/dtheta^k h| -> |d| 1.5^(l-1) |x| for alpha -> infinity, all k",
     "|d/dtheta^k h| against |d| 1.5^l", "=", _times(lambda at: 1.5 ** len(at.theta)),
     ("tanh arctan softsign", "", "proved, d that of the limit"),
     ("sigmoid logsigmoid", "", "proved: alpha f(z / alpha) has no limit (property 4)",
      dict(scaling="rescaled", alpha=1e6, x=1.5, y=1.0, theta=(1.5, 1.5), k=2))),
    ("theorem 2", "depth", AVOIDED,
     "|d/dtheta^1 h| at l = {l}, alpha = 2 against |d| / 2^l", ">", _times(lambda at: 2.0 ** -len(at.theta)),
     ("tanh", FIXED, AGAIN, dict(scaling="rescaled", alpha=2.0, x=1.5, y=1.0, theta=(1.5,) * 14, k=1)),
     ("arctan", FIXED, AGAIN, dict(scaling="rescaled", alpha=2.0, x=1.5, y=1.0, theta=(1.5,) * 20, k=1))),
    ("theorem 2", "depth", AVOIDED,
     "|d/dtheta^1 h| at l = {l}, alpha = 2 against |d| / 1000", ">", _times(lambda at: 1e-3),
     ("softsign", FIXED, FACTOR, dict(scaling="rescaled", alpha=2.0, x=1.5, y=1.0, theta=(1.5,) * 60, k=1))),
    ("theorem 2", "naive scaling", "naive scaling: |d/dtheta^k h| -> infinity for alpha -> infinity",
     "|d/dtheta^1 h| at alpha = {alpha:g} against alpha = {less:g}", ">",
     lambda at: (abs(derivative(at)[0]), abs(derivative(replace(at, alpha=at.alpha / 100))[0])),
     ("tanh sigmoid", "l = 1; for l >= 2 it tends to 0 for every k", "proved",
      dict(scaling="naive", alpha=100.0, x=1.5, y=1.0, theta=(1.5,) * 3, k=1)),
     ("arctan softsign", "beside d: l = 1 alone; alpha^(2-l) at k = 1 and alpha^(k-l) at k >= 2 otherwise", "proved",
      dict(scaling="naive", alpha=1e4, x=1.5, y=1.0, theta=(1.5,) * 5, k=1)),
     ("logsigmoid", "theta^2, ..., theta^l > 0; with theta^2 < 0 it tends to 0", "computed",
      dict(scaling="naive", alpha=100.0, x=1.5, y=1.0, theta=(1.5, -1.5), k=1))),
    ("properties", "property 1", "boundedness: |f(z)| <= 1 for all z",
     "|f(z)| against 1", "<=", lambda f, z: (np.abs(f.f(z)), 1.0),
     ("tanh softsign sigmoid", "", CHECKED, None, dict(z=GRID)),
     ("arctan", "", CHECKED, dict(z=2.0)),
     ("logsigmoid", "", CHECKED, dict(z=-5.0))),
    ("properties", "property 2", "rapidly vanishing derivatives: f'(z) z -> 0 for z -> +-infinity",
     "|f'(z) z| against 0", "=", lambda f, z: (np.abs(z) * f.slope(z), 0.0),
     ("tanh arctan softsign sigmoid", "", CHECKED, None, dict(z=np.array([-1e9, 1e9]))),
     ("logsigmoid", "", CHECKED, dict(z=-1000.0))),
    # logsigmoid is negative at 30, and log1p never lets it turn positive, so its limit is not above 0.
    ("properties", "property 3", "strictly positive limit: f(z) -> c > 0 for z -> infinity",
     "the limit against 0; f(z) < 0", ">", lambda f, z: (f.f(z), 0.0),
     ("tanh arctan softsign sigmoid", "", CHECKED, None, dict(z=700.0)),
     ("logsigmoid", "", CHECKED, dict(z=30.0))),
    ("properties", "property 4", "linearity at the origin: alpha f(z / alpha) -> a_lin z for alpha -> infinity",
     "alpha f(0) at z = 0 against a_lin 0", "=", lambda f, z, alpha: (alpha * f.f(z / alpha), z),
     ("tanh arctan softsign", "", CHECKED, None, dict(z=np.linspace(-3, 3, 7), alpha=1e6)),
     ("sigmoid logsigmoid", "", CHECKED, dict(z=0.0, alpha=1e6))),
    ("in passing", "products vanish", "(1 - tanh(v z)^2) z -> 0 for z -> infinity and any fixed v",
     "(1 - tanh(0)^2) z against 0", "=", lambda f, z, v: (f.slope(v * z) * z, 0.0),
     ("tanh", "v != 0", "proved: at most m / |v|, and the exponential wins; at v = 0 the slope is 1",
      dict(z=1000.0, v=0.0), dict(z=np.array(1e3), v=0.1))),
    ("in passing", "one layer halves", "(1 - tanh(1.5)^2) 1.5 <= 1/2", "", "<=", lambda f, z: (z * f.slope(z), 0.5),
     ("tanh", "", "computed; deep neurons are at {deep} and have {factor}", None, dict(z=1.5))),
    ("in passing", "steeper by scaling", "(f_alpha)'(z) > f'(z) for alpha > 1",
     "(f_2)'({z:g}) against f'({z:g})", ">", lambda f, z, alpha: (f.slope(z / alpha), f.slope(z)),
     ("tanh arctan softsign sigmoid", "z != 0", "proved: f' falls in |z|",
      dict(z=0.0, alpha=2.0), dict(z=NEAR, alpha=2.0)),
     ("logsigmoid", "z > 0", "proved: f' falls in z", dict(z=-2.0, alpha=2.0), dict(z=NEAR[NEAR > 0], alpha=2.0))),
    ("in passing", "scales telescope", "f_alpha(f_alpha(z)) = alpha f(f(z / alpha))", "", "=",
     lambda _, z: (np.array([2.5 * f.f(2.5 * f.f(z / 2.5) / 2.5) for f in SIGMOIDS.values()]),
                   np.array([2.5 * f.f(f.f(z / 2.5)) for f in SIGMOIDS.values()])),
     ("any", "", "proved: alpha and 1 / alpha cancel", None, dict(z=np.linspace(-9, 9, 1000)))),
)  # fmt: skip
