"""The tables of MLflow that are written directly, and what goes into them: the same for every database.

`SqlAlchemyStore.log_batch` takes 140 microseconds of a core a metric, 200 ms a configuration of 2 epochs: its objects
are made, compared and flushed one by one. `tracking.mlflow_sqlite` and `tracking.mlflow_postgres` put the same rows
into the same tables with plain SQL, one transaction for many runs. What is written is what log_batch would have
written, and tests compare the tables. Where the tables are not the ones known here (another MLflow), the API is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tracking.runs import RunUpdate, Series

COLUMNS = {
    "runs": {"run_uuid", "status", "end_time", "lifecycle_stage"},
    "params": {"key", "value", "run_uuid"},
    "tags": {"key", "value", "run_uuid"},
    "metrics": {"key", "value", "timestamp", "run_uuid", "step", "is_nan"},
    "latest_metrics": {"key", "value", "timestamp", "run_uuid", "step", "is_nan"},
}
DELETED = "the run was deleted"
_LARGEST = float(np.finfo(np.float64).max)

# key, timestamp, step, run, value, is_nan
Row = tuple[str, int, int, str, float, bool]


def rows(updates: Iterable[RunUpdate]) -> list[Row]:
    """The metrics, in the order of the primary key, so that a leaf is touched once however many runs there are."""
    return sorted((row for u in updates for s in u.series for row in _rows(u.run, s)), key=lambda row: row[:4])


def latest(rows: Sequence[Row]) -> list[Row]:
    """The row of the last step of each key and run."""
    last: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = (row[0], row[3])
        former = last.get(key)
        if former is None or (row[2], row[1], row[4]) > (former[2], former[1], former[4]):
            last[key] = row
    return list(last.values())


def _rows(run: str, series: Series) -> Iterator[Row]:
    """NaN and infinities as MLflow stores them: 0 and the largest."""
    missing = np.isnan(series.values)
    values = np.nan_to_num(series.values, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST).tolist()
    for step, at, line, gaps in zip(series.steps, series.timestamps, values, missing.tolist(), strict=True):
        for key, value, is_nan in zip(series.keys, line, gaps, strict=True):
            yield key, at, step, run, value, is_nan
