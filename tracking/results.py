"""A sweep's records as one tidy table: a row a member and epoch, a column a field of the member or metric.

    >>> frame = load("alpha-r")
    >>> frame[frame.epoch == 0].groupby("alpha")["gradient.data.rms"].median()

Where the sweep's spool lies in the store it is read, running configurations and all: 2,000 configurations take 0.3 s.
Elsewhere the Parquet artifacts of the ended configurations are read from MLflow, some 14 ms each.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tracking.files import replaced
from tracking.spool import Spool, SpooledConfiguration, SpooledEpoch
from tracking.store import Store
from tracking.tidy import KEYS, MEMBER, Block, blocks

ORDER = ["configuration", "seed", "epoch"]
CONFIRM = "confirm "  # begins the name of what is trained again on fresh seeds; an arm's name has no space


@dataclass(frozen=True)
class Outcome:
    """How a configuration stands: complete | pruned | diverged | failed | running."""

    number: int
    arm: str
    name: str
    state: str
    reason: str

    @property
    def confirms(self) -> str | None:
        """What it was trained again for, on fresh seeds: an arm, or a searched point by its name; None for others."""
        return self.name.removeprefix(CONFIRM) if self.name.startswith(CONFIRM) else None


@dataclass(frozen=True)
class SweepListed:
    """A sweep as MLflow has it: the parent run's status, and when it started (milliseconds since 1970)."""

    name: str
    status: str
    started: int | None


def load(sweep: str, store: Store | str | Path | None = None, uri: str | None = None) -> pd.DataFrame:
    """The tidy table of section 6, by configuration, seed and epoch. Raises ResultsError.

    `uri` is MLflow's tracking URI; None for the store's own database. A metric that a row's network does not have
    is NaN.
    """
    place = _store(store)
    file = place.spool_file(sweep)
    if file.is_file():
        with closing(Spool.at(file)) as spool:
            epochs: dict[int, list[SpooledEpoch]] = {}
            for number, epoch in spool.all_epochs():
                epochs.setdefault(number, []).append(epoch)
            parts = [(c, epochs.get(c.number, ())) for c in spool.configurations()]
        return table(sweep, parts)
    from tracking.mlflow_read import ended_records

    found = ended_records(sweep, place, uri)
    return table(sweep, []) if found is None else _sorted(found)


def outcomes(sweep: str, store: Store | str | Path | None = None, uri: str | None = None) -> dict[int, Outcome]:
    """How every configuration of a sweep stands, by number. Raises ResultsError."""
    place = _store(store)
    file = place.spool_file(sweep)
    if file.is_file():
        with closing(Spool.at(file)) as spool:
            return {c.number: Outcome(c.number, c.arm, c.name, c.state, c.reason) for c in spool.configurations()}
    from tracking.mlflow_read import outcomes_of

    return outcomes_of(sweep, place, uri)


def sweeps(store: Store | str | Path | None = None, uri: str | None = None) -> list[SweepListed]:
    """The sweeps that MLflow has, oldest first; empty where there is no store yet. Raises ResultsError."""
    place = _store(store)
    if uri is None and place.untouched:
        return []
    from tracking.mlflow_read import listed

    return listed(place, uri)


def table(sweep: str, parts: Sequence[tuple[SpooledConfiguration, Sequence[SpooledEpoch]]]) -> pd.DataFrame:
    """The tidy table of configurations and their epochs; without any, an empty one with the columns that all have."""
    frames = [_frame(block) for block in blocks(sweep, parts)]
    if not frames:
        return pd.DataFrame({name: [] for name in (*KEYS, *MEMBER)})
    return _sorted(frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True))


def export(frame: pd.DataFrame, file: str | Path) -> None:
    """Write a table as Parquet or CSV, by the file's ending; written, then renamed. Raises ValueError and OSError."""
    target = Path(file)
    if target.suffix.lower() not in (".parquet", ".csv"):
        raise ValueError(f"a table is exported to a file that ends in .parquet or .csv, but got {str(file)!r}")
    with replaced(target) as new:
        if target.suffix.lower() == ".csv":
            # Python's own shortest form of a float: it reads back to the same bits.
            frame.to_csv(new, index=False)
        else:
            frame.to_parquet(new, index=False)


def _store(store: Store | str | Path | None) -> Store:
    return store if isinstance(store, Store) else Store.at(store)


def _frame(block: Block) -> pd.DataFrame:
    labels = pd.DataFrame(block.labels)
    metrics = pd.DataFrame(block.metrics, columns=pd.Index(block.names), copy=False)
    return pd.concat([labels, metrics], axis=1)


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    order = np.lexsort([frame[name].to_numpy() for name in reversed(ORDER)])
    return frame.iloc[order].reset_index(drop=True)
