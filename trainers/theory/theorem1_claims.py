"""Theorem 1's claims for every sigmoid type: random draws against the exact regions, and counter-examples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from trainers.theory.autograd import derivative
from trainers.theory.claims import Claim, CounterExample, Network, Worst
from trainers.theory.roots import root
from trainers.theory.sigmoids import SIGMOIDS, Sigmoid
from trainers.theory.theorem1 import draw, first_region, largest, printed_regions, second_region
from trainers.theory.toy import forward, partials

GRID = (1e-6, 1e-4, 0.01, 0.03, 0.1, 0.2, 0.29, 0.3, 0.4, 0.5, 0.6, 0.62, 0.63, 0.69, 0.7, 0.73, 0.74, 0.8, 0.9, 0.99)
DEPTH = 6
ROUNDING = 1e-12
FIRST = "|d/dtheta^k h| <= |d| t, for all t in (0, 1), |theta^i| >= log(1/t) / min(|x|, 1/2)"
SECOND = "|d/dtheta^k (h + r/2 sum theta^2)| >= |d| log(1/t), for all t in (0, 1), r >= |d|"


def claims(draws: int, rng: np.random.Generator) -> tuple[Claim, ...]:
    """Both bounds for every sigmoid type, and for tanh with the formula as printed.

    `draws` random networks for each function, spread over a grid of t and over depths 1 to 6. Raises ArithmeticError
    if one of them contradicts a region that is said to be exact.
    """
    made: list[Claim] = []
    for f in SIGMOIDS.values():
        made += _odd(f, draws, rng) if f.odd else _unbounded(f)
    return (*made[:2], *_printed(), _experiments(), *made[2:])


def _odd(f: Sigmoid, draws: int, rng: np.random.Generator) -> tuple[Claim, Claim]:
    low, high = first_region(f)
    second = second_region(f)
    tight, slack, beyond = -math.inf, math.inf, 0
    tightest = slackest = ""
    each = max(1, draws // (len(GRID) * DEPTH))
    for t in GRID:
        size = math.log(1 / t)
        for depth in range(1, DEPTH + 1):
            theta, x = draw(t, each, depth, rng)
            log = partials(f, theta, x).log
            if log.max() > math.log(largest(f, t)) + ROUNDING:
                raise ArithmeticError(f"{f.name}: a draw at t = {t:g} is above what is the largest gradient there")
            left = np.maximum(np.abs(theta) - np.exp(log), 0.0)
            beyond += int((log > math.log(t)).any(axis=-1).sum())
            if low <= t <= high and log.max() - math.log(t) > tight:
                tight, tightest = log.max() - math.log(t), f"t = {t:g}, l = {depth}"
            if t <= second and left.min() / size < slack:
                slack, slackest = left.min() / size, f"t = {t:g}, l = {depth}"
    if slack < 1 - ROUNDING:
        raise ArithmeticError(f"{f.name}: a draw at {slackest} is below the second bound, inside its region")
    evidence = f"proved; {each * len(GRID) * DEPTH} draws agree"
    region = f"t <= {high:.5f}" if low == 0 else f"{low:.5f} <= t <= {high:.5f}"
    return (
        Claim(
            name="first bound",
            part="theorem 1",
            activation=f.name,
            statement=FIRST,
            holds="in a region",
            region=region,
            evidence=f"{evidence}; outside, {beyond} of them are above the bound",
            worst=Worst(math.exp(tight), 1.0, f"largest |dg| / t of the draws inside: {tightest}"),
            counter_example=_first_counter(f, low),
            broken_step="step 5, 1 - (f^k)^2 <= t, and step 1 at k = 1"
            if f.name == "tanh"
            else "its analogue of step 5: f'(z) <= t",
        ),
        Claim(
            name="second bound",
            part="theorem 1",
            activation=f.name,
            statement=SECOND,
            holds="in a region",
            region=f"t <= {second:.5f}",
            evidence=evidence,
            worst=Worst(float(slack), 1.0, f"least (|theta^k| - |dg|) / log(1/t) of the draws inside: {slackest}"),
            counter_example=cancelled(f.name, x=1.0, theta=_cancelling(f), t=0.8),
            broken_step="step 12: the second bound follows from the first",
        ),
    )


def _first_counter(f: Sigmoid, low: float) -> CounterExample:
    """Round numbers: near t = 1 for tanh, at t = 0.01 where small t fail."""
    if low > 0:
        return first_sides(Network(f.name, x=0.5, y=1.0, theta=(9.3,), k=1, t=0.01))
    return first_sides(Network(f.name, x=1.7, y=2.0, theta=(0.45,), k=1, t=0.8))


def _cancelling(f: Sigmoid) -> float:
    """The theta of one neuron at x = 1 whose slope is theta: there r = |d| cancels the data gradient."""
    return root(lambda theta: theta - f.slope(theta), 1e-3, 1.0)


def _unbounded(f: Sigmoid) -> tuple[Claim, Claim]:
    if f.name == "sigmoid":
        first = first_sides(Network(f.name, x=-1.0, y=1.0, theta=(9.3, 17_000.0), k=1, t=0.01))
        second = cancelled(f.name, x=-7.0, theta=1.4, t=0.5, rest=(28_000.0,))
    else:
        first = first_sides(Network(f.name, x=-1.0, y=1.0, theta=(9.3,), k=1, t=0.01))
        second = cancelled(f.name, x=-10.0, theta=9.3, t=0.01)
    evidence = "proved: for every t there is a counter-example"
    made = [
        Claim(
            name=f"{name} bound",
            part="theorem 1",
            activation=f.name,
            statement=statement,
            holds="fails",
            region="for no t",
            evidence=evidence,
            worst=Worst(example.left, example.right, example.says),
            counter_example=example,
            broken_step="step 3: |f^i| >= 1/2" if f.name == "sigmoid" else "property 1: boundedness",
        )
        for name, statement, example in (("first", FIRST, first), ("second", SECOND, second))
    ]
    return made[0], made[1]


def _printed() -> tuple[Claim, Claim]:
    first, second = printed_regions()
    at = Network("tanh", x=0.5, y=1.0, theta=(1.4,), k=1, t=0.5)
    size, d = _printed_size(at)
    below = Network("tanh", x=0.5, y=-1.0, theta=(1.22,), k=1, t=0.55)
    below_size, below_d = _printed_size(below)
    below = replace(below, r=abs(below_d))
    return (
        Claim(
            name="first bound, f^0 := 1 as printed",
            part="theorem 1",
            activation="tanh",
            statement=FIRST,
            holds="in a region",
            region=f"t <= {first:.5f}",
            evidence="proved",
            counter_example=CounterExample(
                "|d/dtheta^k h| as printed against |d| t", at, abs(d) * size, "<=", abs(d) * _constant(at)
            ),
            broken_step="step 5: 1 - (f^k)^2 <= t",
        ),
        Claim(
            name="second bound, f^0 := 1 as printed",
            part="theorem 1",
            activation="tanh",
            statement=SECOND,
            holds="in a region",
            region=f"t <= {second:.5f}",
            evidence="proved",
            counter_example=CounterExample(
                "|d/dtheta^k (h + penalty)| as printed against |d| log(1/t)",
                below,
                abs(below_d * below_size + below.r * below.theta[0]),
                ">=",
                abs(below_d) * -math.log(_constant(below)),
            ),
            broken_step="step 5: 1 - (f^k)^2 <= t",
        ),
    )


def _experiments() -> Claim:
    """What the theorem says about the r of the paper's experiments."""
    at = Network("tanh", x=0.5, y=2.0, theta=(9.3,), k=1, r=0.01, t=0.01)
    left, d = derivative(at)
    return Claim(
        name="the experiments' r = 0.01",
        part="theorem 1",
        activation="tanh",
        statement="regularization can avoid this problem: by r >= |d|, where |d| >~ 1",
        holds="in a region",
        region="|d| <= 0.01",
        evidence="by the assumption r >= |d|; at smaller r the gradient is within |d| m / |theta^k| of r |theta^k|",
        worst=Worst(abs(left), at.r * at.theta[0], "the gradient against r |theta|, at the counter-example"),
        counter_example=CounterExample(
            "|d/dtheta^k (h + penalty)| against |d| log(1/t)", at, abs(left), ">=", abs(d) * -math.log(_constant(at))
        ),
        broken_step="the assumption r >= |d|",
    )


def _printed_size(at: Network) -> tuple[float, float]:
    """The printed formula's factor beside d, and d."""
    f, theta = SIGMOIDS[at.activation], np.array(at.theta)
    d = 2 * (at.y - float(forward(f, theta, at.x).output))
    return float(partials(f, theta, at.x, printed=True).value[at.k - 1]), d


def first_sides(at: Network) -> CounterExample:
    """Both sides of the first bound at a point, by autograd."""
    left, d = derivative(at)
    return CounterExample("|d/dtheta^k h| against |d| t", at, abs(left), "<=", abs(d) * _constant(at))


def cancelled(name: str, x: float, theta: float, t: float, rest: tuple[float, ...] = ()) -> CounterExample:
    """Both sides of the second bound where the penalty undoes the data gradient of theta^1, with some r >= |d|.

    Raises ArithmeticError where r would have to be below |d|.
    """
    f, thetas = SIGMOIDS[name], (theta, *rest)
    g = float(forward(f, np.array(thetas), x).output)
    size = float(partials(f, np.array(thetas), x).value[0])
    # d/dtheta h = -d dg/dtheta must be against r theta: the sign of y - g is that of dg / theta.
    y = round(g + math.copysign(2.0, size * theta), 3)
    data, d = derivative(Network(name, x, y, thetas, 1))
    r = max(-data / theta, abs(d))
    if r * theta + data > 1e-9 * abs(d):
        raise ArithmeticError(f"{name}: r = {-data / theta:g} cancels the gradient, but is below |d| = {abs(d):g}")
    at = Network(name, x, y, thetas, 1, r=r, t=t)
    left, d = derivative(at)
    return CounterExample("|d/dtheta^k (h + penalty)| against |d| log(1/t)", at, abs(left), ">=", abs(d) * -math.log(t))


def _constant(at: Network) -> float:
    if at.t is None:
        raise ValueError(f"t must be given, but got {at!r}")
    return at.t
