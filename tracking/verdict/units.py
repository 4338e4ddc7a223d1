"""What the shares `saturated` and `dead` are called, by the activations that they are of.

Both count where a unit's activation has no slope to speak of. Of tanh, which is flat on both sides, such a unit is
saturated; of relu and its like, which are flat on one, it is inactive, as half of them are meant to be. Of relu a unit
that is so on every image is dead: it does not come back. Of tanh its output still tells on which side it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from trainers.activations import ACTIVATIONS


class Words(NamedTuple):
    """What the units are called that `saturated` and `dead` count, and layers all of whose units are `dead`."""

    saturated: str
    dead: str
    dead_layers: str


TWO_SIDED = Words("saturated units", "units with no slope on any image", "layers with no slope on any image")
ONE_SIDED = Words("inactive units", "dead units", "wholly dead layers")


def words(activations: Iterable[str]) -> Words:
    """The words for networks of these activations; where both kinds are among them, which have the other word."""
    names = list(dict.fromkeys(activations))
    ones = [name for name in names if one_sided(name)]
    if not ones:
        return TWO_SIDED
    if len(ones) == len(names):
        return ONE_SIDED
    saturated, dead, layers = TWO_SIDED
    of = ", ".join(ones)
    return Words(f"{saturated} (of {of}: inactive)", f"{dead} (of {of}: dead)", f"{layers} (of {of}: wholly dead)")


def one_sided(activation: str) -> bool:
    """Whether an activation is flat far below 0 or far above it, and not both; False of an unknown one."""
    known = ACTIVATIONS.get(activation)
    flat = known.flat_at(known.slope) if known else None
    return flat is not None and (flat[0] > -inf) != (flat[1] < inf)
