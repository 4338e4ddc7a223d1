"""Whether a sweep's ledger is whole, and its mirrors say the same to the bit.

    >>> for law in audit(ledger, "alpha-r", store):
    ...     print(law.name, law.checked, law.problems or "holds")

What a mirror has taken is read first, then the mirror, then the ledger. So whatever had been taken must be in the
mirror, and whatever is in the mirror must be in the ledger, while a driver continues to write both. Nothing is written.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracking import tidy
from tracking.ledger import Ledger, cause
from tracking.mirrors import client, mlflow, optuna, run_data
from tracking.mirrors.follower import waiting
from tracking.store import Store
from tracking.types import SWEEP, Configuration, Epoch, Sweep, Taken
from trainers.errors import GradsweepError

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_LARGEST = float(np.finfo(np.float64).max)


@dataclass
class Law:
    """One law: what was looked at, and how much of it; what breaks it, a line each; what is still to come."""

    name: str
    checked: str = ""
    problems: list[str] = field(default_factory=list)
    pending: str = ""


def audit(ledger: Ledger, name: str, store: Store, uri: str | None = None) -> list[Law]:
    """The laws of the ledger and of its mirrors. Raises SearchError for no such sweep, LedgerError."""
    sweep = ledger.sweep(name)
    taken = {mirror: ledger.taken(sweep, mirror) for mirror in (mlflow.NAME, optuna.NAME)}
    runs, metrics, artifacts, trials = Law("runs"), Law("metrics"), Law("artifacts"), Law("trials")
    with _asked(runs, "MLflow"):
        if not client.untouched(store, uri):
            with closing(mlflow.MlflowMirror(store, ledger, uri)) as mirror:
                _Runs(ledger, sweep, mirror, taken[mlflow.NAME]).audit(runs, metrics, artifacts)
        elif taken[mlflow.NAME]:
            runs.problems.append("MLflow's database is gone")
    with _asked(trials, "Optuna's database"):
        _trials(ledger, sweep, store, taken[optuna.NAME], trials)
    left = waiting(ledger, name)
    lacking = f"{left} configurations are not in the mirrors yet" if left else ""
    current = Law("up to date", "what the mirrors have taken", pending=lacking)
    return [*_ledger_laws(ledger, sweep), runs, metrics, artifacts, trials, current]


def _ledger_laws(ledger: Ledger, sweep: Sweep) -> Iterator[Law]:
    """Every configuration has one state and the epochs that it asks for; hardly an epoch was trained twice."""
    configurations = ledger.configurations(sweep)
    running = sum(c.state == "running" for c in configurations)
    states = Law("final states", f"{len(configurations)} configurations")
    if [c.number for c in configurations] != list(range(len(configurations))):
        states.problems.append(f"the ledger has the configurations {_few([c.number for c in configurations])}")
    orders = [c.order for c in configurations if c.state != "running"]
    if len(set(orders)) < len(orders) or min(orders, default=0) < 0:
        states.problems.append(f"the configurations ended in the order {_few(sorted(orders))}")
    for c in configurations:
        ended, complete = c.state != "running", c.state == "complete"
        if ended != (c.ended is not None):
            states.problems.append(f"configuration {c.number} is {c.state}, but its end is at {c.ended}")
        if complete and len(c.values or ()) != len(sweep.objectives):
            states.problems.append(f"configuration {c.number} is complete with the objective {c.values}")
    states.pending = f"{running} have not ended" if running else ""
    yield states

    epochs = Law("epochs", pending=states.pending)
    count = 0
    for c in configurations:
        numbers = [e.epoch for _, e in ledger.epochs(sweep, [c.number])]
        count += len(numbers)
        asked = int(c.member["epochs"])
        if c.state == "running":  # a driver may have continued since
            numbers = numbers[: c.epoch + 1]
        if numbers != list(range(len(numbers))) or len(numbers) != c.epoch + 1:
            epochs.problems.append(f"configuration {c.number}: the ledger has the epochs {_few(numbers)}")
        elif c.state == "complete" and c.epoch != asked:
            epochs.problems.append(
                f"configuration {c.number} is complete, but the ledger has {c.epoch} of {asked} epochs"
            )
    epochs.checked = f"{count} epochs of {len(configurations)} configurations"
    yield epochs

    # Epoch 0 is measured before the first step. It is there again only where a worker had no states and started over.
    again = ledger.trained_again(sweep)
    times: Counter[int] = Counter()
    for (number, _), often in again.items():
        times[number] += max(0, often - again.get((number, 0), 0))
    problems = [f"configuration {n}: {often} epochs were trained again" for n, often in times.items() if often > 1]
    over = len({number for number, epoch in again if epoch == 0})
    checked = f"{times.total()} epochs, at most one of a member is allowed; {over} configurations were started over"
    yield Law("trained again", checked, problems)


class _Runs:
    """MLflow's runs of a sweep against the ledger."""

    def __init__(self, ledger: Ledger, sweep: Sweep, mirror: mlflow.MlflowMirror, taken: Mapping[int, Taken]) -> None:
        self._ledger, self._mirror, self._taken = ledger, mirror, taken
        self._runs: dict[int, list[Run]] = defaultdict(list)
        for run in mirror.runs(sweep):
            self._runs[int(run.data.tags.get(run_data.NUMBER, SWEEP))].append(run)
        self._sweep = ledger.sweep(sweep.name)
        self._configurations = {c.number: c for c in ledger.configurations(sweep)}

    @client.translated()
    def audit(self, runs: Law, metrics: Law, artifacts: Law) -> None:
        """One run each in the state that the ledger says, every point once, the Parquet files: to the bit."""
        own = self._taken.get(SWEEP, Taken(SWEEP))
        self._count(runs, SWEEP, own)
        parents = {run.info.run_id for run in self._runs.get(SWEEP, ())}
        if own.ended and own.epoch == self._sweep.revision and len(parents) == 1:
            self._parent(self._runs[SWEEP][0], runs, metrics)
        if strangers := self._runs.keys() - self._configurations.keys() - {SWEEP}:
            runs.problems.append(f"there are runs of configurations that the ledger lacks: {_few(sorted(strangers))}")
        points_seen = files_seen = 0
        with TemporaryDirectory() as folder:
            for number, c in self._configurations.items():
                taken = self._taken.get(number, Taken(number))
                if not self._count(runs, number, taken):
                    continue
                run = self._runs[number][0]
                stored = list(self._stored(run))
                epochs = [e for _, e in self._ledger.epochs(self._sweep, [number])]
                runs.problems += [f"configuration {number}: {p}" for p in self._differing(run, c, taken, own, parents)]
                if problem := _points_differ(stored, run_data.metrics_of(epochs), taken.epoch):
                    metrics.problems.append(f"configuration {number}: {problem}")
                points_seen += len(stored)
                if taken.ended and epochs:
                    files_seen += 2
                    artifacts.problems += [f"configuration {number}{p}" for p in self._files(run, c, epochs, folder)]
        runs.checked = f"{sum(map(len, self._runs.values()))} runs in MLflow"
        metrics.checked = f"{points_seen} points, with the ledger to the bit"
        artifacts.checked = f"{files_seen} Parquet files, with the ledger to the bit"

    def _count(self, runs: Law, number: int, taken: Taken) -> bool:
        """Whether there is one run of a configuration (SWEEP: of the sweep); none may be where none is known."""
        count = len(self._runs.get(number, ()))
        if count > 1 or (count == 0 and taken.run is not None):
            name = "the sweep" if number == SWEEP else f"configuration {number}"
            runs.problems.append(f"{name} has {count} runs")
        return count == 1

    def _parent(self, run: Run, runs: Law, metrics: Law) -> None:
        sweep = self._sweep
        expected = (run_data.SWEEP_STATUS[sweep.status], sweep.ended, run_data.description(sweep))
        if (there := (run.info.status, run.info.end_time, run.data.tags.get(run_data.NOTE))) != expected:
            runs.problems.append(f"the sweep's (status, end, description) are {there} in MLflow, not {expected}")
        ended = {n: c for n, c in self._configurations.items() if c.state != "running"}
        if problem := _points_differ(list(self._stored(run)), run_data.chart(sweep, ended)[0], len(ended)):
            metrics.problems.append(f"the sweep: {problem}")

    def _differing(self, run: Run, c: Configuration, taken: Taken, own: Taken, parents: set[str]) -> Iterator[str]:
        tags = run.data.tags
        if tags.get(run_data.PARENT) not in parents:
            yield "its run is not under the sweep's"
        there = (tags.get(run_data.STATE), run.info.status, run.info.end_time, tags.get(run_data.REASON, ""))
        expected = (c.state, run_data.STATUS[c.state], c.ended, c.reason[: run_data.MOST_IN_TAG])
        if taken.ended:
            if there != expected:
                yield f"(state, status, end, reason) are {there} in MLflow, not {expected}"
            if run.data.params != run_data.params_of(c) | {"state": c.state}:
                yield "its params are not the ledger's"
        elif own.ended and own.epoch == self._sweep.revision and taken.run is not None:
            if (run.info.status, run.info.end_time) != ("KILLED", self._sweep.ended):
                yield f"its run is {run.info.status}, but the sweep was stopped"

    def _stored(self, run: Run) -> Iterator[Metric]:
        for key in run.data.metrics:
            yield from self._mirror.client.get_metric_history(run.info.run_id, key)

    def _files(self, run: Run, c: Configuration, epochs: Sequence[Epoch], folder: str) -> Iterator[str]:
        there = {info.path for info in self._mirror.client.list_artifacts(run.info.run_id)}
        for file, columns in run_data.tables(self._sweep, c, epochs).items():
            if file not in there:
                yield f" has no {file}"
                continue
            path = Path(self._mirror.client.download_artifacts(run.info.run_id, file, folder))
            try:
                if not _same_table(pq.read_table(path), columns):
                    yield f": its {file} is not what the ledger has"
            except (pa.ArrowException, OSError) as error:
                yield f": its {file} can't be read: {cause(error)}"


def _points_differ(stored: Sequence[Metric], expected: Sequence[Metric], last: int) -> str:
    """What is wrong with the points of one run, "" for nothing; those up to the step `last` must be there."""
    twice = [place for place, times in Counter((p.key, p.step) for p in stored).items() if times > 1]
    if twice:
        return f"{len(twice)} points are there more than once, as {twice[0][0]} of step {twice[0][1]}"
    due = {(p.key, p.step): (p.timestamp, _bits(p.value)) for p in expected}
    there = {(p.key, p.step): (p.timestamp, _bits(p.value)) for p in stored}
    for (key, step), point in there.items():
        if (key, step) not in due:
            return f"{key} of step {step} is in MLflow, but not in the ledger"
        if point != due[key, step]:
            return f"{key} of step {step} is not the ledger's"
    missing = [place for place in due if place not in there and place[1] <= last]
    return f"{len(missing)} points are missing, as {missing[0][0]} of step {missing[0][1]}" if missing else ""


def _trials(ledger: Ledger, sweep: Sweep, store: Store, taken: Mapping[int, Taken], law: Law) -> None:
    """Each configuration that has ended is one trial, with the ledger's parameters, values and times."""
    if optuna.untouched(store):
        law.problems += ["Optuna's database is gone"] if taken else []
        return
    there: dict[int, list[Any]] = defaultdict(list)
    with closing(optuna.OptunaMirror(store, ledger)) as mirror:
        for phase in optuna.NUMBERS:
            study = mirror.study(sweep, phase)
            if study is not None and study.user_attrs.get(optuna.MARK) == sweep.mark:
                for trial in study.get_trials(deepcopy=False):
                    there[trial.user_attrs.get("configuration", SWEEP)].append(trial)
    configurations = {c.number: c for c in ledger.configurations(sweep)}
    objectives = ledger.objectives(sweep)
    law.checked = f"{sum(map(len, there.values()))} trials in Optuna"
    if strangers := there.keys() - configurations.keys():
        law.problems.append(f"there are trials of configurations that the ledger lacks: {_few(sorted(strangers))}")
    for number, c in configurations.items():
        trials = there.get(number, ())
        if len(trials) > 1 or (not trials and taken.get(number, Taken(number)).ended):
            law.problems.append(f"configuration {number} has {len(trials)} trials")
        for trial in trials[:1]:
            due = optuna.trial_of(sweep, c, objectives.get(number, {}))
            for name in ("state", "values", "params", "user_attrs", "intermediate_values", "duration"):
                stored, expected = _words(getattr(trial, name)), _words(getattr(due, name))
                if stored != expected:
                    law.problems.append(f"configuration {number}: {name} is {stored} in Optuna, not {expected}")


@contextmanager
def _asked(law: Law, what: str) -> Iterator[None]:
    """A mirror that can't be asked breaks the law."""
    try:
        yield
    except GradsweepError as error:
        law.problems.append(f"{what} can't be asked: {error}")


def _words(value: Any) -> str:
    """A value as text: there NaN is itself, and a dictionary has one order."""
    return repr(sorted(value.items()) if isinstance(value, dict) else value)


def _bits(value: float) -> bytes:
    """A number as MLflow keeps it: infinities as the largest number, one NaN."""
    if math.isnan(value):
        return b"NaN"
    return np.float64(min(max(value, -_LARGEST), _LARGEST)).tobytes()


def _same_table(table: pa.Table, columns: tidy.Columns) -> bool:
    """Whether a table has these columns, rows in the same order, to the bit."""
    pairs = [(table[name].to_numpy(), columns[name]) for name in table.column_names if name in columns]
    return table.column_names == list(columns) and all(
        stored.dtype == values.dtype and stored.tobytes() == values.tobytes()
        if isinstance(values, np.ndarray)
        else list(stored) == values
        for stored, values in pairs
    )


def _few(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"{shown}, ..." if len(numbers) > 10 else shown or "none"
