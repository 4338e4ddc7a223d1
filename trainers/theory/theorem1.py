"""Theorem 1, the large-parameters regime: its two bounds, the exact t for which they hold, for tanh and its kin.

With L = log(1/t), u_i = |theta^i f^(i-1)| (f^0 = x) and P_k = |dg/dtheta^k|, the theorem assumes r >= |d| and
|theta^i| >= L / min(|x|, 1/2), and claims P_k <= t, and |r theta^k - d (+-P_k)| >= |d| L: for every t in (0, 1).

One identity settles it. |theta^i| = u_i / f(u_(i-1)) for i >= 2, so for an odd f

    P_k = (1 / |theta^k|) * (product over k <= i < l of u_i f'(u_i) / f(u_i)) * u_l f'(u_l).                      (*)

For f concave on [0, inf) with f(0) = 0 each factor u f'(u) / f(u) is at most 1. With m the maximum of u f'(u), taken
at u*, this gives P_k <= m / |theta^k| for *every* network, depth and point, without any assumption of the theorem.

First bound. |theta^k| >= 2 L, so P_k <= m / (2 L); one neuron (l = 1, theta = 2 L, x = u* / (2 L)) attains it if
L <= u* (so that x >= 1/2). If L >= u* and f(L) >= 1/2 (so for all three functions here), then by induction all
u_i >= L, where u f'(u) falls, so P_k <= L f'(L) / (2 L) = f'(L) / 2, attained by l = 1, x = 1/2, theta = 2 L. So the
largest P_k under the theorem's assumptions is exactly S(L) = max over u >= L of u f'(u), divided by 2 L, and the
bound holds where S(L) <= e^-L. tanh: f'(L) / 2 = 2 t^2 / (1 + t^2)^2 <= t always; only t near 1 fails. arctan and
softsign have slopes that fall like 1 / z^2, and no such bound is below t = e^-L for large L: small t fail as well.

Second bound. It is |theta^k| - P_k >= L at its worst (r = |d|, opposite signs). By P_k <= m / |theta^k| the left side
is at least 2 L - m / (2 L), which is >= L where L >= sqrt(m / 2); the same one neuron attains it. Where P_k >=
|theta^k| is possible, some r >= |d| makes the regularised gradient exactly 0.

With the formula as printed (f^0 := 1 in P_1), for tanh: the first bound needs sech^2(L) <= t (l = 1, x = 1/2), that is
t^3 + t^2 + 3 t <= 1, and that suffices (steps 3, 5 and 10 of `proofs` hold there). The second needs sech^2(L) <= L.

Depth is no way out: with theta^1 = theta^2 = 2 L at x = 1/2 and theta^3 = u* / f^2, P_2 comes near m / (2 L) as well.

sigmoid is not odd: with x < 0 and theta^1 > 0 the first neuron's value is tiny, and theta^2 = z / f^1 undoes it, so
P_1 = |x| (1 - f^1) z f'(z) at any z > 0: no bound, for any t. logsigmoid has slope 1 at -inf: P_1 -> |x| for l = 1.
"""

from __future__ import annotations

import math

import numpy as np

from trainers.theory.roots import root
from trainers.theory.sigmoids import Array, Sigmoid, peak


def largest(f: Sigmoid, t: float) -> float:
    """The largest |dg/dtheta^k| under the theorem's assumptions, over all l, k, theta and x: exact, f odd."""
    size, top = math.log(1 / t), peak(f)
    return (top.m if size <= top.z else size * f.slope(size)) / (2 * size)


def first_region(f: Sigmoid) -> tuple[float, float]:
    """The t from and to which the first bound holds, f odd; from 0 where no small t fails."""
    top = peak(f)
    low = root(lambda size: top.m / (2 * size) - math.exp(-size), 1e-6, top.z)
    if f.slope(50.0) / 2 <= math.exp(-50.0):
        return 0.0, math.exp(-low)
    return math.exp(-root(lambda size: f.slope(size) / 2 - math.exp(-size), top.z, 50.0)), math.exp(-low)


def second_region(f: Sigmoid) -> float:
    """The t up to which the second bound holds, f odd."""
    return math.exp(-math.sqrt(peak(f).m / 2))


def printed_regions() -> tuple[float, float]:
    """The t up to which the two bounds hold for tanh with the formula as printed, f^0 := 1."""
    first = root(lambda t: t**3 + t**2 + 3 * t - 1, 0.0, 1.0)
    return first, math.exp(-root(lambda size: size - math.cosh(size) ** -2, 0.1, 2.0))


def draw(t: float, count: int, depth: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random networks (count, depth) and points (count,) that meet the assumptions; half of the thetas tightly."""
    x = rng.choice([-1.0, 1.0], count) * 0.5 * np.exp(rng.normal(0.0, 1.5, count))
    least = math.log(1 / t) / np.minimum(np.abs(x), 0.5)
    excess = np.where(rng.random((count, depth)) < 0.5, 0.0, np.abs(rng.normal(0.0, 1.0, (count, depth))))
    return rng.choice([-1.0, 1.0], (count, depth)) * least[:, None] * np.exp(excess), x
