"""The four properties that the theorems are based on, for each sigmoid type, and what the paper says in passing.

Of arctan, |z| -> pi/2 > 1 breaks property 1 as it is written (a bound, but not 1). Of logsigmoid none of the four is
true: f(z) ~ z at -inf has no bound, f'(z) z -> -inf there, f < 0 everywhere with f -> 0 at +inf, and f(0) = -log 2,
so alpha f(z / alpha) -> -inf. Read as the logistic function, property 4 alone fails: f(0) = 1/2. An odd f with slope
1 at 0 has property 4 with a_lin = 1.
"""

from __future__ import annotations

import numpy as np

from trainers.theory.claims import Argument, Claim, CounterExample, Holds, Worst
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
    four = tuple(one(f, number) for f in SIGMOIDS.values() for number in STATEMENTS)
    return (*four, *_in_passing())


def one(f: Sigmoid, number: int) -> Claim:
    """Property `number` of one function, on 243 points to |z| = 1e9 or at alpha = 1e6."""
    worst, counter = (_bounded, _vanishing, _positive, _linear)[number - 1](f)
    return Claim(
        name=f"property {number}",
        part="properties",
        activation=f.name,
        statement=STATEMENTS[number],
        holds="fails" if counter else "everywhere tested",
        region="",
        evidence="proved, and numerically",
        worst=worst,
        counter_example=counter,
    )


def _bounded(f: Sigmoid) -> tuple[Worst, CounterExample | None]:
    values = np.abs(f.f(FAR))
    worst = Worst(float(values.max()), 1.0, f"|f| at z = {FAR[values.argmax()]:g}")
    if worst.left <= 1:
        return worst, None
    z = -5.0 if f.name == "logsigmoid" else 2.0
    return worst, CounterExample("|f(z)| against 1", Argument(f.name, z), abs(f.value(z)), "<=", 1.0)


def _vanishing(f: Sigmoid) -> tuple[Worst, CounterExample | None]:
    low, high = (abs(z) * f.slope(z) for z in (-1e9, 1e9))
    worst = Worst(max(low, high), 0.0, f"|f'(z) z| at z = {-1e9 if low > high else 1e9:g}")
    if worst.left < 1e-6:
        return worst, None
    z = -1000.0
    return worst, CounterExample("|f'(z) z| against 0", Argument(f.name, z), abs(z) * f.slope(z), "=", 0.0)


def _positive(f: Sigmoid) -> tuple[Worst, CounterExample | None]:
    limit = f.value(700.0)
    worst = Worst(limit, 0.0, "f at z = 700")
    if limit > 0.1:
        return worst, None
    # Negative there, and log1p never lets it turn positive, so the limit is not above 0.
    return worst, CounterExample("the limit against 0; f(z) < 0", Argument(f.name, 30.0), f.value(30.0), ">", 0.0)


def _linear(f: Sigmoid) -> tuple[Worst, CounterExample | None]:
    alpha, points = 1e6, np.array([-3.0, -1.0, -0.1, 0.1, 1.0, 3.0])
    worst = float(np.abs(alpha * f.f(points / alpha) - points).max())
    said = Worst(worst, 0.0, "|alpha f(z / alpha) - z| at alpha = 1e6, |z| <= 3")
    if worst < 1e-4:
        return said, None
    z, at = 1.0, Argument(f.name, 0.0, alpha)
    return said, CounterExample("alpha f(0) at z = 0 against a_lin 0", at, alpha * f.value(0 * z), "=", 0.0)


def _in_passing() -> tuple[Claim, ...]:
    tanh, logsigmoid = SIGMOIDS["tanh"], SIGMOIDS["logsigmoid"]
    v = 0.01
    settled = fixed_point(tanh, 1.5)
    far = 1e3 * tanh.slope(v * 1e3)
    points = FAR[FAR != 0]
    made = [
        _said(
            "products vanish", "tanh", "(1 - tanh(v z)^2) z -> 0 for z -> infinity and any fixed v",
            "in a region", "v != 0", "proved: at most m / |v|, and the exponential wins; at v = 0 the slope is 1",
            Worst(far, 0.0, "v = 0.01, z = 1000"),
            CounterExample("(1 - tanh(0)^2) z against 0", Argument("tanh", 1000.0, v=0.0), 1000.0, "=", 0.0),
        ),
        _said(
            "one layer halves", "tanh", "(1 - tanh(1.5)^2) 1.5 <= 1/2", "everywhere tested", "",
            f"computed; deep neurons are at {1.5 * settled:.5f} and have {1.5 * tanh.slope(1.5 * settled):.5f}",
            Worst(1.5 * tanh.slope(1.5), 0.5, ""),
            None,
        ),
    ]  # fmt: skip
    for f in SIGMOIDS.values():
        growth = f.log_slope(points / 2) - f.log_slope(points)
        zero = Argument(f.name, 0.0, alpha=2.0)
        equal = CounterExample("(f_2)'(0) against f'(0): equal", zero, f.slope(0.0), ">", f.slope(0.0))
        falls = Argument(f.name, -2.0, alpha=2.0)
        lower = CounterExample("(f_2)'(-2) against f'(-2)", falls, logsigmoid.slope(-1), ">", logsigmoid.slope(-2))
        drops = f.name == "logsigmoid"
        made.append(
            _said(
                "steeper by scaling", f.name, "(f_alpha)'(z) > f'(z) for alpha > 1", "in a region",
                "z > 0" if drops else "z != 0", "proved: f' falls in |z|" if not drops else "proved: f' falls in z",
                Worst(float(growth.min()), 0.0, f"log (f_2)' / f' at z = {points[growth.argmin()]:g}"),
                lower if drops else equal,
            )
        )  # fmt: skip
    inner = np.random.default_rng(0).normal(0, 3, 1000)
    gaps = [2.5 * f.f(2.5 * f.f(inner / 2.5) / 2.5) - 2.5 * f.f(f.f(inner / 2.5)) for f in SIGMOIDS.values()]
    made.append(
        _said(
            "scales telescope", "any", "f_alpha(f_alpha(z)) = alpha f(f(z / alpha))", "everywhere tested", "",
            "proved: alpha and 1 / alpha cancel",
            Worst(float(np.abs(gaps).max()), 0.0, "largest difference, alpha = 2.5"), None,
        )
    )  # fmt: skip
    return tuple(made)


def _said(
    name: str, activation: str, statement: str, holds: Holds, region: str, evidence: str,
    worst: Worst, counter: CounterExample | None,
) -> Claim:  # fmt: skip
    return Claim(name, "in passing", activation, statement, holds, region, evidence, worst, counter)
