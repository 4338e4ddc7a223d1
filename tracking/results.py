"""A sweep's records as tables, read from the ledger; those of a running sweep as far as they go.

>>> frame = load("alpha-r")                    # one row per member and epoch
>>> frame[frame.epoch == 0].groupby("alpha")["gradient.data.rms"].median()
>>> load_layers("alpha-r").groupby(["depth", "epoch"])["gradient.data.rms"].median()
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tracking import tidy
from tracking.extended import families, parts, state_of
from tracking.ledger import Ledger, opened
from tracking.store import Store
from tracking.types import Configuration, Epoch, Sweep
from trainers.errors import RequestError
from trainers.files import replaced
from trainers.objectives import LAST, Objective

ORDER = ("configuration", "seed", "epoch")
CONFIRM = "confirm "  # begins the name of what is trained again on fresh seeds; an arm's name has no space


@dataclass(frozen=True)
class Outcome:
    """How a configuration stands: complete | pruned | diverged | failed | running."""

    number: int
    arm: str
    name: str
    state: str

    @property
    def confirms(self) -> str | None:
        """The arm or searched point that this trains again on fresh seeds, by name; None for others."""
        return self.name.removeprefix(CONFIRM) if self.name.startswith(CONFIRM) else None


def load(sweep: str, store: Store | str | Path | None = None) -> pd.DataFrame:
    """One row per member and epoch, by configuration, seed and epoch: keys, the member's fields, its metrics.

    Raises SearchError if there is no such sweep, StoreError, LedgerError.
    """
    return _sorted(tidy.records(sweep, _parts(sweep, store)), ORDER)


def load_layers(sweep: str, store: Store | str | Path | None = None) -> pd.DataFrame:
    """One row per member, epoch and layer with parameters (`layer`, `depth`, `kind`), then its metrics; as `load`."""
    return _sorted(tidy.layers(sweep, _parts(sweep, store)), (*ORDER, "depth"))


def load_wide(sweep: str, store: Store | str | Path | None = None) -> pd.DataFrame:
    """As `load`, with the metrics of every layer as columns, for the verdict and the figures.

    A confirmation does not carry its arm's name here: that stands for the arm's own records alone.
    """
    frame = _sorted(tidy.records(sweep, _parts(sweep, store), layers=True), ORDER)
    frame.loc[frame.phase == "confirm", "arm"] = ""
    return frame


def outcomes(sweep: str, store: Store | str | Path | None = None) -> dict[int, Outcome]:
    """The state of every configuration of a sweep, by number. Raises SearchError, StoreError, LedgerError."""
    with opened(sweep, Store.at(store)) as (ledger, row):
        every = families(ledger.configurations(row)).values()
    return {
        c.number: Outcome(c.number, c.arm, c.name, state_of(family))
        if c.confirms is None
        else Outcome(c.number, "", f"{CONFIRM}{c.name}", state_of(family))
        for family in every
        for c in family[:1]
    }


def last_epoch(rows: pd.DataFrame) -> pd.DataFrame:
    """The records of each configuration after its last epoch."""
    return rows[rows["epoch"] == rows.groupby("configuration")["epoch"].transform("max")]


def per_seed(rows: pd.DataFrame, objective: Objective, *, measured: bool = False) -> pd.Series[float]:
    """(configuration, seed) -> the value of an objective; with `measured`, of its metric over the same epochs."""
    keys = ["configuration", "seed"]
    rows = rows[[*keys, "epoch", objective.metric]]  # of hundreds of columns, which would be copied
    if objective.epoch == LAST:
        values = last_epoch(rows).set_index(keys)[objective.metric]
        return values if measured or objective.what == objective.metric else values.map(objective.score)
    of = objective.measured if measured else objective.value
    return (
        rows.set_index("epoch")
        .groupby(keys)[objective.metric]
        .agg(lambda course: of(dict(zip(course.index, course, strict=True))))
    )


def sweeps(store: Store | str | Path | None = None) -> list[Sweep]:
    """The sweeps of a store, oldest first; empty if there is no store yet. Raises StoreError, LedgerError."""
    if (ledger := Ledger.open(Store.at(store).ledger_url)) is None:
        return []
    with closing(ledger):
        return ledger.sweeps()


def export(frame: pd.DataFrame, file: str | Path) -> None:
    """Write a table as Parquet or CSV, by the file's ending, all or nothing. Raises RequestError and OSError."""
    target = Path(file)
    if target.suffix.lower() not in (".parquet", ".csv"):
        raise RequestError(f"the file of an export must end in .parquet or .csv, but got {str(file)!r}")
    with replaced(target) as new:
        if target.suffix.lower() == ".csv":
            # Python's own shortest form of a float: it reads back to the same bits.
            frame.to_csv(new, index=False)
        else:
            frame.to_parquet(new, index=False)


def _parts(sweep: str, store: Store | str | Path | None) -> list[tuple[Configuration, list[Epoch]]]:
    with opened(sweep, Store.at(store)) as (ledger, row):
        epochs: dict[int, list[Epoch]] = {}
        for number, epoch in ledger.epochs(row):
            epochs.setdefault(number, []).append(epoch)
        every = families(ledger.configurations(row)).values()
        return [part for family in every for part in parts(family, epochs)]


def _sorted(columns: tidy.Columns, order: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    by = np.lexsort([frame[name].to_numpy() for name in reversed(order)])
    return frame.iloc[by].reset_index(drop=True)
