"""The grid: every combination of the space's values, in an order shuffled by the seed.

Optuna's GridSampler does not fit: it counts points by trial numbers (here arms come first), and repeats a combination
for each value of a parameter that has no effect (alpha beside relu).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

from search_spaces.space import Range, Space, Value, unsearched
from trainers.errors import OptionError

LARGEST = 100_000


def grid(space: Space, base: Mapping[str, Value | None], options: Mapping[str, Any]) -> list[dict[str, Value]]:
    """The configurations of a grid, each once. Options: `seed`, and `points`, how many are taken from each range.

    Raises OptionError where a range needs `points` and has none, and for a grid of more than `LARGEST` points.
    """
    points = options.get("points")
    for key, what in space.items():
        if isinstance(what, Range) and not what.integer and points is None:
            raise OptionError(
                "points",
                f"sampler grid needs points, the number of values to take from each range: {key} from "
                f"{what.low:g} to {what.high:g} has no finite set of values",
            )
    if points is not None and not 1 <= points <= LARGEST:
        raise OptionError("points", f"1 <= points <= {LARGEST} must hold, but got {points}")
    axes = [what.points(points) for what in space.values()]
    if (size := math.prod(map(len, axes))) > LARGEST:
        raise OptionError("points", f"a grid may have {LARGEST} points, but this has {size}")
    configurations: dict[tuple[Value, ...], dict[str, Value]] = {}
    for values in itertools.product(*axes):
        parameters = dict(zip(space, values, strict=True))
        parameters |= unsearched(space, {**base, **parameters})
        configurations.setdefault(tuple(parameters.values()), parameters)
    order = list(configurations.values())
    random.Random(options.get("seed", 0)).shuffle(order)
    return order
