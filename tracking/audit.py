"""Whether a sweep's ledger is whole, and its mirrors say the same to the bit.

    >>> for law in audit(ledger, "alpha-r", store):
    ...     print(law.name, law.checked, law.problems or "holds")

What a mirror has taken is read first, then the mirror, then the ledger. So whatever had been taken must be in the
mirror, and whatever is in the mirror must be in the ledger, while a driver continues to write both. Nothing is written.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tracking import database, tidy
from tracking.ledger import Ledger
from tracking.mirrors import client, mlflow, optuna, run_data
from tracking.mirrors.follower import waiting
from tracking.store import Store
from tracking.types import SWEEP, Configuration, Epoch, Sweep, Taken
from trainers.errors import GradsweepError

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from optuna.trial import FrozenTrial

T = TypeVar("T")
TRIAL = ("state", "values", "params", "user_attrs", "intermediate_values", "duration")
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
        if not database.missing(uri or store.mlflow_uri):
            with closing(mlflow.MlflowMirror(store, ledger, uri)) as mirror:
                _runs(ledger, sweep, mirror, taken[mlflow.NAME], runs, metrics, artifacts)
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
    count, pending = 0, f"{running} have not ended" if running else ""
    states = Law("final states", f"{len(configurations)} configurations", pending=pending)
    epochs = Law("epochs", pending=pending)
    if [c.number for c in configurations] != list(range(len(configurations))):
        states.problems.append(f"the ledger has the configurations {_few([c.number for c in configurations])}")
    orders = [c.order for c in configurations if c.state != "running"]
    if len(set(orders)) < len(orders) or min(orders, default=0) < 0:
        states.problems.append(f"the configurations ended in the order {_few(sorted(orders))}")
    for c in configurations:
        who, complete = f"configuration {c.number}", c.state == "complete"
        if (c.state == "running") != (c.ended is None):
            states.problems.append(f"{who} is {c.state}, but its end is at {c.ended}")
        if complete and len(c.values or ()) != len(sweep.objectives):
            states.problems.append(f"{who} is complete with the objective {c.values}")
        numbers = [e.epoch for _, e in ledger.epochs(sweep, [c.number])]
        count += len(numbers)
        if c.state == "running":  # a driver may have continued since
            numbers = [number for number in numbers if number <= c.epoch]
        if numbers != list(range(c.after + 1, c.epoch + 1)):
            epochs.problems.append(f"{who}: the ledger has the epochs {_few(numbers)}")
        elif complete and c.epoch != c.member["epochs"]:
            epochs.problems.append(f"{who} is complete, but the ledger has {c.epoch} of {c.member['epochs']} epochs")
    epochs.checked = f"{count} epochs of {len(configurations)} configurations"
    yield from (states, epochs)

    # Epoch 0 is measured before the first step. It is there again only where a worker had no states and started over.
    again = ledger.trained_again(sweep)
    times: Counter[int] = Counter()
    for (number, _), often in again.items():
        times[number] += max(0, often - again.get((number, 0), 0))
    problems = [f"configuration {n}: {often} epochs were trained again" for n, often in times.items() if often > 1]
    over = len({number for number, epoch in again if epoch == 0})
    checked = f"{times.total()} epochs, where one per configuration is allowed; {over} configurations started over"
    yield Law("trained again", checked, problems)


@client.translated()
def _runs(ledger: Ledger, sweep: Sweep, mirror: mlflow.MlflowMirror, taken: Mapping[int, Taken], *laws: Law) -> None:
    """One run each in the state that the ledger says, every point once, the Parquet files: to the bit."""
    runs, metrics, artifacts = laws
    there: dict[int, list[Run]] = defaultdict(list)
    for run in mirror.runs(sweep):
        there[int(run.data.tags.get(run_data.NUMBER, SWEEP))].append(run)
    sweep = ledger.sweep(sweep.name)
    configurations = {c.number: c for c in ledger.configurations(sweep)}
    own = taken.get(SWEEP, Taken(SWEEP))
    asked: dict[str, Any]
    told = own.ended and own.epoch == sweep.revision  # how the sweep ended
    due = {number for number, t in taken.items() if t.run is not None}
    single = _single(runs, "runs in MLflow", there, {SWEEP, *configurations}, due)
    parent = single.pop(SWEEP, None)
    if parent and told:
        asked = {"status": run_data.SWEEP_STATUS[sweep.status], "end": sweep.ended}
        _differ(runs, "the sweep", "MLflow", _shown(parent), asked | {"description": run_data.description(sweep)})
        points = run_data.chart(sweep, list(configurations.values()))[0]
        metrics.problems += _points_differ("the sweep", _stored(mirror, parent), points, len(configurations))
    seen = files = 0
    with TemporaryDirectory() as folder:
        for number, run in sorted(single.items()):
            c, has, who = configurations[number], taken.get(number, Taken(number)), f"configuration {number}"
            stored = _stored(mirror, run)
            epochs = [e for _, e in ledger.epochs(sweep, [number])]
            seen += len(stored)
            metrics.problems += _points_differ(who, stored, run_data.metrics_of(epochs), has.epoch)
            asked = {"parent": parent.info.run_id} if parent else {}
            if has.ended:
                asked |= {"state": c.state, "status": run_data.STATUS[c.state], "end": c.ended}
                asked["reason"] = c.reason[: run_data.MOST_IN_TAG]
                asked["params"] = run_data.params_of(c) | {"state": c.state}
            elif told and has.run is not None:
                asked |= {"status": "KILLED", "end": sweep.ended}
            _differ(runs, who, "MLflow", _shown(run), asked)
            if has.ended and epochs:
                files += 2
                artifacts.problems += [f"{who}{p}" for p in _files(mirror, run, sweep, c, epochs, folder)]
    metrics.checked = f"{seen} points, with the ledger to the bit"
    artifacts.checked = f"{files} Parquet files, with the ledger to the bit"


def _shown(run: Run) -> dict[str, Any]:
    tags = {"parent": run_data.PARENT, "state": run_data.STATE, "reason": run_data.REASON, "description": run_data.NOTE}
    shown = {name: run.data.tags.get(tag, "") for name, tag in tags.items()}
    return shown | {"status": run.info.status, "end": run.info.end_time, "params": run.data.params}


def _stored(mirror: mlflow.MlflowMirror, run: Run) -> list[Metric]:
    return [m for key in run.data.metrics for m in mirror.api.get_metric_history(run.info.run_id, key)]


def _files(
    mirror: mlflow.MlflowMirror, run: Run, sweep: Sweep, c: Configuration, epochs: Sequence[Epoch], folder: str
) -> Iterator[str]:
    there = {info.path for info in mirror.api.list_artifacts(run.info.run_id)}
    for file, columns in run_data.tables(sweep, c, epochs).items():
        if file not in there:
            yield f" has no {file}"
            continue
        path = Path(mirror.api.download_artifacts(run.info.run_id, file, folder))
        try:
            if not _same_table(pq.read_table(path), columns):
                yield f": its {file} is not what the ledger has"
        except (pa.ArrowException, OSError) as error:
            yield f": its {file} can't be read: {database.cause(error)}"


def _points_differ(who: str, stored: Sequence[Metric], points: Sequence[Metric], last: int) -> list[str]:
    """What is wrong with the points of one run, at most one line; those up to the step `last` must be there."""
    expected = {(p.key, p.step): (p.timestamp, _bits(p.value)) for p in points}
    there = {(p.key, p.step): (p.timestamp, _bits(p.value)) for p in stored}
    if len(stored) > len(there):
        return [f"{who}: {len(stored) - len(there)} points are there more than once"]
    for (key, step), point in there.items():
        if (key, step) not in expected:
            return [f"{who}: {key} of step {step} is in MLflow, but not in the ledger"]
        if point != expected[key, step]:
            return [f"{who}: {key} of step {step} is not the ledger's"]
    missing = [place for place in expected.keys() - there.keys() if place[1] <= last]
    return [f"{who}: {len(missing)} points are missing, as {missing[0][0]} of step {missing[0][1]}"] if missing else []


def _trials(ledger: Ledger, sweep: Sweep, store: Store, taken: Mapping[int, Taken], law: Law) -> None:
    """Each configuration that has ended is one trial, with the ledger's parameters, values and times."""
    if database.missing(store.optuna_url):
        law.problems += ["Optuna's database is gone"] if taken else []
        return
    there: dict[int, list[FrozenTrial]] = defaultdict(list)
    with closing(optuna.OptunaMirror(store, ledger)) as mirror:
        for phase in optuna.NUMBERS:
            study = mirror.own_study(sweep, phase)
            for trial in study.get_trials(deepcopy=False) if study else ():
                there[trial.user_attrs.get("configuration", SWEEP)].append(trial)
    configurations = {c.number: c for c in ledger.configurations(sweep) if c.extends is None}
    objectives = ledger.objectives(sweep)
    due = {number for number, t in taken.items() if t.ended and number in configurations}
    for number, trial in _single(law, "trials in Optuna", there, configurations.keys(), due).items():
        expected = optuna.trial_of(sweep, configurations[number], objectives.get(number, {}))
        shown, asked = ({name: getattr(t, name) for name in TRIAL} for t in (trial, expected))
        _differ(law, f"configuration {number}", "Optuna", shown, asked)


def _single(law: Law, what: str, there: Mapping[int, list[T]], known: Set[int], due: Set[int]) -> dict[int, T]:
    """The one run or trial of each configuration that is known; none may be there where none is due."""
    law.checked = f"{sum(map(len, there.values()))} {what}"
    word = what.split()[0]
    if strangers := there.keys() - known:
        law.problems.append(f"there are {word} of configurations that the ledger lacks: {_few(sorted(strangers))}")
    for number in sorted(known):
        count = len(there.get(number, ()))
        if count > 1 or (count == 0 and number in due):
            law.problems.append(f"{'the sweep' if number == SWEEP else f'configuration {number}'} has {count} {word}")
    return {number: same[0] for number, same in there.items() if number in known and len(same) == 1}


def _differ(law: Law, who: str, where: str, there: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Add a line for each value that is not the expected one. They are compared as text: there NaN is itself."""
    for name, value in expected.items():
        stored = there.get(name)
        if isinstance(value, dict) and isinstance(stored, dict):
            _differ(law, f"{who}: {name}", where, stored, dict.fromkeys(stored) | value)
        elif repr(stored) != repr(value):
            law.problems.append(f"{who}: {name} is {stored!r} in {where}, not {value!r}")


@contextmanager
def _asked(law: Law, what: str) -> Iterator[None]:
    """A mirror that can't be asked breaks the law."""
    try:
        yield
    except GradsweepError as error:
        law.problems.append(f"{what} can't be asked: {error}")


def _bits(value: float) -> bytes:
    """A number as MLflow keeps it: infinities as the largest number, one NaN."""
    if math.isnan(value):
        return b"NaN"
    return np.float64(min(max(value, -_LARGEST), _LARGEST)).tobytes()


def _same_table(table: pa.Table, columns: tidy.Columns) -> bool:
    """Whether a table has these columns, rows in the same order, to the bit.

    It may lack a metric that was not recorded yet when it was written: a column of nothing but NaN.
    """
    there = [name for name, values in columns.items() if name in table.column_names or not _unknown(values)]
    pairs = [(table[name].to_numpy(), columns[name]) for name in table.column_names if name in columns]
    return table.column_names == there and all(
        stored.dtype == values.dtype and stored.tobytes() == values.tobytes()
        if isinstance(values, np.ndarray)
        else list(stored) == values
        for stored, values in pairs
    )


def _unknown(values: NDArray[Any] | list[Any]) -> bool:
    return isinstance(values, np.ndarray) and values.dtype == np.float64 and bool(np.isnan(values).all())


def _few(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"{shown}, ..." if len(numbers) > 10 else shown or "none"
