"""The whole check, in about a second once torch is imported.

>>> theory = check()
>>> theory.agrees, [claim.name for claim in theory.claims if claim.holds == "fails"]
"""

from __future__ import annotations

import numpy as np

from trainers.theory import formulas, properties, theorem1, theorem2
from trainers.theory.claims import Theory
from trainers.theory.curves import curves, settled
from trainers.theory.sigmoids import ODD, peak


def check(seed: int = 0, draws: int = 60_000) -> Theory:
    """Every claim checked; `draws` random networks for each odd sigmoid type in Theorem 1, at least 120.

    The same seed gives the same answer. Raises ArithmeticError where a draw contradicts a region said to be exact.
    """
    if draws < 120:
        raise ValueError(f"draws >= 120 must hold, but got {draws}")
    rng = np.random.default_rng(seed)
    disagreement = formulas.disagreement(rng)
    return Theory(
        claims=(
            *formulas.claims(rng),
            *theorem1.claims(draws, rng),
            *theorem2.claims(),
            *properties.claims(),
        ),
        constants=constants(),
        curves=tuple(curves()),
        seed=seed,
        draws=draws,
        disagreement=disagreement,
        agrees=disagreement <= formulas.TOLERANCE,
    )


def constants() -> dict[str, float]:
    """The numbers behind the regions: `m` and `u*` of each odd sigmoid, the limits of t, the settled deep network."""
    numbers: dict[str, float] = {}
    names = "u*", "m", "first_bound_from", "first_bound_to", "second_bound_to", "settles_at", "layer_factor"
    for f in ODD:
        values = *peak(f), *theorem1.first_region(f), theorem1.second_region(f), *settled(f)
        numbers |= {f"{f.name}.{name}": value for name, value in zip(names, values, strict=True)}
    printed = theorem1.printed_regions()
    return numbers | dict(zip(("tanh.printed_first_bound_to", "tanh.printed_second_bound_to"), printed, strict=True))
