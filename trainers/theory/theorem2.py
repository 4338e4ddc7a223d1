"""Theorem 2, the many-layers regime: |x| = |theta^i| = 1.5, the bound for alpha = 1 and the limit in alpha.

The bound is |dg/dtheta^k| <= 2^-(l-k+1), the limit 1.5^(l-1) |x| = 1.5^l for every k. docs/theory.md has the arguments.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from trainers.theory.claims import Claim, CounterExample, Network, Worst
from trainers.theory.network import against, derivative, forward, partials
from trainers.theory.sigmoids import ODD, SIGMOIDS, Array, Sigmoid

SIZE = 1.5
SIGNS_TO = 7
DEEP = 60
LAYERS = 14  # with weights, of the paper's Table 2
BOUND = "|d/dtheta^k h| <= |d| / 2^(l-k+1) for |x| = |theta^1| = ... = |theta^l| = 1.5, alpha = 1, all k"
LIMIT = "|d/dtheta^k h| -> |d| 1.5^(l-1) |x| for alpha -> infinity, all k"
AVOIDED = "gradients can vanish with increasing depth, while this behavior is avoided with larger alpha"
NAIVE = "naive scaling: |d/dtheta^k h| -> infinity for alpha -> infinity"
FIXED = "alpha chosen after l, growing exponentially with it; at a fixed alpha gradients vanish as l grows"
SLOW = "beside d: l = 1 alone; alpha^(2-l) at k = 1 and alpha^(k-l) at k >= 2 otherwise"


def claims() -> tuple[Claim, ...]:
    """The bound, the limit, what is concluded from it, and naive scaling, for every sigmoid type."""
    functions = SIGMOIDS.values()
    return (*map(bound, functions), *map(limit, functions), *map(avoided, ODD), *map(naive, functions))


def bound(f: Sigmoid) -> Claim:
    """On every choice of signs to depth 7, and with all signs + to depth 60."""
    worst, where = -math.inf, ""
    counter: CounterExample | None = None
    region, evidence = "", "proved"
    for depth in range(1, DEEP + 1):
        signs = list(itertools.product((1.0, -1.0), repeat=depth + 1)) if depth <= SIGNS_TO else [(1.0,) * (depth + 1)]
        network = SIZE * np.array(signs)
        excess = partials(f, network[:, 1:], network[:, 0]).log + math.log(2) * np.arange(depth, 0, -1)
        row, k = np.unravel_index(excess.argmax(), excess.shape)
        if excess[row, k] > worst:
            worst, where = float(excess[row, k]), f"l = {depth}, k = {k + 1}"
        if counter is None and excess[row, k] > 0:
            at = Network(f.name, float(network[row, 0]), 1.0, tuple(map(float, network[row, 1:])), int(k) + 1)
            counter = against("|d/dtheta^k h| against |d| / 2^(l-k+1)", at, "<=", 2.0 ** -(depth - at.k + 1))
            region = f"l < {depth}" if f.odd else ""
            evidence = "computed; signs do not matter, f is odd" if f.odd else "a counter-example"
    met = Worst(math.exp(worst), 1.0, f"largest |dg| 2^(l-k+1) to l = {DEEP}: {where}")
    return Claim("theorem 2", "bound", f.name, BOUND, region, evidence, met, counter)


def limit(f: Sigmoid) -> Claim:
    """At alpha = 1e6, every k to depth 7."""
    gap = max(
        float(np.abs(partials(f, np.full(depth, SIZE), SIZE, 1e6).log - depth * math.log(SIZE)).max())
        for depth in range(1, SIGNS_TO + 1)
    )
    met = Worst(gap, 0.0, f"largest |log(|dg| / 1.5^l)| at alpha = 1e6, l <= {SIGNS_TO}")
    if f.odd:
        return Claim("theorem 2", "limit", f.name, LIMIT, "", "proved, d that of the limit", met)
    at = Network(f.name, SIZE, 1.0, (SIZE, SIZE), 2, alpha=1e6)
    counter = against("|d/dtheta^k h| against |d| 1.5^l", at, "=", SIZE**2)
    evidence = "proved: alpha f(z / alpha) has no limit (property 4)"
    return Claim("theorem 2", "limit", f.name, LIMIT, "", evidence, met, counter)


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
    plain, scaled, wide = (first_layer_log(f, 2000, alpha) for alpha in (1.0, 2.0, 1000.0))
    factor = math.exp(plain[-1] - plain[-2])
    evidence = f"proved; each further layer multiplies by {factor:.5f} at any alpha"
    if factor < 0.5:
        depth = max(LAYERS, vanishes_again(f, 2.0))
        right, bound_says = 2.0**-depth, "|d| / 2^l"
        again = ", ".join(f"l = {vanishes_again(f, alpha)} for {alpha:g}" for alpha in (2.0, 4.0, 16.0, 256.0))
        evidence += f"; below |d| / 2^l again from {again}"
    else:
        depth, right, bound_says = DEEP, 1e-3, "|d| / 1000"
    at = Network(f.name, SIZE, 1.0, (SIZE,) * depth, 1, alpha=2.0)
    gain = math.exp(scaled[-1] - plain[-1])
    where = f"layer factor, alpha = 1000 against 1; alpha = 2 gains {gain:.4g} in all"
    met = Worst(math.exp(wide[-1] - wide[-2]), factor, where)
    counter = against(f"|d/dtheta^1 h| at l = {depth}, alpha = 2 against {bound_says}", at, ">", right)
    return Claim("theorem 2", "depth", f.name, AVOIDED, FIXED, evidence, met, counter)


def naive(f: Sigmoid) -> Claim:
    """The growth exponent of |dg/dtheta^1| between alpha = 1e3 and 1e4, at depth 1 and 2; and a counter-example."""
    low, high = (first_layer_log(f, 2, alpha, "naive") for alpha in (1e3, 1e4))
    power = (high - low) / math.log(10)
    theta: tuple[float, ...] = (SIZE,) * 3
    region, small, large = "l = 1; for l >= 2 it tends to 0 for every k", 1.0, 100.0
    if f.name == "logsigmoid":
        theta, region = (SIZE, -SIZE), "theta^2, ..., theta^l > 0; with theta^2 < 0 it tends to 0"
    elif f.name in ("arctan", "softsign"):
        theta, region, small, large = (SIZE,) * 5, SLOW, 100.0, 1e4
    at = Network(f.name, SIZE, 1.0, theta, 1, alpha=large, scaling="naive")
    before, after = (abs(derivative(replace(at, alpha=alpha))[0]) for alpha in (small, large))
    says = f"|d/dtheta^1 h| at alpha = {large:g} against alpha = {small:g}"
    return Claim(
        "theorem 2", "naive scaling", f.name, NAIVE, region, "computed" if f.name == "logsigmoid" else "proved",
        Worst(float(power[1]), float(power[0]), "power of alpha at l = 2 against l = 1, alpha = 1e3 to 1e4"),
        CounterExample(says, at, after, ">", before),
    )  # fmt: skip
