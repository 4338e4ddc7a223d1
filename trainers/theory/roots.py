"""Roots and maxima of functions of one variable, without scipy."""

from __future__ import annotations

from collections.abc import Callable


def root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f changes its sign between low and high, to the last bits of float64.

    Raises ValueError where f has the same sign at both ends.
    """
    rising = f(high) > 0
    if (f(low) > 0) == rising:
        raise ValueError(f"f must change its sign between {low:g} and {high:g}, but is {f(low):g} and {f(high):g}")
    while low < (middle := low + (high - low) / 2) < high:
        if (f(middle) > 0) == rising:
            high = middle
        else:
            low = middle
    return low
