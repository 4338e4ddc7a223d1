"""What a sweep is to search and how, made from its spec, and what has become of it so far: plain data that pickles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from search_spaces.space import Space, Value, points
from trainers.members import MemberConfig

ENDS = ("complete", "pruned", "diverged", "failed")
Settings = Mapping[str, Any]  # a sampler or pruner: its name, and beside it its options, as the user wrote them


@dataclass(frozen=True)
class SearchPlan:
    """What is searched, towards what, by which sampler and pruner.

    `goals` has maximize or minimize for each objective. `arms` maps names to overrides of `base`; they run first, in
    this order. `space` is empty where nothing is searched; `configurations` counts the searched ones, besides the
    arms. `base` has the fields that all configurations share, with defaults filled in and without the seed. `epochs` is
    the most that any configuration trains (the pruners' scale). `confirm` is how many of the best searched ones are
    trained again on fresh seeds once the search has ended, together with every arm; at 0 nothing is.

    Configurations are suggested in blocks of `block`, whose suggestions know the results of all earlier blocks but the
    last `ahead - 1`: so many blocks may be in training at once, and what is suggested depends neither on how many are
    nor on which end first. The sampler is shown `earlier` rows, of an earlier sweep, before those of its own.
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
    block: int = 8
    ahead: int = 2
    earlier: tuple[Row, ...] = ()

    @property
    def searching(self) -> int:
        """How many configurations the sweep has before any is confirmed, at most: arms and searched ones."""
        return len(self.arms) + self.configurations

    @property
    def confirming(self) -> int:
        """How many are trained again on fresh seeds, at most."""
        return len(self.arms) + min(self.confirm, self.configurations) if self.confirm else 0

    @property
    def total(self) -> int:
        """How many configurations the sweep has, at most: the search may leave fewer to confirm."""
        return self.searching + self.confirming

    @cached_property
    def points(self) -> frozenset[MemberConfig] | None:
        """Every member of a finite space that the sweep may exhaust, None where there are more, or endlessly many."""
        every = points(self.space, self.base, self.searching) if self.configurations else None
        return None if every is None else self.members(every)

    def members(self, configurations: Iterable[Mapping[str, Value]]) -> frozenset[MemberConfig]:
        """What these configurations train, with the default seed, without those that no network can be."""
        members = set()
        for parameters in configurations:
            with suppress(ValueError):
                members.add(self.member(parameters))
        return frozenset(members)

    def member(self, parameters: Mapping[str, Value]) -> MemberConfig:
        """What a configuration trains, with the default seed. Raises ValueError for what no network can be."""
        return MemberConfig(**{**self.base, **parameters})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Row:
    """One configuration: overrides of the sweep's base, and what became of them.

    `arm` is empty for a searched configuration. `drawn` is what the sampler drew for parameters that have no effect
    here, `notes` are the attributes that it set on its trial, and `study_notes` those that it set on its study.
    `pack` is the request that it was part of, and `known` how many of the first configurations of the search had ended
    for it, whatever had ended by then. `confirms` is the number of the configuration that this one trains again, on
    fresh seeds; `extends` of the one of which it trains more `seeds`, or more epochs; `same_as` of the one whose
    members are equal, so that it takes over its records.

    `state` is "running" or one of `ENDS`. Once it has ended, `values` has one number per objective where there are
    any, and `order` is how many had ended before it. `intermediate` maps epochs to the first objective, and
    `pruner_attributes` are the pruner's own notes.
    """

    number: int
    arm: str = ""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    drawn: Mapping[str, Value] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    study_notes: Mapping[str, Any] = field(default_factory=dict)
    pack: str = ""
    known: int = 0
    confirms: int | None = None
    extends: int | None = None
    same_as: int | None = None
    seeds: tuple[int, ...] = ()
    state: str = "running"
    values: tuple[float, ...] | None = None
    reason: str = ""
    order: int = -1
    intermediate: Mapping[int, float] = field(default_factory=dict)
    pruner_attributes: Mapping[str, float] = field(default_factory=dict)

    @property
    def last(self) -> dict[int, float]:
        """The last epoch known and the objective after it; empty if there is none."""
        return {epoch: self.intermediate[epoch] for epoch in sorted(self.intermediate)[-1:]}


@dataclass(frozen=True)
class History:
    """What a pruner in a worker knows of the other configurations; it pickles.

    `study` is the sweep's name, by which Hyperband draws its brackets. `arms` are the numbers of the arms:
    they compete but are never stopped, since a comparison needs their full curves. `past` are configurations
    that have ended. `own` are those of the judge's own pack that had ended before its previous worker was lost: they
    compete epoch by epoch, as they did then.
    """

    study: str = ""
    past: tuple[Row, ...] = ()
    arms: tuple[int, ...] = ()
    own: tuple[Row, ...] = ()
