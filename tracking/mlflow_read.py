"""A sweep's records read back from MLflow, where its spool does not lie on this machine."""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.entities import Experiment, Run

from tracking import runs
from tracking.mlflow_api import Tracker
from tracking.origin import Origin
from tracking.records import FILE
from tracking.results import Outcome, SweepListed
from tracking.store import Store
from tracking.tidy import KEYS, MEMBER, column_kind
from trainers.errors import ResultsError, Unavailable, Unmendable

_THREADS = 8  # downloads from a server; a local file is read as fast by one
MOST_BYTES = 2 << 30  # of one configuration's records
_KINDS = {
    "float": pa.types.is_float64,
    "int": pa.types.is_int64,
    "bool": pa.types.is_boolean,
    "str": pa.types.is_string,
}


@dataclass(frozen=True)
class _Child:
    outcome: Outcome
    artifacts: str


def ended_records(sweep: str, store: Store, uri: str | None) -> pd.DataFrame | None:
    """The records of the ended configurations, None where there are none. Raises ResultsError."""
    tracker, found = _children(sweep, store, uri)
    ended = [child for child in found if child.outcome.state != "running"]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_THREADS) as pool:
        tables = pool.map(lambda child: _records(tracker, child, Path(folder)), ended)
        found_tables = [table for table in tables if table is not None]
    if not found_tables:
        return None
    # One conversion to pandas, not one each; what another network lacks becomes null, then NaN.
    frame: pd.DataFrame = pa.concat_tables(found_tables, promote_options="permissive").to_pandas()
    return frame


def outcomes_of(sweep: str, store: Store, uri: str | None) -> dict[int, Outcome]:
    """How the configurations stand. Raises ResultsError."""
    return {child.outcome.number: child.outcome for child in _children(sweep, store, uri)[1]}


def origin_of(sweep: str, store: Store, uri: str | None) -> Origin:
    """What a sweep's newest run says of its code, data and time. Raises ResultsError."""
    try:
        _, _, parent = _sweep(sweep, store, uri)
    except (Unavailable, Unmendable) as error:
        raise ResultsError(str(error)) from None
    tags, versions = parent.data.tags, "gradsweep.version."
    return Origin(
        versions={key.removeprefix(versions): tags[key] for key in tags if key.startswith(versions)},
        digests=tags.get("gradsweep.data.digest", ""),
        commit=tags.get("mlflow.source.git.commit", ""),
        begun=parent.info.start_time,
        ended=parent.info.end_time,
        status=parent.info.status,
    )


def listed(store: Store, uri: str | None) -> list[SweepListed]:
    """The sweeps, oldest first. Raises ResultsError."""
    tracker = _tracker(store, uri)
    found = []
    try:
        for experiment in tracker.experiments():
            parent = _parent(tracker, experiment)
            if parent is not None:
                found.append(SweepListed(experiment.name, parent.info.status, parent.info.start_time))
    except (Unavailable, Unmendable) as error:
        raise ResultsError(str(error)) from None
    return sorted(found, key=lambda s: (s.started or 0, s.name))


def _children(sweep: str, store: Store, uri: str | None) -> tuple[Tracker, list[_Child]]:
    """The configurations of a sweep's newest run, by number."""
    try:
        tracker, experiment, parent = _sweep(sweep, store, uri)
        children = _indexed(tracker, parent) or [
            _child(run) for run in tracker.runs(experiment.experiment_id, {"mlflow.parentRunId": parent.info.run_id})
        ]
    except (Unavailable, Unmendable) as error:
        raise ResultsError(str(error)) from None
    return tracker, sorted(children, key=lambda child: child.outcome.number)


def _sweep(sweep: str, store: Store, uri: str | None) -> tuple[Tracker, Experiment, Run]:
    """A sweep's experiment and its newest run."""
    tracker = _tracker(store, uri)
    experiment = tracker.experiment_named(sweep)
    parent = _parent(tracker, experiment) if experiment else None
    if experiment is None or parent is None:
        raise ResultsError(f"there is no sweep {sweep!r} in {store.folder if uri is None else uri}")
    return tracker, experiment, parent


def _indexed(tracker: Tracker, parent: Run) -> list[_Child]:
    """The configurations of a sweep that has ended, from its own list of them."""
    if parent.info.status == "RUNNING":
        return []
    with tempfile.TemporaryDirectory() as folder:
        file = tracker.fetch(parent.info.artifact_uri, runs.INDEX, Path(folder))
        try:
            entries = json.loads(file.read_text(encoding="utf-8")) if file else []
            return [_entry(**e) for e in entries if e["artifacts"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ResultsError(f"the artifact {runs.INDEX} of the sweep's run is none of ours: {error}") from None


def _entry(number: int, arm: str, name: str, state: str, reason: str, artifacts: str, run: str) -> _Child:
    if not isinstance(number, int) or not all(isinstance(text, str) for text in (arm, name, state, reason, artifacts)):
        raise TypeError(f"{number!r} is no configuration, or what is said of it is no text")
    return _Child(Outcome(number, arm, name, state, reason), artifacts)


def _child(run: Run) -> _Child:
    tags = run.data.tags
    outcome = Outcome(
        number=int(tags[runs.CONFIGURATION_TAG]),
        arm=tags.get("gradsweep.arm", ""),
        name=run.info.run_name or "",
        state=tags.get("gradsweep.state", "running"),
        reason=tags.get("gradsweep.reason", ""),
    )
    return _Child(outcome, run.info.artifact_uri)


def _tracker(store: Store, uri: str | None) -> Tracker:
    if uri is None and store.untouched:
        raise ResultsError(f"there are no records in {store.folder}")
    try:
        return Tracker(store, uri)
    except (Unavailable, Unmendable) as error:
        raise ResultsError(str(error)) from None


def _parent(tracker: Tracker, experiment: Experiment) -> Run | None:
    """The run of the sweep, the newest where a name was used again."""
    own = tracker.runs(experiment.experiment_id, {runs.KIND_TAG: runs.SWEEP})
    return max(own, key=lambda run: run.info.start_time or 0, default=None)


def _records(tracker: Tracker, child: _Child, folder: Path) -> pa.Table | None:
    """A configuration's records; None where it ended before its first epoch. Raises ResultsError."""
    try:
        file = tracker.fetch(child.artifacts, FILE, folder / str(child.outcome.number))
    except (Unavailable, Unmendable) as error:
        raise ResultsError(f"can't read the records of {child.outcome.name}: {error}") from None
    if file is None:
        if child.outcome.state in ("complete", "pruned"):
            raise ResultsError(f"the records of {child.outcome.name} are missing: {FILE} is not in {child.artifacts}")
        return None
    try:
        # Not read_table, which looks for a whole data set first.
        with pq.ParquetFile(file) as parquet:
            _check(parquet)
            return parquet.read(use_threads=False).replace_schema_metadata(None)
    except (pa.ArrowException, OSError, ValueError) as error:
        line = " ".join(str(error).split())
        raise ResultsError(f"can't read the records of {child.outcome.name}: {FILE} is none of ours: {line}") from None


def _check(parquet: pq.ParquetFile) -> None:
    """Before any of it is read: the columns are those that `tracking.records` writes. Raises ValueError."""
    schema, size = parquet.schema_arrow, parquet.metadata.num_rows * parquet.metadata.num_columns * 8
    if len(set(schema.names)) < len(schema.names):
        raise ValueError("a column is there twice")
    for name in (*KEYS, *MEMBER):
        if name not in schema.names:
            raise ValueError(f"it has no column {name!r}")
    for field in schema:
        if not _KINDS[column_kind(field.name)](field.type):
            raise ValueError(f"the column {field.name!r} holds {field.type}")
    if size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 30} GiB")
