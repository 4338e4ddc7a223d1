"""Theorem 1, the large-parameters regime: its two bounds, and the exact t for which they hold.

With L = log(1/t) and P_k = |dg/dtheta^k| it assumes r >= |d| and |theta^i| >= L / min(|x|, 1/2), and claims P_k <= t
and |r theta^k - d (+-P_k)| >= |d| L for every t in (0, 1). docs/theory.md proves the regions that are computed here;
random networks are held against them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from trainers.theory.claims import NOWHERE, Claim, CounterExample, Network, Worst
from trainers.theory.network import against, derivative, forward, partials, printed
from trainers.theory.sigmoids import SIGMOIDS, Array, Sigmoid, peak, root

GRID = (1e-6, 1e-4, 0.01, 0.03, 0.1, 0.2, 0.29, 0.3, 0.4, 0.5, 0.6, 0.62, 0.63, 0.69, 0.7, 0.73, 0.74, 0.8, 0.9, 0.99)
DEPTH = 6
ROUNDING = 1e-12
FIRST = "|d/dtheta^k h| <= |d| t, for all t in (0, 1), |theta^i| >= log(1/t) / min(|x|, 1/2)"
SECOND = "|d/dtheta^k (h + r/2 sum theta^2)| >= |d| log(1/t), for all t in (0, 1), r >= |d|"
SIDES = "|d/dtheta^k (h + penalty)| against |d| log(1/t)"


def largest(f: Sigmoid, t: float) -> float:
    """The largest |dg/dtheta^k| under the theorem's assumptions, over all l, k, theta and x: exact, f odd."""
    size, (top, m) = math.log(1 / t), peak(f)
    return (m if size <= top else size * f.slope(size)) / (2 * size)


def first_region(f: Sigmoid) -> tuple[float, float]:
    """The t from and to which the first bound holds, f odd; from 0 where no small t fails."""
    top, m = peak(f)
    low = root(lambda size: m / (2 * size) - math.exp(-size), 1e-6, top)
    if f.slope(50.0) / 2 <= math.exp(-50.0):
        return 0.0, math.exp(-low)
    return math.exp(-root(lambda size: f.slope(size) / 2 - math.exp(-size), top, 50.0)), math.exp(-low)


def second_region(f: Sigmoid) -> float:
    """The t up to which the second bound holds, f odd."""
    return math.exp(-math.sqrt(peak(f)[1] / 2))


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


def claims(draws: int, rng: np.random.Generator) -> tuple[Claim, ...]:
    """Both bounds for every sigmoid type, and for tanh with the formula as printed.

    `draws` random networks for each odd function, spread over a grid of t and over depths 1 to 6. Raises
    ArithmeticError if one of them contradicts a region that is said to be exact.
    """
    tanh, *others = SIGMOIDS.values()
    ours = _odd(tanh, draws, rng)
    return (*ours, *_as_printed(), *(c for f in others for c in (_odd(f, draws, rng) if f.odd else _unbounded(f))))


def _odd(f: Sigmoid, draws: int, rng: np.random.Generator) -> tuple[Claim, Claim]:
    low, high = first_region(f)
    second = second_region(f)
    each = max(1, draws // (len(GRID) * DEPTH))
    tight: list[tuple[float, str]] = []
    slack: list[tuple[float, str]] = []
    beyond = 0
    for t in GRID:
        for depth in range(1, DEPTH + 1):
            theta, x = draw(t, each, depth, rng)
            log = partials(f, theta, x).log
            where = f"t = {t:g}, l = {depth}"
            if log.max() > math.log(largest(f, t)) + ROUNDING:
                raise ArithmeticError(f"{f.name}: a draw at {where} is above what is the largest gradient there")
            beyond += int((log > math.log(t)).any(axis=-1).sum())
            if low <= t <= high:
                tight.append((float(log.max() - math.log(t)), where))
            if t <= second:
                left = np.maximum(np.abs(theta) - np.exp(log), 0.0)
                slack.append((float(left.min() / math.log(1 / t)), where))
    tightest, slackest = max(tight, key=lambda met: met[0]), min(slack, key=lambda met: met[0])
    if slackest[0] < 1 - ROUNDING:
        raise ArithmeticError(f"{f.name}: a draw at {slackest[1]} is below the second bound, inside its region")
    evidence = f"proved; {each * len(GRID) * DEPTH} draws agree"
    # round numbers: near t = 1 for tanh, at t = 0.01 where small t fail
    example = _first(f.name, 0.01, 0.5, 1.0, 9.3) if low else _first(f.name, 0.8, 1.7, 2.0, 0.45)
    # one neuron at x = 1 whose slope is its theta: there r = |d| cancels the data gradient
    cancelling = root(lambda theta: theta - f.slope(theta), 1e-3, 1.0)
    return (
        Claim(
            "theorem 1", "first bound", f.name, FIRST,
            f"t <= {high:.5f}" if low == 0 else f"{low:.5f} <= t <= {high:.5f}",
            f"{evidence}; outside, {beyond} of them are above the bound",
            Worst(math.exp(tightest[0]), 1.0, f"largest |dg| / t of the draws inside: {tightest[1]}"),
            example,
        ),
        Claim(
            "theorem 1", "second bound", f.name, SECOND, f"t <= {second:.5f}", evidence,
            Worst(slackest[0], 1.0, f"least (|theta^k| - |dg|) / log(1/t) of the draws inside: {slackest[1]}"),
            _cancelled(f, 0.8, 1.0, cancelling),
        ),
    )  # fmt: skip


def _unbounded(f: Sigmoid) -> tuple[Claim, ...]:
    if f.name == "sigmoid":
        examples = _first(f.name, 0.01, -1.0, 1.0, 9.3, 17_000.0), _cancelled(f, 0.5, -7.0, 1.4, 28_000.0)
    else:
        examples = _first(f.name, 0.01, -1.0, 1.0, 9.3), _cancelled(f, 0.01, -10.0, 9.3)
    evidence = "proved: for every t there is a counter-example"
    return tuple(
        Claim("theorem 1", name, f.name, statement, NOWHERE, evidence, Worst(e.left, e.right, e.says), e)
        for name, statement, e in zip(("first bound", "second bound"), (FIRST, SECOND), examples, strict=True)
    )


def _as_printed() -> tuple[Claim, ...]:
    """For tanh: the bounds with the formula as printed, and what the theorem says of the r of the experiments."""
    first, second = printed_regions()
    above = Network("tanh", x=0.5, y=1.0, theta=(1.4,), k=1, t=0.5)
    below = Network("tanh", x=0.5, y=-1.0, theta=(1.22,), k=1, t=0.55)
    below = replace(below, r=abs(printed(below)[1]))
    at = Network("tanh", x=0.5, y=2.0, theta=(9.3,), k=1, r=0.01, t=0.01)
    experiments = against(SIDES, at, ">=", -math.log(0.01))
    return (
        Claim(
            "theorem 1", "first bound, f^0 := 1 as printed", "tanh", FIRST, f"t <= {first:.5f}", "proved", None,
            against("|d/dtheta^k h| as printed against |d| t", above, "<=", 0.5, by=printed),
        ),
        Claim(
            "theorem 1", "second bound, f^0 := 1 as printed", "tanh", SECOND, f"t <= {second:.5f}", "proved", None,
            against(SIDES.replace(" against", " as printed against"), below, ">=", -math.log(0.55), by=printed),
        ),
        Claim(
            "theorem 1", "the experiments' r = 0.01", "tanh",
            "regularization can avoid this problem: by r >= |d|, where |d| >~ 1", "|d| <= 0.01",
            "by the assumption r >= |d|; at smaller r the gradient is within |d| m / |theta^k| of r |theta^k|",
            Worst(experiments.left, at.r * at.theta[0], "the gradient against r |theta|, at the counter-example"),
            experiments,
        ),
    )  # fmt: skip


def _first(name: str, t: float, x: float, y: float, *theta: float) -> CounterExample:
    """Both sides of the first bound, by autograd."""
    return against("|d/dtheta^k h| against |d| t", Network(name, x, y, theta, 1, t=t), "<=", t)


def _cancelled(f: Sigmoid, t: float, x: float, *theta: float) -> CounterExample:
    """Both sides of the second bound where the penalty undoes the data gradient of theta^1, with some r >= |d|."""
    g = float(forward(f, np.array(theta), x).output)
    size = float(partials(f, np.array(theta), x).value[0])
    # d/dtheta h = -d dg/dtheta must be against r theta: the sign of y - g is that of dg / theta
    y = round(g + math.copysign(2.0, size * theta[0]), 3)
    data, d = derivative(Network(f.name, x, y, theta, 1))
    at = Network(f.name, x, y, theta, 1, r=max(-data / theta[0], abs(d)), t=t)
    return against(SIDES, at, ">=", -math.log(t))
