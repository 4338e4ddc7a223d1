"""How likely a relu network is born dead, 0 for every input and without a gradient (Lu et al. 2019, arXiv:1903.06733).

Biases are 0 and weights independent, each with a continuous law that is symmetric about 0. A layer of n units silences
one given input with probability 2^-n, so a network does with the probability that is the upper bound here, for any
input: what is dead for all inputs is dead for one. Probe images, which nearly agree in direction, come close to it.

The lower bound is for networks with one input. There are then two directions, x > 0 and x < 0, in one of these states:

    both alive and apart -> one of them, or both alike: 2 2^-n - 2 s^n + n s^n        -> none: s^n
    one, or both alike   -> none: 2^-n

with s the probability that a unit is silent for both. After the first layer no unit is active for both, so s = 1/4;
later s >= 1/4, as activations are not negative, and more s is more dead networks. docs/theory.md has the proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def born_dead_bounds(width: int, depth: int) -> tuple[float, float]:
    """(lower, upper) bounds on the probability for `depth` hidden layers of `width` units; the lower for one input."""
    return bounds([width] * depth)


def bounds(widths: Sequence[int]) -> tuple[float, float]:
    """The same for hidden layers of these widths, from the input on."""
    upper = -math.expm1(sum(math.log1p(-(0.5**n)) if n else -math.inf for n in widths))
    first, *later = widths
    apart, one, none = 1 - 2 * 0.5**first, 2 * 0.5**first, 0.0
    for n in later:
        both = 0.25**n
        lost = apart * (2 * 0.5**n + (n - 2) * both)
        none += apart * both + one * 0.5**n
        apart, one = apart - lost - apart * both, one + lost - one * 0.5**n
    return none, upper
