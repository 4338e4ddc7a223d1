"""A configuration as the database holds it, and the two notes on Optuna's trial that say so.

`asked` is written with the trial itself, `ended` when it is told; each is one commit, whole or not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

from search_spaces.space import Value

ENDS = ("complete", "pruned", "diverged", "failed")


@dataclass(frozen=True)
class Row:
    """One configuration.

    `drawn` is what the sampler drew for parameters that have no effect; `notes` are the sampler's system attributes
    on its trial, `study_notes` those that it wrote on its study then. `pack` and `size` say with how many others it
    was asked for, `known` how many had ended at that time; `confirms` is the number of the configuration that this one
    trains again on fresh seeds. Once `state` is one of `ENDS` and no longer running:
    `order` is how many had ended before; `unfinished` means that Optuna's own columns don't say so yet.
    """

    number: int
    arm: str
    parameters: Mapping[str, Value]
    drawn: Mapping[str, Value] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    study_notes: Mapping[str, Any] = field(default_factory=dict)
    pack: str = ""
    size: int = 1
    known: int = 0
    confirms: int | None = None
    trial_id: int = -1
    state: str = "running"
    values: tuple[float, ...] | None = None
    reason: str = ""
    order: int = -1
    intermediate: Mapping[int, float] = field(default_factory=dict)
    pruner_attributes: Mapping[str, float] = field(default_factory=dict)
    unfinished: bool = False

    @property
    def last(self) -> dict[int, float]:
        """The objective after the last epoch known, by its epoch; empty where none is."""
        if not self.intermediate:
            return {}
        epoch = max(self.intermediate)
        return {epoch: self.intermediate[epoch]}


def asked(row: Row, pack: str, size: int, known: int) -> dict[str, Any]:
    """The note of a new configuration."""
    return {
        "arm": row.arm,
        "parameters": dict(row.parameters),
        "drawn": dict(row.drawn),
        "study_notes": dict(row.study_notes),
        "pack": pack,
        "size": size,
        "known": known,
        "confirms": row.confirms,
    }


def ended(
    state: str,
    values: Sequence[float] | None,
    reason: str,
    order: int,
    intermediate: Mapping[int, float],
    pruner_attributes: Mapping[str, float],
) -> dict[str, Any]:
    """The note of one that is through."""
    return {
        "state": state,
        "values": None if values is None else [float(v) for v in values],
        "reason": reason,
        "order": order,
        "intermediate": {str(epoch): float(v) for epoch, v in intermediate.items()},
        "pruner_attributes": dict(pruner_attributes),
    }


def row_of(trial: FrozenTrial) -> Row:
    """The configuration that an Optuna trial of ours stands for."""
    found: dict[str, Any] = {**trial.user_attrs["asked"], **trial.user_attrs.get("ended", {})}
    if found.get("values") is not None:
        found["values"] = tuple(found["values"])
    found["intermediate"] = {int(epoch): v for epoch, v in found.get("intermediate", {}).items()}
    return Row(
        number=trial.number,
        trial_id=trial._trial_id,
        notes=trial.system_attrs,
        unfinished="ended" in trial.user_attrs and not trial.state.is_finished(),
        **found,
    )
