"""What a suggestion costs, by sampler, as the history grows: milliseconds each, for a pack of 8.

The history is made of random points, or, for the samplers that look at all of it and keep notes of their own there
(cmaes, nsga2), of what they suggested themselves, a generation at a time. The objective is a paraboloid.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import search_spaces.storage  # noqa: F401 (Optuna's log)
from search_spaces.plan import SearchPlan, Settings
from search_spaces.rows import Row
from search_spaces.samplers import NAMES, sees
from search_spaces.space import Range
from search_spaces.suggest import suggestions
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
    """One a sampler."""
    for name in NAMES:
        found = {}
        plan = _plan(name, max(sizes))
        rows: list[Row] = []
        list(suggestions(plan, _history(plan, rows, 2 * PACK), 1))  # what is imported with the first
        for size in sorted(sizes):
            rows = _history(plan, rows, size)
            began = time.process_time()
            list(suggestions(plan, rows, PACK))
            found[size] = 1000 * (time.process_time() - began) / PACK
        told = ", ".join(f"{ms:.1f} ms after {size}" for size, ms in found.items())
        yield Measured(f"A suggestion of {name}", f"a pack of {PACK}, three fields searched, time of a processor", told)


def _plan(name: str, size: int) -> SearchPlan:
    options = {"points": math.ceil((size + PACK) ** (1 / 3))} if name == "grid" else {}
    return SearchPlan(
        ("maximize",), {}, space=SPACE, configurations=size + PACK, base=BASE, sampler=Settings(name, options)
    )


def _history(plan: SearchPlan, rows: list[Row], size: int) -> list[Row]:
    """The rows, and as many more as are wanted."""
    if plan.sampler.name != "grid" and sees(plan.sampler) == "all":
        while len(rows) < size:
            rows = rows + [_ended(row) for row in suggestions(plan, rows, min(GENERATION, size - len(rows)))]
        return rows
    random = np.random.default_rng(0)
    more = []
    for number in range(len(rows), size):
        points = random.uniform(size=len(SPACE))
        at = {
            key: what.low * (what.high / what.low) ** float(u)
            for (key, what), u in zip(SPACE.items(), points, strict=True)
        }
        more.append(_ended(Row(number, "", at)))
    return rows + more


def _ended(row: Row) -> Row:
    loss = sum(math.log(float(row.parameters[key]) / what.low) ** 2 for key, what in SPACE.items())
    return replace(row, state="complete", values=(-loss,), order=row.number)
