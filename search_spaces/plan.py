"""What a sweep is to search and how, as plain data that can be pickled; made from the spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.space import Space, Value
from trainers.members import MemberConfig

Settings = Mapping[str, Any]  # a sampler or pruner: its name, and beside it its options, as the user wrote them


@dataclass(frozen=True)
class SearchPlan:
    """What is searched, towards what, by which sampler and pruner.

    `goals` has maximize or minimize for each objective. `arms` maps names to overrides of `base`; they run first, in
    this order. `space` is empty where nothing is searched; `configurations` counts the searched ones, besides the
    arms. `base` has the fields that all configurations share, with defaults filled in and without the seed. `epochs` is
    the most that any configuration trains (the pruners' scale). `confirm` is how many of the best searched ones are
    trained again on fresh seeds once the search has ended, together with every arm; at 0 nothing is.
    """

    goals: tuple[str, ...] = ("maximize",)
    arms: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    space: Space = field(default_factory=dict)
    configurations: int = 0
    base: Mapping[str, Value | None] = field(default_factory=dict)
    epochs: int = 1
    sampler: Settings = field(default_factory=lambda: {"name": "tpe"})
    pruner: Settings | None = None
    confirm: int = 0

    @property
    def searching(self) -> int:
        """How many configurations the sweep has before any is confirmed: arms and searched ones."""
        return len(self.arms) + self.configurations

    @property
    def confirming(self) -> int:
        """How many are trained again on fresh seeds, at most."""
        return len(self.arms) + min(self.confirm, self.configurations) if self.confirm else 0

    @property
    def total(self) -> int:
        """How many configurations the sweep has, at most: the search may leave fewer to confirm."""
        return self.searching + self.confirming

    def member(self, parameters: Mapping[str, Value]) -> MemberConfig:
        """What a configuration trains, with the default seed. Raises ValueError for what no network can be."""
        return MemberConfig(**{**self.base, **parameters})  # type: ignore[arg-type]
