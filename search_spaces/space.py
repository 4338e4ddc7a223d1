"""What can be searched, as plain data: ranges, choices, and the conditions between them.

    >>> space = {
    ...     "initialization": Choice(("uniform", "he_normal")),
    ...     "init_scale": Range(0.1, 10, log=True, when={"initialization": ("uniform",)}),
    ... }
    >>> effective(space, {}, {"initialization": "he_normal", "init_scale": 0.3})
    ({'initialization': 'he_normal'}, ('init_scale',))

Imports no Optuna, so that a spec can be read without it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from trainers.errors import shown
from trainers.members import FIELDS, MemberConfig, alpha_acts
from trainers.regimes import REGIMES

Value = str | float | int | bool
When = Mapping[str, tuple[Value, ...]]  # field -> values; it must have one of them


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included; `log`: on a log scale, `integer`: whole numbers only.

    It has an effect only where each field of `when` has one of its values. Raises ValueError for a range that holds
    nothing to search.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high)):
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, but got {shown(value)}")
            if self.integer and value != int(value):
                raise ValueError(f"{name} must be a whole number where integer is true, but got {value!r}")
        if not self.low < self.high:
            raise ValueError(f"low < high must hold, but got {self.low:g} and {self.high:g}")
        if self.log and self.low < 1 and (self.integer or self.low <= 0):
            least = ">= 1" if self.integer else "> 0"
            raise ValueError(f"low {least} must hold where log is true, but got {self.low:g}")

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and not (self.integer and value != int(value))

    @property
    def ends(self) -> dict[str, Any]:
        """The extremes by their names."""
        return {name: int(end) if self.integer else end for name, end in (("low", self.low), ("high", self.high))}

    def points(self, count: int | None) -> Sequence[Value]:
        """`count` values, evenly spaced from low to high, distinct and ascending; None: all whole numbers."""
        if count is None:
            return range(int(self.low), int(self.high) + 1)
        last = max(1, count - 1)
        if self.log and math.isinf(self.high / self.low):
            values = [self.low ** (1 - i / last) * self.high ** (i / last) for i in range(count)]
        elif self.log:
            values = [self.low * (self.high / self.low) ** (i / last) for i in range(count)]
        else:
            values = [self.low + (self.high - self.low) * i / last for i in range(count)]
        if count > 1:
            values[-1] = self.high  # exactly, not within rounding
        return sorted({round(v) for v in values}) if self.integer else [float(v) for v in values]


@dataclass(frozen=True)
class Choice:
    """One of several values; `when` as in a range.

    Raises ValueError where there are none, or two that are equal (1, 1.0 and True are).
    """

    values: tuple[Value, ...]
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice must have at least one value, but got none")
        for place, value in enumerate(self.values):
            if self.values.index(value) < place:
                raise ValueError(f"the values of a choice must differ, but got {value!r} twice")

    def __contains__(self, value: object) -> bool:
        return value in self.values

    @property
    def ends(self) -> dict[int, Value]:
        """Every value, by its place."""
        return dict(enumerate(self.values))


Space = Mapping[str, Range | Choice]  # keys are MemberConfig field names
# Not the seed, which is noise; not the data nor their split, of which the easiest would win; nor what changes no
# training.
SEARCHABLE = tuple(n for n in FIELDS if n not in ("seed", "data", "holdout", "engine", "measure", "measure_at"))


def effective(
    space: Space, base: Mapping[str, Value | None], drawn: Mapping[str, Value]
) -> tuple[dict[str, Value], tuple[str, ...]]:
    """A configuration's parameters, of what was drawn for the whole space, and the keys that have no effect in it.

    Where a condition does not hold the base's value stays: the key is no parameter there. Alpha is 1 where it does
    nothing.
    """

    @cache
    def holds(key: str) -> bool:
        return all(value(name) in allowed for name, allowed in space[key].when.items())

    def useless(key: str) -> bool:
        if key != "alpha":
            return False
        return not alpha_acts(str(value("activation")), str(value("scaling")), value("scaled_gates") is True)

    @cache
    def value(name: str) -> Value | None:
        if name in space and holds(name):
            return 1.0 if useless(name) else drawn[name]
        default: Any = FIELDS[name].default
        given = base.get(name, default)
        return own_values(str(value("regime"))).get(name) if given is None else given

    parameters = {key: 1.0 if useless(key) else drawn[key] for key in space if holds(key)}
    return parameters, tuple(key for key in space if not holds(key) or useless(key))


def points(space: Space, base: Mapping[str, Value | None], most: int) -> list[dict[str, Value]] | None:
    """The parameters of every point of a space, each once; None where there are more than `most`, or endlessly many."""
    if any(isinstance(what, Range) and not what.integer for what in space.values()):
        return None
    axes = [what.points(None) if isinstance(what, Range) else what.values for what in space.values()]
    every = list(itertools.islice(combinations(space, base, axes), most + 1))
    return every if len(every) <= most else None


def combinations(
    space: Space, base: Mapping[str, Value | None], axes: Sequence[Sequence[Value]]
) -> Iterator[dict[str, Value]]:
    """The parameters of every combination of these values of a space's keys; those that have the same effect once."""
    seen = set()
    for values in itertools.product(*axes):
        parameters, _ = effective(space, base, dict(zip(space, values, strict=True)))
        if (key := tuple(parameters.items())) not in seen:
            seen.add(key)
            yield parameters


@cache
def own_values(regime: str) -> Mapping[str, Any]:
    """What the fields of a member are in a regime where they are left open; empty for an unknown one."""
    return vars(MemberConfig(regime=regime)) if regime in REGIMES else {}
