"""Theorem 2, the many-layers regime: |x| = |theta^i| = 1.5, the bound for alpha = 1 and the limit in alpha.

With n = l - k + 1 the bound is |dg/dtheta^k| <= 2^-n, and the limit 1.5^(l-1) |x| = 1.5^l for every k.

Bound. tanh: `proofs` mends the paper's proof. arctan likewise: |f^i| falls from arctan(2.25) = 1.1526 to the fixed
point 0.9674, so slopes are at most 0.3220, and 1.1526 * 0.3220 * 0.4830^(n-1) <= 2^-n; at k = 1, 1.5 f'(2.25) = 0.2474
takes the place of the first two factors. sigmoid: slopes are at most 1/4 and f'(2.25) * 1.5 < 1/2, so at most
0.375^(n-1) / 4. softsign settles at 1/3, where a layer multiplies by 1.5 / 2.25 = 2/3 > 1/2: deep networks are above
the bound. logsigmoid: f'(-2.25) * 1.5 = 1.357 > 1/2 at l = 1.

Limit. For f with f(0) = 0 and f'(0) = 1 it is right for every k, d being that of the limit network: all slopes tend to
1, and y^(k-1) to x times k - 1 thetas. It is one of alpha -> infinity at a *fixed* depth. At a fixed alpha and tanh the
scaled network is the plain one at x / alpha with its output times alpha (the scales telescope), so that its neurons
settle at the same fixed point f*, and each further layer multiplies |dg/dtheta^1| by 1.5 (1 - f*^2) = 0.39431 as with
alpha = 1: scaling delays the vanishing by some log(alpha) / log(1.5) layers, it does not avoid it. (That is said of
this network, where |theta| > 1; of |theta| <= 1 the gradient is at most the product of the thetas for any alpha.)

Naive scaling. For l >= 2 and a saturating f with exponential tails z^l = alpha theta^l f^(l-1) grows with alpha, and
sech^2(z^l) beats alpha^(l-k+1): every derivative tends to 0, not to infinity, whatever the polynomial d. For slopes
~ 1 / z^2 (arctan, softsign) the powers of alpha are 2 - l at k = 1 and k - l at k >= 2.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from trainers.theory.autograd import derivative
from trainers.theory.claims import Claim, CounterExample, Network, Worst
from trainers.theory.sigmoids import SIGMOIDS, Array, Sigmoid
from trainers.theory.toy import forward, partials

SIZE = 1.5
SIGNS_TO = 7
DEEP = 60
LAYERS = 14  # with weights, of the paper's Table 2
BOUND = "|d/dtheta^k h| <= |d| / 2^(l-k+1) for |x| = |theta^1| = ... = |theta^l| = 1.5, alpha = 1, all k"
LIMIT = "|d/dtheta^k h| -> |d| 1.5^(l-1) |x| for alpha -> infinity, all k"
AVOIDED = "gradients can vanish with increasing depth, while this behavior is avoided with larger alpha"
NAIVE = "naive scaling: |d/dtheta^k h| -> infinity for alpha -> infinity"


def claims() -> tuple[Claim, ...]:
    """The bound, the limit, what is concluded from it, and naive scaling, for every sigmoid type."""
    functions = SIGMOIDS.values()
    return (
        *(bound(f) for f in functions),
        *(limit(f) for f in functions),
        *(avoided(f) for f in functions if f.odd),
        *(naive(f) for f in functions),
    )


def depth_log(f: Sigmoid, depth: int, alpha: float = 1.0, scaling: str = "rescaled") -> Array:
    """log |dg/dtheta^k| for k = 1 to `depth`, all of x and theta 1.5."""
    return partials(f, np.full(depth, SIZE), SIZE, alpha, scaling).log


def bound(f: Sigmoid) -> Claim:
    """On every choice of signs to depth 7, and with all signs + to depth 60."""
    worst, where = -math.inf, ""
    first: Network | None = None
    for depth in (*range(1, SIGNS_TO + 1), *range(SIGNS_TO + 1, DEEP + 1)):
        signs = list(itertools.product((1.0, -1.0), repeat=depth + 1)) if depth <= SIGNS_TO else [(1.0,) * (depth + 1)]
        network = SIZE * np.array(signs)
        excess = partials(f, network[:, 1:], network[:, 0]).log + math.log(2) * np.arange(depth, 0, -1)
        row, k = np.unravel_index(excess.argmax(), excess.shape)
        if excess[row, k] > worst:
            worst, where = float(excess[row, k]), f"l = {depth}, k = {k + 1}"
        if first is None and excess[row, k] > 0:
            first = Network(f.name, float(network[row, 0]), 1.0, tuple(map(float, network[row, 1:])), int(k) + 1)
    proved = "proved" if first is None else "computed; signs do not matter, f is odd" if f.odd else "a counter-example"
    return Claim(
        name="bound",
        part="theorem 2",
        activation=f.name,
        statement=BOUND,
        holds="everywhere tested" if first is None else "in a region" if f.odd else "fails",
        region=f"l < {len(first.theta)}" if first and f.odd else "",
        evidence=proved,
        worst=Worst(math.exp(worst), 1.0, f"largest |dg| 2^(l-k+1) to l = {DEEP}: {where}"),
        counter_example=_bound_sides(first) if first else None,
        broken_step="step 3, |f^i| >= tanh(1.3) for all i (can be mended)" if f.name == "tanh" else "",
    )


def _bound_sides(at: Network) -> CounterExample:
    left, d = derivative(at)
    right = abs(d) * 2.0 ** -(len(at.theta) - at.k + 1)
    return CounterExample("|d/dtheta^k h| against |d| / 2^(l-k+1)", at, abs(left), "<=", right)


def limit(f: Sigmoid) -> Claim:
    """At alpha = 1e6, every k to depth 7."""
    gaps = [float(np.abs(depth_log(f, depth, 1e6) - depth * math.log(SIZE)).max()) for depth in range(1, SIGNS_TO + 1)]
    counter = None
    if not f.odd:
        at = Network(f.name, SIZE, 1.0, (SIZE, SIZE), 2, alpha=1e6)
        left, d = derivative(at)
        counter = CounterExample("|d/dtheta^k h| against |d| 1.5^l", at, abs(left), "=", abs(d) * SIZE**2)
    return Claim(
        name="limit",
        part="theorem 2",
        activation=f.name,
        statement=LIMIT,
        holds="everywhere tested" if f.odd else "fails",
        region="",
        evidence="proved, d that of the limit" if f.odd else "proved: alpha f(z / alpha) has no limit (property 4)",
        worst=Worst(max(gaps), 0.0, f"largest |log(|dg| / 1.5^l)| at alpha = 1e6, l <= {SIGNS_TO}"),
        counter_example=counter,
        broken_step="" if f.odd else "step 6: alpha f_alpha^i -> product of theta^m x",
    )


def first_layer_log(f: Sigmoid, depth: int, alpha: float = 1.0, scaling: str = "rescaled") -> Array:
    """log |dg/dtheta^1| of networks of 1 to `depth` layers, all of x and theta 1.5."""
    arguments = forward(f, np.full(depth, SIZE), SIZE, alpha, scaling).arguments
    slopes = f.log_slope(arguments) + (math.log(alpha) if scaling == "naive" else 0.0)
    return np.asarray(np.cumsum(slopes) + math.log(SIZE) * np.arange(1, depth + 1), np.float64)


def vanishes_again(f: Sigmoid, alpha: float) -> int:
    """The least depth from which on |dg/dtheta^1| is below 2^-l, to depth 2000: for f whose layer factor is < 1/2."""
    above = first_layer_log(f, 2000, alpha) > -math.log(2) * np.arange(1, 2001)
    return int(np.flatnonzero(above).max(initial=-1)) + 2


def avoided(f: Sigmoid) -> Claim:
    """Whether a fixed alpha keeps the first layer's gradient up in ever deeper networks."""
    alpha, far = 2.0, 2000
    plain, scaled, wide = (first_layer_log(f, far, a) for a in (1.0, alpha, 1000.0))
    factor = math.exp(plain[-1] - plain[-2])
    halves = factor < 0.5
    depth = max(LAYERS, vanishes_again(f, alpha)) if halves else DEEP
    at = Network(f.name, SIZE, 1.0, (SIZE,) * depth, 1, alpha=alpha)
    left, d = derivative(at)
    right, said = (2.0**-depth, "|d| / 2^l") if halves else (1e-3, "|d| / 1000")
    again = ", ".join(f"l = {vanishes_again(f, a)} for {a:g}" for a in (2.0, 4.0, 16.0, 256.0))
    evidence = f"proved; each further layer multiplies by {factor:.5f} at any alpha"
    return Claim(
        name="depth",
        part="theorem 2",
        activation=f.name,
        statement=AVOIDED,
        holds="in a region",
        region="alpha chosen after l, growing exponentially with it; at a fixed alpha gradients vanish as l grows",
        evidence=evidence + (f"; below |d| / 2^l again from {again}" if halves else ""),
        worst=Worst(
            math.exp(wide[-1] - wide[-2]),
            factor,
            f"layer factor, alpha = 1000 against 1; alpha = 2 gains {math.exp(scaled[-1] - plain[-1]):.4g} in all",
        ),
        counter_example=CounterExample(
            f"|d/dtheta^1 h| at l = {depth}, alpha = 2 against {said}", at, abs(left), ">", abs(d) * right
        ),
    )


def naive(f: Sigmoid) -> Claim:
    """The growth exponent of |dg/dtheta^1| between alpha = 1e3 and 1e4, at depth 1 and 2; and a counter-example."""
    low, high = (first_layer_log(f, 2, a, "naive") for a in (1e3, 1e4))
    power = (high - low) / math.log(10)
    slow = f.name in ("arctan", "softsign")
    theta: tuple[float, ...]
    if f.name == "logsigmoid":
        theta, region = (SIZE, -SIZE), "theta^2, ..., theta^l > 0; with theta^2 < 0 it tends to 0"
    elif slow:
        theta, region = (SIZE,) * 5, "beside d: l = 1 alone; alpha^(2-l) at k = 1 and alpha^(k-l) at k >= 2 otherwise"
    else:
        theta, region = (SIZE,) * 3, "l = 1; for l >= 2 it tends to 0 for every k"
    small, large = (100.0, 1e4) if slow else (1.0, 100.0)
    at = Network(f.name, SIZE, 1.0, theta, 1, alpha=large, scaling="naive")
    left, _ = derivative(at)
    before, _ = derivative(replace(at, alpha=small))
    return Claim(
        name="naive scaling",
        part="theorem 2",
        activation=f.name,
        statement=NAIVE,
        holds="in a region",
        region=region,
        evidence="proved" if f.name != "logsigmoid" else "computed",
        worst=Worst(float(power[1]), float(power[0]), "power of alpha at l = 2 against l = 1, alpha = 1e3 to 1e4"),
        counter_example=CounterExample(
            f"|d/dtheta^1 h| at alpha = {large:g} against alpha = {small:g}", at, abs(left), ">", abs(before)
        ),
    )
