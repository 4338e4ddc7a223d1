"""The whole check, in about a second once torch is imported.

>>> theory = check()
>>> theory.agrees, [claim.name for claim in theory.claims if claim.holds == "fails"]
"""

from __future__ import annotations

import math

import numpy as np

from trainers.theory import formulas, proofs, properties, theorem1, theorem1_claims, theorem2
from trainers.theory.claims import Theory
from trainers.theory.curves import curves, settled
from trainers.theory.sigmoids import SIGMOIDS, peak


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
            *theorem1_claims.claims(draws, rng),
            *proofs.claims(),
            *theorem2.claims(),
            *properties.claims(),
        ),
        constants=constants(),
        curves=curves(),
        seed=seed,
        draws=draws,
        disagreement=disagreement,
        agrees=disagreement <= formulas.TOLERANCE,
    )


def constants() -> dict[str, float]:
    """The numbers behind the regions: `m` and `u*` of each odd sigmoid, the limits of t, the settled deep network."""
    found: dict[str, float] = {}
    for f in SIGMOIDS.values():
        if f.odd:
            low, high = theorem1.first_region(f)
            value, factor = settled(f)
            found |= {
                f"{f.name}.u*": peak(f).z,
                f"{f.name}.m": peak(f).m,
                f"{f.name}.first_bound_from": low,
                f"{f.name}.first_bound_to": high,
                f"{f.name}.second_bound_to": theorem1.second_region(f),
                f"{f.name}.settles_at": value,
                f"{f.name}.layer_factor": factor,
            }
    first, second = theorem1.printed_regions()
    found |= {"tanh.printed_first_bound_to": first, "tanh.printed_second_bound_to": second}
    found |= {f"proof_of_1.step_{number}_to": t for number, t in proofs.limits().items()}
    return found | {"tanh.tanh(1.3)": math.tanh(1.3)}
