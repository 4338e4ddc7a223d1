"""What the ledger holds, as plain data: a sweep, its configurations, and their epochs.

Times are milliseconds since 1970.

This module imports nothing of the project, so passing these around needs no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENDS = ("complete", "pruned", "diverged", "failed")


@dataclass(frozen=True)
class Sweep:
    """One sweep: what it was asked to do and how it stands.

    `spec` is YAML; `first_spec` is the one before its claims changed, None where they never did. `settings` are shown
    beside it (sampler, seeds, ...); `objectives` are (name, maximize | minimize); `space` holds Optuna's
    distributions as JSON, by field. `versions` are package -> version, `digests` data -> sha256 and those of
    `trainers.plugins`, `commit` the git commit of the code. `status` is running | finished | failed | killed, `note`
    says more about that, in Markdown. `tags` and `remark` are what its users say of it. `revision` counts the changes
    of this row.
    """

    name: str
    spec: str
    question: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    objectives: tuple[tuple[str, str], ...] = (("validation.accuracy", "maximize"),)
    space: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    first_spec: str | None = None
    id: int = -1
    mark: str = ""
    begun: int = 0
    ended: int | None = None
    status: str = "running"
    note: str = ""
    revision: int = 0
    tags: tuple[str, ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class Configuration:
    """One configuration: where it comes from, what it trains, and how it ended.

    `arm` is empty for a searched one; `confirms` is the number of the one that it trains again on fresh seeds,
    `extends` of the one of which it trains more seeds or more epochs (those after epoch `after`, -1: all), `same_as` of
    the one whose records it has taken over, because their members are equal.
    `parameters` override the base; `drawn`, `notes`, `study_notes` and `pruner_attributes` are what the sampler and
    the pruner need to continue; `point` is where it lies in the space, None if it lies outside. `pack` is what it was
    asked for together with, `known` how many had ended then. `member` holds the fields of its members but the seed.
    `epoch` is the last one recorded, -1 before. `state` is running or one of `ENDS`; then `order` is how many had
    ended before, `values` has one number per objective, and `traceback` is that of a programming error.
    """

    number: int
    name: str
    member: Mapping[str, Any]
    seeds: tuple[int, ...]
    arm: str = ""
    confirms: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    point: Mapping[str, Any] | None = None
    drawn: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    study_notes: Mapping[str, Any] = field(default_factory=dict)
    pack: str = ""
    known: int = 0
    started: int = 0
    epoch: int = -1
    ended: int | None = None
    state: str = "running"
    values: tuple[float, ...] | None = None
    reason: str = ""
    traceback: str = ""
    order: int = -1
    pruner_attributes: Mapping[str, float] = field(default_factory=dict)
    extends: int | None = None
    after: int = -1
    same_as: int | None = None

    @property
    def phase(self) -> str:
        """search | confirm."""
        return "search" if self.confirms is None else "confirm"


@dataclass(frozen=True, eq=False)
class Epoch:
    """One epoch of a configuration; epoch 0 is the state before the first step.

    `values` is float64 (seeds, metrics), in the order of the configuration's seeds and of `names`; `objective` is the
    first objective after it: a mean over the seeds.
    """

    epoch: int
    engine: str
    names: tuple[str, ...]
    values: NDArray[np.float64]
    objective: float
    at: int = 0


@dataclass(frozen=True)
class Taken:
    """What a mirror has taken of a configuration, or of the sweep itself (`SWEEP`).

    `attempted` is noted before something of it is made elsewhere, `run` and `place` (what it is called there, and
    where its artifacts are) after. `epoch` is the last one taken (of the sweep: the revision); `ended`, whether its end
    was; `problem` is why it can't be taken, in a line.
    """

    number: int
    attempted: bool = False
    run: str | None = None
    place: str | None = None
    epoch: int = -1
    ended: bool = False
    problem: str = ""


SWEEP = -1  # in place of a configuration's number: the sweep itself
