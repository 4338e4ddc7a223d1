"""The four properties that the theorems are based on, for each sigmoid type, and what the paper says in passing."""

from __future__ import annotations

import numpy as np

from trainers.theory.claims import Argument, Claim, CounterExample, Worst
from trainers.theory.sigmoids import SIGMOIDS, Sigmoid, fixed_point

FAR = np.concatenate([-np.logspace(9, -3, 121), [0.0], np.logspace(-3, 9, 121)])
STATEMENTS = {
    1: "boundedness: |f(z)| <= 1 for all z",
    2: "rapidly vanishing derivatives: f'(z) z -> 0 for z -> +-infinity",
    3: "strictly positive limit: f(z) -> c > 0 for z -> infinity",
    4: "linearity at the origin: alpha f(z / alpha) -> a_lin z for alpha -> infinity",
}


def claims() -> tuple[Claim, ...]:
    """Properties 1 to 4 of every sigmoid type, then the statements in passing."""
    four = tuple(
        Claim("properties", f"property {number}", f.name, STATEMENTS[number], "", "proved, and numerically", *tested(f))
        for f in SIGMOIDS.values()
        for number, tested in enumerate((_bounded, _vanishing, _positive, _linear), 1)
    )
    return (*four, *_in_passing(), *map(_steeper, SIGMOIDS.values()), _telescope())


def _bounded(f: Sigmoid) -> tuple[Worst, CounterExample | None]:
    values = np.abs(f.f(FAR))
    z = -5.0 if f.name == "logsigmoid" else 2.0
    counter = CounterExample("|f(z)| against 1", Argument(f.name, z), abs(f.value(z)), "<=", 1.0)
    return Worst(
        float(values.max()), 1.0, f"|f| at z = {FAR[values.argmax()]:g}"
    ), counter if values.max() > 1 else None


def _vanishing(f: Sigmoid) -> tuple[Worst, CounterExample | None]:
    low, high = (abs(z) * f.slope(z) for z in (-1e9, 1e9))
    worst = Worst(max(low, high), 0.0, f"|f'(z) z| at z = {-1e9 if low > high else 1e9:g}")
    counter = CounterExample("|f'(z) z| against 0", Argument(f.name, -1e3), 1e3 * f.slope(-1e3), "=", 0.0)
    return worst, counter if worst.left >= 1e-6 else None


def _positive(f: Sigmoid) -> tuple[Worst, CounterExample | None]:
    limit = f.value(700.0)
    # negative there, and log1p never lets it turn positive, so the limit is not above 0
    counter = CounterExample("the limit against 0; f(z) < 0", Argument(f.name, 30.0), f.value(30.0), ">", 0.0)
    return Worst(limit, 0.0, "f at z = 700"), counter if limit <= 0.1 else None


def _linear(f: Sigmoid) -> tuple[Worst, CounterExample | None]:
    alpha, points = 1e6, np.array([-3.0, -1.0, -0.1, 0.1, 1.0, 3.0])
    gap = float(np.abs(alpha * f.f(points / alpha) - points).max())
    at = Argument(f.name, 0.0, alpha)
    counter = CounterExample("alpha f(0) at z = 0 against a_lin 0", at, alpha * f.value(0.0), "=", 0.0)
    return Worst(gap, 0.0, "|alpha f(z / alpha) - z| at alpha = 1e6, |z| <= 3"), counter if gap >= 1e-4 else None


def _in_passing() -> tuple[Claim, ...]:
    tanh = SIGMOIDS["tanh"]
    deep = 1.5 * fixed_point(tanh, 1.5)
    return (
        Claim(
            "in passing", "products vanish", "tanh", "(1 - tanh(v z)^2) z -> 0 for z -> infinity and any fixed v",
            "v != 0", "proved: at most m / |v|, and the exponential wins; at v = 0 the slope is 1",
            Worst(1e3 * tanh.slope(0.01 * 1e3), 0.0, "v = 0.01, z = 1000"),
            CounterExample("(1 - tanh(0)^2) z against 0", Argument("tanh", 1000.0, v=0.0), 1000.0, "=", 0.0),
        ),
        Claim(
            "in passing", "one layer halves", "tanh", "(1 - tanh(1.5)^2) 1.5 <= 1/2", "",
            f"computed; deep neurons are at {deep:.5f} and have {1.5 * tanh.slope(deep):.5f}",
            Worst(1.5 * tanh.slope(1.5), 0.5, ""),
        ),
    )  # fmt: skip


def _steeper(f: Sigmoid) -> Claim:
    points = FAR[FAR != 0]
    growth = f.log_slope(points / 2) - f.log_slope(points)
    region, evidence = "z != 0", "proved: f' falls in |z|"
    at = Argument(f.name, 0.0, alpha=2.0)
    counter = CounterExample("(f_2)'(0) against f'(0): equal", at, f.slope(0.0), ">", f.slope(0.0))
    if f.name == "logsigmoid":
        region, evidence = "z > 0", "proved: f' falls in z"
        at = Argument(f.name, -2.0, alpha=2.0)
        counter = CounterExample("(f_2)'(-2) against f'(-2)", at, f.slope(-1), ">", f.slope(-2))
    statement = "(f_alpha)'(z) > f'(z) for alpha > 1"
    worst = Worst(float(growth.min()), 0.0, f"log (f_2)' / f' at z = {points[growth.argmin()]:g}")
    return Claim("in passing", "steeper by scaling", f.name, statement, region, evidence, worst, counter)


def _telescope() -> Claim:
    inner = np.random.default_rng(0).normal(0, 3, 1000)
    gaps = [2.5 * f.f(2.5 * f.f(inner / 2.5) / 2.5) - 2.5 * f.f(f.f(inner / 2.5)) for f in SIGMOIDS.values()]
    return Claim(
        "in passing", "scales telescope", "any", "f_alpha(f_alpha(z)) = alpha f(f(z / alpha))", "",
        "proved: alpha and 1 / alpha cancel",
        Worst(float(np.abs(gaps).max()), 0.0, "largest difference, alpha = 2.5"),
    )  # fmt: skip
