"""What a suggestion costs, by sampler, as a sweep grows: milliseconds each, for a pack of 8.

The configurations so far are random points; for the samplers that see all of them and keep notes there (cmaes, nsga2),
they are the sampler's own suggestions, a generation at a time. The objective is a paraboloid.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from search_spaces.plan import Row, SearchPlan
from search_spaces.samplers import NAMES, sees
from search_spaces.search import ask, ended
from search_spaces.space import Range
from tests.load.measured import Measured
from trainers.members import FIELDS

PACK = 8
GENERATION = 100
SPACE = {
    "alpha": Range(0.5, 8.0, log=True),
    "r": Range(1e-5, 1.0, log=True),
    "learning_rate": Range(1e-4, 1e-1, log=True),
}
BASE: dict[str, Any] = {name: field.default for name, field in FIELDS.items() if name != "seed"}


def measure(sizes: Sequence[int]) -> Iterator[Measured]:
    """One per sampler."""
    for name in NAMES:
        costs = {}
        plan = _plan(name, max(sizes))
        rows: list[Row] = []
        ask(plan, _history(plan, rows, 2 * PACK), 1, "warm-up")  # the first one imports much
        for size in sorted(sizes):
            rows = _history(plan, rows, size)
            began = time.process_time()
            ask(plan, rows, PACK, "measured")
            costs[size] = 1000 * (time.process_time() - began) / PACK
        told = ", ".join(f"{ms:.1f} ms after {size}" for size, ms in costs.items())
        yield Measured(f"A suggestion of {name}", f"a pack of {PACK}, three fields searched, processor time", told)


def _plan(name: str, size: int) -> SearchPlan:
    options: dict[str, Any] = {"points": math.ceil((size + PACK) ** (1 / 3))} if name == "grid" else {}
    return SearchPlan(
        ("maximize",), {}, space=SPACE, configurations=size + PACK, base=BASE, sampler={"name": name, **options}
    )


def _history(plan: SearchPlan, rows: list[Row], size: int) -> list[Row]:
    """The rows, and more of them up to `size`."""
    if plan.sampler["name"] != "grid" and sees(plan.sampler) == "all":
        while len(rows) < size:
            rows = rows + [_ended(row) for row in ask(plan, rows, min(GENERATION, size - len(rows)), "earlier")]
        return rows
    random = np.random.default_rng(0)
    more = []
    for number in range(len(rows), size):
        points = random.uniform(size=len(SPACE))
        at = {
            key: what.low * (what.high / what.low) ** float(u)
            for (key, what), u in zip(SPACE.items(), points, strict=True)
        }
        more.append(_ended(Row(number, parameters=at)))
    return rows + more


def _ended(row: Row) -> Row:
    loss = sum(math.log(float(row.parameters[key]) / what.low) ** 2 for key, what in SPACE.items())
    return ended(row, "complete", [-loss], goals=1, order=row.number)
