"""The two theorems in numbers: the t for which Theorem 1 holds, and what depth does to the gradient in Theorem 2.

With L = log(1/t) and P_k = |dg/dtheta^k| Theorem 1 assumes r >= |d| and |theta^i| >= L / min(|x|, 1/2), and claims
P_k <= t and |r theta^k - d (+-P_k)| >= |d| L for every t in (0, 1). Theorem 2 assumes |x| = |theta^i| = 1.5, and claims
P_k <= 2^-(l-k+1), and for alpha -> infinity the limit 1.5^l. docs/theory.md proves the regions that are computed here.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from trainers.theory.network import SIGMOIDS, Array, Numbers, Sigmoid, confirm, forward, log_sizes, root

GRID = (1e-6, 1e-4, 0.01, 0.03, 0.1, 0.2, 0.29, 0.3, 0.4, 0.5, 0.6, 0.62, 0.63, 0.69, 0.7, 0.73, 0.74, 0.8, 0.9, 0.99)
DEPTH = 6
EACH = 500  # random networks for every t and depth
DRAWS = EACH * len(GRID) * DEPTH
SIZE = 1.5


def largest(f: Sigmoid, t: Numbers) -> Numbers:
    """The largest |dg/dtheta^k| under Theorem 1's assumptions, over all l, k, theta and x: exact, f odd."""
    argument = np.maximum(np.log(1 / t), f.peak)
    return argument * f.slope(argument) / (2 * np.log(1 / t))


def first_region(f: Sigmoid) -> tuple[float, float]:
    """The t from and to which Theorem 1's first bound holds, f odd; from 0 where no small t fails."""
    high = math.exp(-root(lambda size: f.m / (2 * size) - math.exp(-size), 1e-6, f.peak))
    if f.slope(50.0) / 2 <= math.exp(-50.0):
        return 0.0, high
    return math.exp(-root(lambda size: f.slope(size) / 2 - math.exp(-size), f.peak, 50.0)), high


def second_region(f: Sigmoid) -> float:
    """The t up to which Theorem 1's second bound holds, f odd."""
    return math.exp(-math.sqrt(f.m / 2))


def printed_regions() -> tuple[float, float]:
    """The t up to which the two bounds hold for tanh with the formula as printed, f^0 := 1."""
    first = root(lambda t: t**3 + t**2 + 3 * t - 1, 0.0, 1.0)
    return first, math.exp(-root(lambda size: size - math.cosh(size) ** -2, 0.1, 2.0))


def draw(t: float, count: int, depth: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random networks (count, depth) and points (count,) as in Theorem 1; half of the thetas are as small as can be."""
    x = rng.choice([-1.0, 1.0], count) * 0.5 * np.exp(rng.normal(0.0, 1.5, count))
    least = math.log(1 / t) / np.minimum(np.abs(x), 0.5)
    excess = np.where(rng.random((count, depth)) < 0.5, 0.0, np.abs(rng.normal(0.0, 1.0, (count, depth))))
    return rng.choice([-1.0, 1.0], (count, depth)) * least[:, None] * np.exp(excess), x


def drawn_above(f: Sigmoid, rng: np.random.Generator) -> int:
    """How many of `DRAWS` networks are above Theorem 1's first bound, f odd; none contradicts the regions."""
    above, second = 0, second_region(f)
    for t, depth in itertools.product(GRID, range(1, DEPTH + 1)):
        theta, x = draw(t, EACH, depth, rng)
        log = log_sizes(f, theta, x)
        least = (np.abs(theta) - np.exp(log)).min() / math.log(1 / t)
        holds = log.max() < math.log(largest(f, t)) + 1e-12 and (t > second or least > 1 - 1e-12)
        confirm(holds, f"Theorem 1's regions: {f.name}, a draw at t = {t}, l = {depth}")
        above += int((log > math.log(t)).any(axis=-1).sum())
    return above


def check_many_layers() -> None:
    """Theorem 2's bound to depth 60 (softsign: 8) and, f odd, its limit; up to 256 choices of signs for each depth."""
    for f, depth in itertools.product(SIGMOIDS.values(), range(1, 61)):
        signs = itertools.islice(itertools.product((SIZE, -SIZE), repeat=depth + 1), 256)
        x, theta = np.split(np.array(list(signs)), [1], axis=1)
        if f.name != "logsigmoid" and not (f.name == "softsign" and depth > 8):
            log = log_sizes(f, theta, x[:, 0])
            confirm((log <= -math.log(2) * np.arange(depth, 0, -1)).all(), f"Theorem 2's bound: {f.name}, l = {depth}")
        if f.peak:
            log = log_sizes(f, theta, x[:, 0], alpha=1e18)
            confirm(np.abs(log - depth * math.log(SIZE)).max() < 0.01, f"Theorem 2's limit: {f.name}, l = {depth}")


def first_layer_log(f: Sigmoid, depth: int, alpha: float = 1.0, scaling: str = "rescaled") -> Array:
    """log |dg/dtheta^1| of Theorem 2's networks of 1 to `depth` layers, all signs +."""
    slopes = f.log_slope(forward(f, np.full(depth, SIZE), SIZE, alpha, scaling)[1])
    slopes += math.log(alpha) if scaling == "naive" else 0.0
    return np.asarray(np.cumsum(slopes) + math.log(SIZE) * np.arange(1, depth + 1), np.float64)


def settled(f: Sigmoid) -> tuple[float, float]:
    """The argument of deep neurons in Theorem 2, and what each multiplies the gradient by, at any alpha; f odd."""
    z = root(lambda z: SIZE * f.f(z) - z, 1e-9, 10.0)
    return z, SIZE * f.slope(z)


def vanishes_again(f: Sigmoid, alpha: float) -> int:
    """The least depth from which on |dg/dtheta^1| is below 2^-l, to depth 2000: for f whose layer factor is < 1/2."""
    above = first_layer_log(f, 2000, alpha) > -math.log(2) * np.arange(1, 2001)
    return int(np.flatnonzero(above).max(initial=-1)) + 2


def theorem_numbers(f: Sigmoid, rng: np.random.Generator) -> dict[str, str]:
    """What the table of claims has in braces, f odd."""
    names = "low", "high", "second", "first_printed", "second_printed", "deep", "factor"
    values = *first_region(f), second_region(f), *printed_regions(), *settled(f)
    return {name: f"{value:.5f}" for name, value in zip(names, values, strict=True)} | {
        "above": str(drawn_above(f, rng)),
        "again": ", ".join(f"l = {vanishes_again(f, alpha)} for {alpha}" for alpha in (2, 4, 16, 256)),
    }
