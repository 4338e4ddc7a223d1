"""Whether the three copies of a sweep's records say the same: the spool, MLflow's runs and metrics, the artifacts.

    >>> for law in audit("alpha-r", store, None, running=False):
    ...     print(law.name, law.checked, law.problems or "holds")

What the outbox still holds may be in MLflow or not, and is said to be pending; everything else must be there once, to
the bit. Nothing is written.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.entities import Run

from tracking import runs
from tracking.mlflow_api import Tracker
from tracking.outbox import Outbox, SweepState
from tracking.points import Point, points
from tracking.records import FILE
from tracking.results import ORDER, table
from tracking.spool import SWEEP, Spool, SpooledConfiguration, SpooledEpoch
from tracking.store import Store
from trainers.errors import Unavailable, Unmendable

_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Law:
    """One law: what was looked at, and how much of it; what breaks it, a line each; what is still to come."""

    name: str
    checked: str
    problems: tuple[str, ...] = ()
    pending: str = ""


@dataclass(frozen=True)
class Books:
    """The spool at one moment: its configurations and their epochs, by number, and what MLflow need not have yet."""

    state: SweepState | None
    configurations: dict[int, SpooledConfiguration]
    epochs: dict[int, list[SpooledEpoch]]
    again: dict[tuple[int, int], int]
    waiting: dict[int, set[tuple[str, int]]] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """How many events wait."""
        return sum(map(len, self.waiting.values()))

    @property
    def last(self) -> int:
        """The highest number that a configuration had then; -1 without any."""
        return max(self.configurations, default=-1)

    def waits(self, number: int, kind: str, epoch: int = 0) -> bool:
        """Whether MLflow need not have this yet."""
        return (kind, epoch) in self.waiting.get(number, ())


def read_books(sweep: str, store: Store) -> Books:
    """The spool of a sweep, at one moment; an empty one where there is none. Raises SpoolError."""
    file = store.spool_file(sweep)
    if not file.is_file():
        return Books(None, {}, {}, {})
    with closing(Spool.at(file)) as spool, spool.snapshot():
        outbox = Outbox(spool)
        configurations = {c.number: c for c in spool.configurations()}
        epochs: dict[int, list[SpooledEpoch]] = {number: [] for number in configurations}
        for number, epoch in spool.all_epochs():
            epochs[number].append(epoch)
        waiting = {
            number: {(e.kind, e.epoch) for e in outbox.events(number)}
            for number in (SWEEP, *(w.number for w in outbox.waiting()))
        }
        return Books(outbox.state(), configurations, epochs, spool.trained_again(), waiting)


def audit(sweep: str, store: Store, uri: str | None, books: Books, running: bool) -> list[Law]:
    """The laws of the records; `running`: a driver is at work, so MLflow may be ahead of `books`."""
    laws = [_epochs(books), _again(books)]
    if uri is None and store.untouched:
        none = () if not books.configurations or books.events else (f"there is none in {store.folder}",)
        return [*laws, Law("MLflow", "its database", none, "it is not made yet" if not none else "")]
    try:
        tracker = Tracker(store, uri)
        found = _runs_of(tracker, sweep, books)
        laws.append(_runs(books, found, running))
        laws.append(_metrics(books, found, tracker, running))
        laws.append(_artifacts(sweep, books, found, tracker))
    except (Unavailable, Unmendable) as error:
        unknown = ("MLflow can't be asked: " + str(error),)
        laws.append(Law("MLflow", "its runs, metrics and artifacts", unknown))
    return laws


def _epochs(books: Books) -> Law:
    """Every epoch from 0 to the last one is in the spool, and the last one is the one that the state asks for."""
    wrong = []
    for number, c in books.configurations.items():
        found = [e.epoch for e in books.epochs[number]]
        asked = int(c.members[0]["epochs"])
        if found != list(range(len(found))):
            wrong.append(f"configuration {number}: the spool has the epochs {_few(found)}")
        elif c.state == "complete" and found[-1:] != [asked]:
            wrong.append(f"configuration {number} is complete, but the spool has {len(found) - 1} of {asked} epochs")
    count = sum(map(len, books.epochs.values()))
    running = sum(c.state == "running" for c in books.configurations.values())
    pending = f"{running} configurations are not through" if running else ""
    return Law("epochs", f"{count} epochs of {len(books.configurations)} configurations", tuple(wrong), pending)


def _again(books: Books) -> Law:
    """No member has trained more than one epoch again that was recorded before."""
    times: Counter[int] = Counter()
    for (number, epoch), often in books.again.items():
        # Epoch 0 is measured before the first step: nothing is trained.
        times[number] += often if epoch > 0 else 0
    wrong = tuple(f"configuration {n}: {often} epochs were trained again" for n, often in times.items() if often > 1)
    return Law("trained again", f"{sum(times.values())} epochs in all, at most one of a member is allowed", wrong)


def _runs_of(tracker: Tracker, sweep: str, books: Books) -> dict[int, list[Run]]:
    """The runs in MLflow that this spool has made, by configuration; the sweep's own as SWEEP."""
    found: dict[int, list[Run]] = defaultdict(list)
    experiment = tracker.experiment_named(sweep)
    if experiment is not None and books.state is not None:
        for run in tracker.runs(experiment.experiment_id, {runs.SPOOL_TAG: books.state.id}):
            found[int(run.data.tags.get(runs.CONFIGURATION_TAG, SWEEP))].append(run)
    return found


def _runs(books: Books, found: Mapping[int, Sequence[Run]], running: bool) -> Law:
    """One run each, in the state that the spool says, under the one run of the sweep.

    `running`: of what was in training then, MLflow may know the end by now.
    """
    wrong = []
    if len(found.get(SWEEP, ())) != 1 and not books.waits(SWEEP, "begin"):
        wrong.append(f"the sweep has {len(found.get(SWEEP, ()))} runs")
    elif books.state and not books.waits(SWEEP, "begin") and not books.waits(SWEEP, "finish"):
        expected = books.state.status or "RUNNING"
        if (status := found[SWEEP][0].info.status) != expected and not running:
            wrong.append(f"the sweep's run is {status}, in the spool it is {expected}")
    parents = {run.info.run_id for run in found.get(SWEEP, ())}
    for number, c in books.configurations.items():
        own = found.get(number, ())
        if len(own) != 1:
            if own or not books.waits(number, "start"):
                wrong.append(f"configuration {number} has {len(own)} runs")
        else:
            wrong += [f"configuration {number}: {what}" for what in _differing(own[0], c, books, parents, running)]
    strangers = found.keys() - books.configurations.keys() - {SWEEP}
    if strangers := {number for number in strangers if not (running and number > books.last)}:
        wrong.append(f"there are runs of configurations that the spool doesn't have: {_few(sorted(strangers))}")
    unmade = sum(books.waits(number, "start") for number in books.configurations)
    pending = f"{unmade} runs are not made yet" if unmade else ""
    return Law("runs", f"{sum(map(len, found.values()))} runs in MLflow", tuple(wrong), pending)


def _differing(run: Run, c: SpooledConfiguration, books: Books, parents: set[str], running: bool) -> list[str]:
    tags, wrong = run.data.tags, []
    if tags.get("mlflow.parentRunId") not in parents:
        wrong.append("its run is not under the sweep's")
    if not books.waits(c.number, "end") and not (running and c.state == "running"):
        expected = (c.state, runs.STATUS.get(c.state, "RUNNING"), c.ended)
        there = (tags.get("gradsweep.state"), run.info.status, run.info.end_time)
        if there != expected:
            wrong.append(f"(state, status, end) are {there} in MLflow, {expected} in the spool")
    return wrong


def _metrics(books: Books, found: Mapping[int, Sequence[Run]], tracker: Tracker, running: bool) -> Law:
    """Every point of every metric once, with the spool's timestamp and the bits of its mean and quartiles."""
    numbers = {own[0].info.run_id: n for n, own in found.items() if n in books.configurations and len(own) == 1}
    keys = {key for epochs in books.epochs.values() for s in runs.series(epochs[:1]) for key in s.keys}
    steps = max(map(len, books.epochs.values()), default=0)
    wrong, count = [], 0
    for run, stored in points(tracker, list(numbers), sorted(keys), steps):
        count += len(stored)
        number = numbers[run]
        if problem := _points_differ(stored, books, number, running):
            wrong.append(f"configuration {number}: {problem}")
    late = sum(kind == "epoch" for events in books.waiting.values() for kind, _ in events)
    pending = f"{late} epochs of configurations are not delivered yet" if late else ""
    return Law("metrics", f"{count} points, with the spool to the bit", tuple(wrong), pending)


def _points_differ(stored: Sequence[Point], books: Books, number: int, running: bool) -> str:
    """What is wrong with the points of one run, "" for nothing."""
    twice = [place for place, times in Counter((p.key, p.step) for p in stored).items() if times > 1]
    if twice:
        return f"{len(twice)} points are there more than once, as {twice[0][0]} of epoch {twice[0][1]}"
    expected = {
        (key, step): (at, _bits(value))
        for s in runs.series(books.epochs[number])
        for step, at, line in zip(s.steps, s.timestamps, s.values.tolist(), strict=True)
        for key, value in zip(s.keys, line, strict=True)
    }
    there = {(p.key, p.step): (p.at, _bits(p.value)) for p in stored}
    known = {step for _, step in expected}
    for place, point in there.items():
        if place not in expected:
            if running and place[1] not in known:
                continue
            return f"{place[0]} of epoch {place[1]} is in MLflow, but not in the spool"
        if point != expected[place]:
            return f"{place[0]} of epoch {place[1]} is not the spool's"
    missing = [place for place in expected if place not in there and not books.waits(number, "epoch", place[1])]
    return f"{len(missing)} points are missing, as {missing[0][0]} of epoch {missing[0][1]}" if missing else ""


def _bits(value: float) -> bytes:
    """A number as MLflow keeps it: infinities as the largest number, one NaN."""
    if math.isnan(value):
        return b"NaN"
    return np.float64(min(max(value, -_LARGEST), _LARGEST)).tobytes()


def _artifacts(sweep: str, books: Books, found: Mapping[int, Sequence[Run]], tracker: Tracker) -> Law:
    """Every ended configuration's Parquet file holds the rows that the spool has, to the bit."""
    wrong, count = [], 0
    with TemporaryDirectory() as folder:
        for number, c in books.configurations.items():
            own = found.get(number, ())
            if c.state == "running" or books.waits(number, "end") or len(own) != 1 or not books.epochs[number]:
                continue
            file = tracker.fetch(own[0].info.artifact_uri, FILE, Path(folder) / str(number))
            count += 1
            if file is None:
                wrong.append(f"configuration {number} has no {FILE}")
                continue
            try:
                there = pq.read_table(file).to_pandas()
            except (pa.ArrowException, OSError) as error:
                wrong.append(f"configuration {number}: its {FILE} can't be read: {' '.join(str(error).split())}")
                continue
            if not _same_table(there, table(sweep, [(c, books.epochs[number])])):
                wrong.append(f"configuration {number}: its {FILE} is not what the spool has")
    late = sum(("end", 0) in events for events in books.waiting.values())
    pending = f"{late} are not delivered yet" if late else ""
    return Law("artifacts", f"{count} Parquet files, with the spool to the bit", tuple(wrong), pending)


def _same_table(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables have the same columns and rows, whatever the order of the rows, to the bit."""
    if list(one.columns) != list(other.columns) or len(one) != len(other):
        return False
    one, other = (t.sort_values(ORDER, ignore_index=True) for t in (one, other))
    return all(_same_column(one[name].to_numpy(), other[name].to_numpy()) for name in one.columns)


def _same_column(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype.kind == "f" and other.dtype == one.dtype:
        return one.tobytes() == other.tobytes()
    return list(one) == list(other)


def _few(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"{shown}, ..." if len(numbers) > 10 else shown or "none"
