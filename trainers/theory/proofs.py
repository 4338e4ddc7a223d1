"""The steps of the paper's two proofs, one by one, for tanh: for which t each is true, under the theorem's assumptions.

Proof of Theorem 1, with L = log(1/t), u_i = |theta^i f^(i-1)|, and m the maximum of u sech^2 u. The hardest networks
for most steps have x = 1/2 and all |theta^i| = 2 L, so |f^1| = tanh(L) and |f^i| = tanh(2 L |f^(i-1)|).

- 2: |theta^1 x| >= L and no more, so |f^1| >= tanh(1) where L >= 1.
- 3: |f^i| >= 1/2 is inherited where tanh(2 L / 2) >= 1/2, so L >= atanh(1/2) = log(3) / 2; the same L is needed for
  |f^1|. For f^0 it is true by the convention f^0 := 1 alone.
- 4: says |f^(k-1)| >= 1/4, inherited where tanh(2 L / 4) >= 1/4, so L >= 2 atanh(1/4) = log(5/3); for larger t the
  values settle at a fixed point below 1/4. (|f^1| >= tanh(L) asks for less.)
- 5: step 4 alone gives |theta^k f^(k-1)| >= L / 2, and sech^2(L / 2) = 4 t / (1 + t)^2 > t for every t < 1: a constant
  is lost (our text of the paper lacks the lines of this step that follow the common denominator). What is true: at
  k = 1, x = 1/2 the left side is sech^2(L) = 4 t^2 / (1 + t^2)^2, which is <= t where t^3 + t^2 + 3 t <= 1; and for
  such t, step 3 gives u_k >= L for all k.
- 7: says L >= 1/2, not t < 1.
- 8: true for |theta| > 1 (the minimum of sqrt(z) / log(z) is e / 2), where 2 L > 1; below, the logarithm is negative.
- 9: says 2 L >= 1 / (4 |f^i|^2), hardest at the fixed point v = tanh(2 L v); it turns where v = tanh(1 / (4 v)).
- 10: is to follow "similarly as above" and would give 4 instead of 1; it also needs |f^(i-1)| where |f^i| stands. The
  statement is true where |f^(i-1)| >= m, by |theta| sech^2(theta f) = u sech^2(u) / f <= m / f; that is inherited
  where tanh(2 L m) >= m, so L >= atanh(m) / (2 m); beyond, theta^i = u* / f breaks it.
- 12: r |theta| - |d| t >= |d| (2 L - t), which is >= |d| L where L >= t: up to the t with t = log(1/t).

Proof of Theorem 2: |theta^i| = |x| = 1.5. |f^1| = tanh(2.25), and |f^i| = tanh(1.5 |f^(i-1)|) falls towards the fixed
point f* = 0.85856 < tanh(1.3) = 0.86172, so step 3 breaks at i = 5. With f* in the place of tanh(1.3) the proof is
mended: 1 - f*^2 = 0.26288 <= 1/3 still. And step 1 breaks at k = 1, harmlessly: the n = l - k + 1 slopes and n - 1
thetas are at most (1/3)^n 1.5^(n-1) = (2/3) 2^-n, which leaves room for the factor |x| = 1.5.
"""

from __future__ import annotations

import math

import numpy as np

from trainers.theory.claims import Argument, Claim, CounterExample, Holds, Network, Worst
from trainers.theory.roots import root
from trainers.theory.sigmoids import SIGMOIDS, fixed_point, peak
from trainers.theory.theorem1 import printed_regions
from trainers.theory.toy import forward

TANH = SIGMOIDS["tanh"]
NEAR_ONE = Network("tanh", x=0.5, y=1.0, theta=(0.45, 0.45), k=2, t=0.8)


def limits() -> dict[int, float]:
    """The t up to which a step of the first proof is true, for the steps that have such a limit."""
    m = peak(TANH).m
    return {
        2: math.exp(-1.0),
        3: 3**-0.5,
        4: 0.6,
        5: printed_regions()[0],
        6: 3**-0.5,
        7: math.exp(-0.5),
        8: math.exp(-0.5),
        9: math.exp(-1 / (8 * root(lambda v: math.tanh(1 / (4 * v)) - v, 0.1, 0.9) ** 2)),
        10: math.exp(-math.atanh(m) / (2 * m)),
        12: root(lambda t: t - math.log(1 / t), 0.1, 1.0),
    }


def values(theta: tuple[float, ...], x: float) -> tuple[float, ...]:
    """|f^1| to |f^l| of a tanh network."""
    return tuple(abs(float(np.tanh(z))) for z in forward(TANH, np.array(theta), x).arguments)


def claims() -> tuple[Claim, ...]:
    """Every step of both proofs."""
    return (*_first(), *_second())


def _first() -> tuple[Claim, ...]:
    t = limits()
    size = math.log(1 / 0.8)
    first, second = values(NEAR_ONE.theta, NEAR_ONE.x)
    outer = Network("tanh", x=1.7, y=2.0, theta=(0.45,), k=1, t=0.8)
    steep = Network("tanh", x=0.5, y=1.0, theta=(0.45, 3.5), k=2, t=0.8)
    middle = Network("tanh", x=0.5, y=1.0, theta=(1.4,), k=1, t=0.5)
    at_root = Argument("tanh", z=0.45)
    slope = 1 - values(middle.theta, middle.x)[0] ** 2
    # fmt: off
    return (
        _step(1, 1, "|f^(k-1)| <= 1 by the definition of tanh", "where k >= 2 or |x| <= 1",
              "false for f^0 = x, |x| > 1",
              CounterExample("|x| against 1, k = 1", outer, 1.7, "<=", 1.0)),
        _step(1, 2, "|f^1| = |tanh(theta^1 x)| >= tanh(1)", _up_to(t[2]), "only |theta^1 x| >= log(1/t) is given",
              CounterExample("|f^1| against tanh(1)", middle, values(middle.theta, 0.5)[0], ">=", math.tanh(1))),
        _step(1, 3, "|f^i| >= 1/2 for all i >= 0, as |theta^2|, ..., |theta^l| >= 2", _up_to(t[3]),
              "|theta^i| >= 2 itself needs t <= 1/e; |f^0| >= 1/2 holds by f^0 := 1 alone",
              CounterExample("|f^2| against 1/2", NEAR_ONE, second, ">=", 0.5)),
        _step(1, 4, "|theta^k| >= log(1/t) / (2 |f^(k-1)|)", _up_to(t[4]), "says |f^(k-1)| >= 1/4",
              CounterExample("|theta^2| against it", NEAR_ONE, 0.45, ">=", size / (2 * first))),
        _step(1, 5, "1 - (f^k)^2 <= t", _up_to(t[5]),
              "from step 4 follows 4 t / (1 + t)^2, which is above t for every t: a constant is lost",
              CounterExample("1 - (f^1)^2 against t", middle, slope, "<=", 0.5)),
        _step(1, 6, "2 log(1/t) >= log(1/t) / (2 |f^i|^2)", _up_to(t[6]), "says |f^i| >= 1/2",
              CounterExample("both sides, i = 2", NEAR_ONE, 2 * size, ">=", size / (2 * second**2))),
        _step(1, 7, "log(1/t) / (2 |f^i|^2) >= 1 / (4 |f^i|^2), as t < 1", _up_to(t[7]), "says log(1/t) >= 1/2",
              CounterExample("both sides, i = 2", NEAR_ONE, size / (2 * second**2), ">=", 1 / (4 * second**2))),
        _step(1, 8, "|theta| / log|theta| >= sqrt|theta|", f"t < {t[8]:.5f}",
              "the logarithm is negative for |theta| < 1, which 2 log(1/t) allows",
              CounterExample("both sides", at_root, 0.45 / math.log(0.45), ">=", math.sqrt(0.45))),
        _step(1, 9, "sqrt|theta^i| >= 1 / (2 |f^i|)", _up_to(t[9]), "from steps 6 and 7",
              CounterExample("both sides, i = 2", NEAR_ONE, math.sqrt(0.45), ">=", 1 / (2 * second))),
        _step(1, 10, "|(1 - (f^i)^2) theta^i| <= 1 for i >= 2", _up_to(t[10]),
              "the way shown gives 4, and needs |f^(i-1)| where |f^i| stands; true all the same up to this t",
              CounterExample("the left side, i = 2", steep, (1 - values(steep.theta, 0.5)[1] ** 2) * 3.5, "<=", 1.0)),
        _step(1, 11, "the product of steps 1, 5 and 10 is the first bound", "", "", None),
        _step(1, 12, "the second bound follows readily from the first", _up_to(t[12]),
              "needs r |theta| - |d| t >= |d| log(1/t), so log(1/t) >= t",
              CounterExample("2 log(1/t) - t against log(1/t)", NEAR_ONE, 2 * size - 0.8, ">=", size)),
    )
    # fmt: on


def _second() -> tuple[Claim, ...]:
    at = Network("tanh", x=1.5, y=1.0, theta=(1.5,) * 5, k=5)
    deep = values(at.theta, at.x)
    settled = fixed_point(TANH, 1.5)
    # fmt: off
    return (
        _step(2, 1, "|f^(k-1)| <= 1 by the definition of tanh", "where k >= 2",
              "false for f^0 = x = 1.5; harmless, the other factors leave room for 1.5",
              CounterExample("|x| against 1, k = 1", at, 1.5, "<=", 1.0)),
        _step(2, 2, "|x| >= 1.5 tanh(1.5) and |theta^i| >= 1.3 / tanh(1.5)", "", "", None,
              Worst(1.5, 1.3 / math.tanh(1.5), "|theta| against 1.3 / tanh(1.5)")),
        _step(2, 3, "hence |f^i| >= tanh(1.3) for all i", "where i <= 4",
              f"it would need |f^(i-1)| >= tanh(1.5); |f^i| falls to {settled:.5f} < tanh(1.3) = {math.tanh(1.3):.5f}",
              CounterExample("|f^5| against tanh(1.3)", at, deep[4], ">=", math.tanh(1.3))),
        _step(2, 4, "1 - tanh(1.3)^2 <= 1 / (2 * 1.5)", "", "", None,
              Worst(1 - math.tanh(1.3) ** 2, 1 / 3, f"and 1 - f*^2 = {1 - settled**2:.5f} mends step 3")),
        _step(2, 5, "the product of steps 1 and 4 and |theta^i| <= 1.5 is the bound", "", "", None),
        _step(2, 6, "alpha f_alpha^i -> product of theta^m x; so f_alpha^i -> 0 and 1 - (f_alpha^i)^2 -> 1", "",
              "at a fixed depth: the limits alpha -> infinity and l -> infinity do not commute", None),
    )
    # fmt: on


def _up_to(t: float) -> str:
    return f"t <= {t:.5f}"


def _step(
    theorem: int,
    number: int,
    statement: str,
    region: str,
    why: str,
    counter: CounterExample | None,
    worst: Worst | None = None,
) -> Claim:
    holds: Holds = "in a region" if counter else "everywhere tested"
    return Claim(
        name=f"step {number}",
        part="proof of 1" if theorem == 1 else "proof of 2",
        activation="tanh",
        statement=statement,
        holds=holds,
        region=region,
        evidence=f"proved; {why}" if why else "proved",
        worst=worst,
        counter_example=counter,
    )
