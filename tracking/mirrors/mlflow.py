"""MLflow's copy of a sweep: one experiment, a parent run, and under it one run per configuration.

Written through MLflow's public client alone. Repeating a round does no harm: the ledger notes that a run will be made
before, and its id after; metrics carry the ledger's timestamps, so MLflow recognizes a repeated one.
Only what carries the sweep's mark is written into or deleted.

It imports mlflow, which takes more than a second: import it where it is used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from tracking.ledger import Ledger, with_driver
from tracking.mirrors import run_data
from tracking.mirrors.client import (
    Experiment,
    MlflowClient,
    Param,
    Run,
    RunTag,
    connected,
    settings,
    translated,
    untouched,
)
from tracking.store import Store, scratch
from tracking.types import SWEEP, Configuration, Epoch, Sweep, Taken
from trainers.errors import Unavailable, Unmendable
from trainers.files import synchronize

log = logging.getLogger("gradsweep")
NAME = "mlflow"
BATCH = 8  # configurations per round: half a second on SQLite, so that a stopped sweep is soon KILLED in MLflow
MOST_EPOCHS = 150  # per configuration and round
SHARE = 0.1  # of the time for configurations that still run: each of their epochs costs a batch of its own
LINGER = 1.0  # seconds between them at least
_PAGE = 200
_OF_ONE_RUN = {"RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "INVALID_PARAMETER_VALUE"}


class MlflowMirror:
    """See the module. Its methods raise Unavailable or Unmendable, and may be called again after either."""

    name, title = NAME, "MLflow"

    def __init__(self, store: Store, ledger: Ledger, uri: str | None = None) -> None:
        self.problems: dict[int, str] = {}  # what is wrong with single configurations, by number
        self.uri = with_driver(uri or store.mlflow_uri)
        self._store, self._ledger = store, ledger
        self._held = ExitStack()
        self._client: MlflowClient | None = None
        self._experiment: str | None = None
        self._reset()

    def _reset(self) -> None:
        self._doubtful = False  # a run may come into being late
        self._ended: dict[int, Configuration] = {}  # those that the parent's metrics lack
        self._next: int | None = None  # number of the first of them
        self._best: float | None = None
        self._running_again = 0.0  # when configurations that still run are due
        self._looked = False  # whether what the ledger says was written was seen to be there

    @property
    def client(self) -> MlflowClient:
        """MLflow's client, connected at its first use."""
        if self._client is None:
            self._held.enter_context(settings())
            self._client = connected(self.uri)
        return self._client

    @translated()
    def round(self, sweep: Sweep, everything: bool) -> bool:
        """Write a part of what MLflow lacks, and say whether there was any; `everything`: running ones at once."""
        own = self._ledger.taken(sweep, NAME, [SWEEP]).get(SWEEP) or Taken(SWEEP)
        if own.problem and own.run is None:
            return False
        if own.run is not None and not self._looked and self._is_gone(own.run):
            log.warning("MLflow no longer has the runs of %s; writing them again", sweep.name)
            self._ledger.forget(sweep, NAME)
            return True
        self._looked = True
        if not own.problem and (own.run is None or own.epoch < sweep.revision):
            with self._one_run(sweep, own):
                self._begin(sweep, own)
            return True
        pending = self._ledger.pending(sweep, NAME)
        numbers = [number for number, ended in pending if ended]
        if numbers:
            self._send(sweep, own, numbers[:BATCH])
            return True
        if pending and (everything or time.monotonic() >= self._running_again):
            began = time.monotonic()
            self._send(sweep, own, [number for number, _ in pending[:BATCH]])
            spent = time.monotonic() - began
            self._running_again = began + spent + max(LINGER, spent / SHARE)
            return True
        if not pending and sweep.status != "running" and not own.ended and not own.problem:
            with self._one_run(sweep, own):
                self._finish(sweep, own)
            return True
        return False

    def _is_gone(self, run: str) -> bool:
        """Whether MLflow has lost a run: another machine's folder, or a database that was deleted."""
        try:
            with translated():
                self.client.get_run(run)
        except Unmendable as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return True
        return False

    @translated()
    def clear(self, sweep: Sweep) -> None:
        """Delete the runs of this sweep; its experiment stays, with whatever else is in it."""
        experiment = self._own_experiment(sweep)
        while page := next(self._pages(experiment, {run_data.MARK: sweep.mark})):
            for run in page:
                self.client.delete_run(run.info.run_id)
        self.problems.clear()
        self._reset()

    @translated()
    def runs(self, sweep: Sweep) -> list[Run]:
        """The runs of this sweep; none if there is no experiment of its name."""
        experiment = self.client.get_experiment_by_name(sweep.name)
        if experiment is None:
            return []
        return [run for page in self._pages(experiment.experiment_id, {run_data.MARK: sweep.mark}) for run in page]

    def close(self) -> None:
        """The user's settings are as they were."""
        self._held.close()

    def _own_experiment(self, sweep: Sweep) -> str:
        """The id of the sweep's experiment, made where it is missing. Raises Unmendable for somebody else's."""
        there = self.client.get_experiment_by_name(sweep.name)
        note = sweep.question[: run_data.MOST_IN_TAG]
        if there is None:
            # A server knows better where its clients can put artifacts.
            remote = self.uri.startswith(("http://", "https://"))
            place = None if remote else (self._store.artifacts / sweep.name).as_uri()
            tags = {run_data.SWEEP_TAG: sweep.name, run_data.MARK: sweep.mark, run_data.NOTE: note}
            return str(self.client.create_experiment(sweep.name, place, tags))
        if problem := _not_ours(there, sweep.mark):
            raise Unmendable(problem)
        if there.tags.get(run_data.NOTE) != note:
            self.client.set_experiment_tag(there.experiment_id, run_data.NOTE, note)
        return str(there.experiment_id)

    def _begin(self, sweep: Sweep, own: Taken) -> None:
        """The experiment and the parent run as the sweep is now; if it was stopped, that comes first."""
        if own.run is not None and sweep.status == "killed":
            self._stop(sweep, own.run)
        self._experiment = self._own_experiment(sweep)
        if own.run is None:
            own, _ = self._made(sweep, own, run_data.parent_tags(sweep), sweep.name, sweep.begun)
            self._ledger.take(sweep, NAME, [own])
            if sweep.status == "killed":
                self._stop(sweep, str(own.run))
        run, goes_on = str(own.run), sweep.status == "running" and own.epoch >= 0
        if goes_on:
            self.client.update_run(run, "RUNNING")
        if own.epoch < 0:
            params = [Param(key, value[: run_data.MOST_IN_PARAM]) for key, value in sweep.settings.items()]
            self.client.log_batch(run, params=params)
        if sweep.spec:
            self.client.log_text(run, sweep.spec, "spec.yaml")
        if goes_on:
            for child in self._running(sweep):
                with self._one_run(sweep, child):
                    self.client.update_run(str(child.run), "RUNNING")
        self._chart(sweep, run, [])
        self._ledger.take(sweep, NAME, [replace(own, epoch=sweep.revision, ended=False)])

    def _stop(self, sweep: Sweep, run: str) -> None:
        self.client.set_terminated(run, "KILLED", sweep.ended)
        self._stop_running(sweep)

    def _stop_running(self, sweep: Sweep) -> None:
        for child in self._running(sweep):
            with self._one_run(sweep, child):
                self.client.set_terminated(str(child.run), "KILLED", sweep.ended)

    def _running(self, sweep: Sweep) -> list[Taken]:
        """The configurations that have not ended and have a run."""
        running = [c.number for c in self._ledger.configurations(sweep) if c.state == "running"]
        return [t for t in self._ledger.taken(sweep, NAME, running).values() if t.run and not t.problem]

    def _finish(self, sweep: Sweep, own: Taken) -> None:
        run = str(own.run)
        if self._doubtful:
            self._remove_strays(sweep)
        self._stop_running(sweep)
        self._chart(sweep, run, [])
        self.client.set_tag(run, run_data.NOTE, run_data.description(sweep))
        report = self._store.report(sweep.name)
        if report.is_dir():
            self.client.log_artifacts(run, str(report))
        self.client.set_terminated(run, run_data.SWEEP_STATUS[sweep.status], sweep.ended)
        self._ledger.take(sweep, NAME, [replace(own, ended=True)])

    def _send(self, sweep: Sweep, own: Taken, numbers: Sequence[int]) -> None:
        """What MLflow lacks of some configurations; one that it refuses keeps no other waiting."""
        if self._experiment is None:
            self._experiment = self._own_experiment(sweep)
        taken = self._ledger.taken(sweep, NAME, numbers)
        if fresh := [Taken(number, attempted=True) for number in numbers if number not in taken]:
            self._ledger.take(sweep, NAME, fresh)
        ended: list[Configuration] = []
        first, self._next = self._next, None  # what is sent and not charted, for an error in between, is read again
        try:
            for c in self._ledger.configurations(sweep, numbers):
                before = taken.get(c.number, Taken(c.number))
                with self._one_run(sweep, before):
                    tags: Mapping[str, str] = {}
                    if before.run is None:
                        wanted = run_data.child_tags(sweep, str(own.run), c)
                        before, tags = self._made(sweep, before, wanted, run_data.run_name(c), c.started)
                        taken[c.number] = before
                    taken[c.number] = self._sent(sweep, before, c, tags)
                    ended += [c] if taken[c.number].ended else []
        finally:
            self._ledger.take(sweep, NAME, [t for t in taken.values() if t.number not in self.problems])
        self._next = first
        if own.run is not None and not own.problem:
            with self._one_run(sweep, own):
                self._chart(sweep, own.run, ended)

    def _sent(self, sweep: Sweep, before: Taken, c: Configuration, has: Mapping[str, str]) -> Taken:
        """Write what a run, which has these tags, lacks: its epochs in one batch, and its end with the last of them."""
        run, whole = str(before.run), c.state != "running"
        epochs = [e for _, e in self._ledger.epochs(sweep, [c.number], after=-1 if whole else before.epoch)]
        lacking = [e for e in epochs if e.epoch > before.epoch]
        complete = whole and len(lacking) <= MOST_EPOCHS
        lacking = lacking[:MOST_EPOCHS]
        params = run_data.params_of(c) if before.epoch < 0 else {}
        tags: dict[str, str] = {}
        if complete:
            params["state"] = c.state
            tags = {run_data.STATE: c.state, run_data.REASON: c.reason[: run_data.MOST_IN_TAG]}
            tags = {key: value for key, value in tags.items() if has.get(key, "") != value}
        if complete:
            # First: to find the artifacts' place MLflow reads all that the run has.
            self._log_records(sweep, before, c, epochs)
        self.client.log_batch(
            run,
            run_data.metrics_of(lacking),
            [Param(key, value) for key, value in params.items()],
            [RunTag(key, value) for key, value in tags.items()],
        )
        if complete:
            self.client.set_terminated(run, run_data.STATUS[c.state], c.ended)
        elif not whole and sweep.status != "running":
            self.client.set_terminated(run, "KILLED", sweep.ended)
        return replace(before, epoch=lacking[-1].epoch if lacking else before.epoch, ended=complete)

    def _log_records(self, sweep: Sweep, taken: Taken, c: Configuration, epochs: Sequence[Epoch]) -> None:
        """The Parquet files; where the artifacts are a folder here, they are on the disk then."""
        if not epochs:
            return
        with scratch(self._store.outgoing(sweep.name)) as folder:
            for file, columns in run_data.tables(sweep, c, epochs).items():
                # Dictionaries and statistics would cost more than the data.
                pq.write_table(pa.table(columns), folder / file, use_dictionary=False, write_statistics=False)
            self.client.log_artifacts(str(taken.run), str(folder))
            parts = urlsplit(str(taken.place))
            if parts.scheme in ("", "file"):
                for path in folder.iterdir():
                    synchronize(Path(unquote(parts.path)) / path.name)

    def _chart(self, sweep: Sweep, run: str, ended: Sequence[Configuration]) -> None:
        """The objective by configuration, and the best so far: as soon as all with lower numbers have ended."""
        if self._next is None:
            ended = [c for c in self._ledger.configurations(sweep) if c.state != "running"]
            self._next, self._best = 0, None
        self._ended |= {c.number: c for c in ended if c.number >= self._next}
        metrics, place, best = run_data.chart(sweep, self._ended, self._next, self._best)
        self.client.log_batch(run, metrics)
        self._ended = {number: c for number, c in self._ended.items() if number >= place}
        self._next, self._best = place, best

    def _made(
        self, sweep: Sweep, before: Taken, tags: Mapping[str, str], name: str, started: int
    ) -> tuple[Taken, Mapping[str, str]]:
        """A run for what has none, with its tags; where one was attempted before, look whether it is there."""
        assert self._experiment is not None
        run = None
        if before.attempted:
            own = {key: tags[key] for key in (run_data.MARK, run_data.KIND, run_data.NUMBER) if key in tags}
            run = next(iter(next(self._pages(self._experiment, own))), None)
            # An earlier request may still be on its way, through a slow server.
            self._doubtful |= run is None
        elif before.number == SWEEP:
            self._ledger.take(sweep, NAME, [replace(before, attempted=True)])
        if run is None:
            run = self.client.create_run(self._experiment, started, dict(tags), name)
        return replace(before, attempted=True, run=run.info.run_id, place=run.info.artifact_uri), run.data.tags

    def _remove_strays(self, sweep: Sweep) -> None:
        """Delete the runs that appeared after another had been made in their place."""
        known = {taken.run for taken in self._ledger.taken(sweep, NAME).values()}
        for run in self.runs(sweep):
            if run.info.run_id not in known:
                self.client.delete_run(run.info.run_id)

    def _pages(self, experiment: str, tags: Mapping[str, str]) -> Iterator[list[Run]]:
        """All runs with these tags."""
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        token = None
        while True:
            page = self.client.search_runs([experiment], query, max_results=_PAGE, page_token=token)
            yield list(page)
            if not (token := page.token):
                return

    @contextmanager
    def _one_run(self, sweep: Sweep, taken: Taken) -> Iterator[None]:
        """What is refused in this block concerns this run alone, unless the experiment is gone."""
        try:
            with translated():
                yield
            self.problems.pop(taken.number, None)
        except Unmendable as error:
            if error.code not in _OF_ONE_RUN:
                raise
            self._own_experiment(sweep)
            self.problems[taken.number] = str(error)
            latest = self._ledger.taken(sweep, NAME, [taken.number]).get(taken.number, taken)
            self._ledger.take(sweep, NAME, [replace(latest, problem=str(error))])


def taken_name(store: Store, name: str, uri: str | None) -> str | None:
    """Why a new sweep can't have this name in MLflow, None where it can or nobody answers."""
    if untouched(store, uri):
        return None
    try:
        with settings(timeout=5), translated():
            experiment = connected(with_driver(uri or store.mlflow_uri)).get_experiment_by_name(name)
    except (Unavailable, Unmendable):
        return None
    return None if experiment is None else _not_ours(experiment, None)


def _not_ours(experiment: Experiment, mark: str | None) -> str | None:
    """Why a sweep with this mark can't write into an experiment."""
    deleted = experiment.lifecycle_stage != "active"
    if mark is None or experiment.tags.get(run_data.MARK) != mark:
        if deleted:
            return f"a deleted MLflow experiment still has the name {experiment.name!r}; choose another with --name"
        return (
            f"an MLflow experiment named {experiment.name!r} that is not this sweep's is there; "
            "choose another name with --name"
        )
    if deleted:
        restore = f"mlflow experiments restore -x {experiment.experiment_id}"
        return f"the MLflow experiment {experiment.name!r} is deleted; to restore it: {restore}"
    return None
