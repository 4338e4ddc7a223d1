"""Configurations as plain data: the ledger stores a row's fields, and samplers and pruners are shown them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.space import Value

ENDS = ("complete", "pruned", "diverged", "failed")


@dataclass(frozen=True)
class Row:
    """One configuration: overrides of the sweep's base, and what became of them.

    `arm` is empty for a searched configuration. `drawn` is what the sampler drew for parameters that have no effect
    here, `notes` are the attributes that it set on its trial, and `study_notes` those that it set on its study.
    `pack` is the request that it was part of, and `known` how many configurations had ended by then. `confirms` is the
    number of the configuration that this one trains again, on fresh seeds.

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

    `study` is the sweep's name, by which Hyperband draws its brackets. `arms` is how many of the first numbers are
    arms: they compete but are never stopped, since a comparison needs their full curves. `past` are configurations
    that have ended. `own` are those of the judge's own pack that had ended before its previous worker was lost: they
    compete epoch by epoch, as they did then.
    """

    study: str = ""
    past: tuple[Row, ...] = ()
    arms: int = 0
    own: tuple[Row, ...] = ()
