"""The whole check, in about a second once torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trainers.theory.claims import NOWHERE, TABLE
from trainers.theory.network import ODD, SIGMOIDS, Network, confirm, derivative, disagreement, printed
from trainers.theory.theorems import DRAWS, check_many_layers, theorem_numbers

RELATIONS: dict[str, Any] = {"<=": np.less_equal, ">=": np.greater_equal, ">": np.greater, "=": np.isclose}


def check() -> dict[str, Any]:
    """What came out, the same in every call: `claims`, and how far apart our closed forms and autograd are.

    A claim `holds` "everywhere tested", "in a region", which it names exactly, or "fails"; with a counter-example `at`
    a point, where it would have `left relation right`, and `says` names the two sides.
    Raises ArithmeticError where the numbers contradict what is said to hold.
    """
    rng = np.random.default_rng(0)
    difference = disagreement(rng)
    confirm(difference <= 1e-10, f"the closed forms: autograd differs by {difference:.1e}")
    for i, (theta, x) in enumerate(zip(rng.uniform(-1.5, 1.5, (500, 5)), rng.uniform(-1.5, 1.5, 500), strict=True)):
        at = Network("tanh", x, 1.0, tuple(theta), 2 + i % 4, alpha=2.0)
        confirm(np.isclose(derivative(at)[0], -printed(at)[0], rtol=1e-9, atol=0), f"the printed formula, k >= 2: {at}")
    check_many_layers()
    numbers = {f.name: theorem_numbers(f, rng) for f in ODD}
    claims = [claim for row in TABLE for claim in _claims(row, numbers)]
    return {"disagreement": difference, "draws": DRAWS, "claims": claims}


def _claims(row: tuple[Any, ...], numbers: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    part, name, statement, says, relation, sides, *cases = row
    for functions, region, evidence, *points in cases:
        at, tested = (*points, None, None)[:2]
        for function in functions.split():
            f, example = SIGMOIDS.get(function), None
            if tested:
                confirm(RELATIONS[relation](*sides(f, **tested)).all(), f"{name}, {function}")
            if at:
                left, right = map(float, sides(Network(function, **at)) if "theta" in at else sides(f, **at))
                confirm(not RELATIONS[relation](left, right), f"the counter-example: {name}, {function}")
                said = says.format(**at, l=len(at.get("theta", ())), less=at.get("alpha", 1.0) / 100)
                example = {"says": said, "at": at, "left": left, "relation": relation, "right": right}
            words = numbers.get(function, {})
            yield {
                "part": part, "name": name, "activation": function, "statement": statement,
                "holds": "everywhere tested" if not at else "fails" if region in ("", NOWHERE[0]) else "in a region",
                "region": region.format(**words), "evidence": evidence.format(**words), "counter_example": example,
            }  # fmt: skip
