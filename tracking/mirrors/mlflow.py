"""MLflow's copy of a sweep: one experiment, a parent run, and under it one run per configuration.

Written through MLflow's public client alone. Repeating a round does no harm: the ledger notes that a run will be made
before, and its id after; metrics carry the ledger's timestamps, so MLflow recognizes a repeated one. Where the ledger
knows of no run, those of a former time are deleted first.
Only what carries the sweep's mark is written into or deleted.

It imports mlflow, which takes more than a second: import it where it is used.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from tracking import database
from tracking.ledger import Ledger
from tracking.mirrors import client, run_data
from tracking.store import Store, scratch, without_password
from tracking.types import SWEEP, Configuration, Epoch, Sweep, Taken
from trainers.errors import Unavailable, Unmendable
from trainers.files import synchronize

log = logging.getLogger("gradsweep")
NAME = "mlflow"
BATCH = 8  # configurations per round at most: half a second on SQLite, and eight on a server that has no time
MOST_EPOCHS = 150  # per configuration and round
SHARE = 0.1  # of the time for configurations that still run: each of their epochs costs a batch of its own
LINGER = 1.0  # seconds between them at least
_PAGE = 200
STOPPED = ("killed", "failed")  # which MLflow is told before anything else
_OF_ONE_RUN = {"RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "INVALID_PARAMETER_VALUE"}


class MlflowMirror:
    """See the module. Its methods raise Unavailable or Unmendable, and may be called again after either."""

    name, title = NAME, "MLflow"

    def __init__(self, store: Store, ledger: Ledger, uri: str | None = None) -> None:
        self._uri = uri or store.mlflow_uri
        self._store, self._ledger = store, ledger
        self._held = ExitStack()
        self._api: client.MlflowClient | None = None
        self._experiment: str | None = None
        self._doubtful = False  # a run may come into being late
        self._charted: tuple[int, float | None] = 0, None  # the first number that the parent lacks, the best before it
        self._running_again = 0.0  # when configurations that still run are due

    @property
    def api(self) -> client.MlflowClient:
        """MLflow's client, connected at its first use."""
        if self._api is None:
            self._held.enter_context(client.settings())
            self._api = client.connected(self._uri)
        return self._api

    @client.translated()
    def round(self, sweep: Sweep, everything: bool, late: Callable[[], bool] = lambda: False) -> bool:
        """Write a part of what MLflow lacks, and say whether there was any; `everything`: running ones at once.

        It ends early where the sweep has changed, or once it is `late`.
        """
        own = self._ledger.taken(sweep, NAME, [SWEEP]).get(SWEEP, Taken(SWEEP))
        if own.problem and own.run is None:
            return False
        if self._experiment is None:
            if own.run is not None and self._is_gone(own.run):
                log.warning("MLflow no longer has the runs of %s; writing them again", sweep.name)
                self._ledger.forget(sweep, NAME)
                return True
            self._experiment = self._own_experiment(sweep)
            log.info("MLflow: %s", self._link(self._experiment))
        if not own.problem and own.epoch < sweep.revision:
            with self._one_run(sweep, SWEEP):
                self._begin(sweep, own)
            return True
        pending = self._ledger.pending(sweep, NAME)
        if numbers := [number for number, ended in pending if ended]:
            all_sent = self._send(sweep, str(own.run), numbers[:BATCH], late)
            if all_sent and len(numbers) <= BATCH and not own.problem:
                with self._one_run(sweep, SWEEP):
                    self._chart(sweep, str(own.run))
            return True
        if pending and (everything or time.monotonic() >= self._running_again):
            began = time.monotonic()
            self._send(sweep, str(own.run), [number for number, _ in pending[:BATCH]], late)
            spent = time.monotonic() - began
            self._running_again = began + spent + max(LINGER, spent / SHARE)
            return True
        if not pending and sweep.status != "running" and not own.ended and not own.problem:
            with self._one_run(sweep, SWEEP):
                self._finish(sweep, own)
            return True
        return False

    def _is_gone(self, run: str) -> bool:
        """Whether MLflow has lost a run: another machine's folder, or a database that was deleted."""
        try:
            with client.translated():
                self.api.get_run(run)
        except Unmendable as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return True
        return False

    @client.translated()
    def runs(self, sweep: Sweep, **tags: str) -> list[client.Run]:
        """The runs of this sweep, or those with these tags as well; none if there is no experiment of its name."""
        experiment = self._experiment
        if experiment is None:
            if (there := self.api.get_experiment_by_name(sweep.name)) is None:
                return []
            experiment = there.experiment_id
        return list(self._runs_in(experiment, {run_data.MARK: sweep.mark} | tags))

    def _runs_in(
        self, experiment: str, tags: Mapping[str, str], view: int = client.ViewType.ACTIVE_ONLY
    ) -> Iterator[client.Run]:
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        token = None
        while True:
            page = self.api.search_runs([experiment], query, view, max_results=_PAGE, page_token=token)
            yield from page
            if not (token := page.token):
                return

    @client.translated()
    def delete(self, sweep: Sweep) -> list[str]:
        """Delete the sweep's experiment, with what is in the store's folder of artifacts: its name, if it was there.

        MLflow keeps what is deleted until `mlflow gc`, and with it the name: so the experiment gets another one first.
        Raises Unmendable, before anything is deleted, where somebody has runs of their own in it.
        """
        if database.missing(self._uri):
            return []
        query = f"tags.`{run_data.MARK}` = '{sweep.mark}'"
        names, gone = [], f"{sweep.name} (deleted, {sweep.mark[:8]})"
        for experiment in self.api.search_experiments(client.ViewType.ALL, filter_string=query):
            own, stage = experiment.experiment_id, experiment.lifecycle_stage
            if experiment.name != gone or stage == "active":
                foreign = [
                    run.info.run_name
                    for run in self._runs_in(own, {}, client.ViewType.ALL)
                    if run.data.tags.get(run_data.MARK) != sweep.mark
                ]
                if foreign:
                    raise Unmendable(
                        f"the MLflow experiment {experiment.name!r} also has runs that are not the sweep's "
                        f"({', '.join(map(str, foreign[:3]))}{', ...' * (len(foreign) > 3)}): move or delete them first"
                    )
                if stage != "active":
                    self.api.restore_experiment(own)
                if experiment.name != gone:
                    self.api.rename_experiment(own, gone)
                self.api.delete_experiment(own)
                names.append(experiment.name)
            artifacts = self._store.artifacts / sweep.name
            if experiment.artifact_location == artifacts.as_uri():
                shutil.rmtree(artifacts, ignore_errors=True)
        return names

    def close(self) -> None:
        """The user's settings are as they were."""
        self._held.close()

    def _link(self, experiment: str) -> str:
        """Where to look at an experiment in a browser: its page, or what serves it."""
        if self._uri.startswith(client.SERVERS):
            # Without its last part MLflow shows what it has for language models.
            page = f"{self._uri.rstrip('/')}/#/experiments/{experiment}/runs?workflowType=machine_learning"
            return without_password(page)
        return shlex.join(["gradsweep", "ui", "--store", str(self._store.where)])

    def _own_experiment(self, sweep: Sweep) -> str:
        """The id of the sweep's experiment, made where it is missing. Raises Unmendable for somebody else's."""
        there = self.api.get_experiment_by_name(sweep.name)
        note = sweep.question[: run_data.MOST_IN_TAG]
        if there is None:
            # A server knows better where its clients can put artifacts.
            place = None if self._uri.startswith(client.SERVERS) else (self._store.artifacts / sweep.name).as_uri()
            tags = {run_data.SWEEP_TAG: sweep.name, run_data.MARK: sweep.mark, run_data.NOTE: note}
            return str(self.api.create_experiment(sweep.name, place, tags))
        if problem := _not_ours(there, sweep.mark, self._uri):
            raise Unmendable(problem)
        if there.tags.get(run_data.NOTE) != note:
            self.api.set_experiment_tag(there.experiment_id, run_data.NOTE, note)
        return str(there.experiment_id)

    def _begin(self, sweep: Sweep, own: Taken) -> None:
        """The parent run as the sweep is now; if it was stopped, that comes first."""
        if own.run is None:
            if not own.attempted:
                self._remove_strays(sweep)
                self._ledger.take(sweep, NAME, [replace(own, attempted=True)])
            own, _ = self._made(sweep, own, run_data.parent_tags(sweep), sweep.name, sweep.begun)
            self._ledger.take(sweep, NAME, [own])
        run, goes_on = str(own.run), sweep.status == "running" and own.epoch >= 0
        if sweep.status in STOPPED:
            self.api.set_terminated(run, run_data.SWEEP_STATUS[sweep.status], sweep.ended)
            self._tell_running(sweep)
        elif goes_on:
            self.api.update_run(run, "RUNNING")
            self._tell_running(sweep, goes_on)
        if own.epoch >= 0:
            self._describe(sweep, run)
        else:
            params = [client.Param(key, value[: run_data.MOST_IN_PARAM]) for key, value in sweep.settings.items()]
            self.api.log_batch(run, params=params)
        if sweep.spec:
            self.api.log_text(run, sweep.spec, "spec.yaml")
        self._chart(sweep, run)
        self._ledger.take(sweep, NAME, [replace(own, epoch=sweep.revision, ended=False)])

    def _describe(self, sweep: Sweep, run: str) -> None:
        """What its users say of the sweep, where that has changed."""
        has, wanted = self.api.get_run(run).data.tags, run_data.remarks(sweep)
        for key in run_data.REMARKS:
            if wanted.get(key, "") != has.get(key, ""):
                self.api.set_tag(run, key, wanted[key]) if key in wanted else self.api.delete_tag(run, key)

    def _tell_running(self, sweep: Sweep, goes_on: bool = False) -> None:
        """The runs whose ends have not been written go on, or are stopped with the sweep."""
        for taken in self._ledger.taken(sweep, NAME).values():
            if taken.number == SWEEP or taken.run is None or taken.ended or taken.problem:
                continue
            with self._one_run(sweep, taken.number):
                if goes_on:
                    self.api.update_run(taken.run, "RUNNING")
                else:
                    self.api.set_terminated(taken.run, "KILLED", sweep.ended)

    def _finish(self, sweep: Sweep, own: Taken) -> None:
        run = str(own.run)
        if self._doubtful:
            self._remove_strays(sweep)
        if sweep.status not in STOPPED:  # they were told when it began to be
            self._tell_running(sweep)
        self._chart(sweep, run)
        self.api.set_tag(run, run_data.NOTE, run_data.description(sweep))
        report = self._store.report(sweep.name)
        if report.is_dir():
            self.api.log_artifacts(run, str(report))
        self.api.set_terminated(run, run_data.SWEEP_STATUS[sweep.status], sweep.ended)
        self._ledger.take(sweep, NAME, [replace(own, ended=True)])

    def _send(self, sweep: Sweep, parent: str, numbers: Sequence[int], late: Callable[[], bool]) -> bool:
        """Send what MLflow lacks of some configurations; one that it refuses keeps no other waiting.

        Whether all was sent: it ends after any of them once the sweep has changed, as by a stop, or it is `late`.
        """
        taken = self._ledger.taken(sweep, NAME, numbers)
        sent: list[Taken] = []
        try:
            for c in self._ledger.configurations(sweep, numbers):
                if c.number != numbers[0] and (late() or self._ledger.sweep(sweep.name).revision != sweep.revision):
                    return False
                before = taken.get(c.number, Taken(c.number))
                if c.number not in taken:
                    self._ledger.take(sweep, NAME, [*sent, replace(before, attempted=True)])
                    sent.clear()
                with self._one_run(sweep, c.number):
                    sent.append(self._sent(sweep, parent, c, before))
            return True
        finally:
            self._ledger.take(sweep, NAME, sent)

    def _sent(self, sweep: Sweep, parent: str, c: Configuration, before: Taken) -> Taken:
        """Write what a run lacks, which is made first: its epochs in one batch, and its end with the last of them."""
        has: Mapping[str, str] = {}
        if before.run is None:
            wanted = run_data.child_tags(sweep, parent, c)
            before, has = self._made(sweep, before, wanted, run_data.run_name(c), c.started)
        run, ended = str(before.run), c.state != "running"
        epochs = [e for _, e in self._ledger.epochs(sweep, [c.number], after=-1 if ended else before.epoch)]
        lacking = [e for e in epochs if e.epoch > before.epoch]
        complete, lacking = ended and len(lacking) <= MOST_EPOCHS, lacking[:MOST_EPOCHS]
        params = run_data.params_of(c) if before.epoch < 0 else {}
        tags: dict[str, str] = {}
        if complete:
            params["state"] = c.state
            tags = {run_data.STATE: c.state, run_data.REASON: c.reason[: run_data.MOST_IN_TAG]}
            # First: to find the artifacts' place MLflow reads all that the run has.
            self._log_records(sweep, before, c, epochs)
        self.api.log_batch(
            run,
            run_data.metrics_of(lacking),
            [client.Param(key, value) for key, value in params.items()],
            [client.RunTag(key, value) for key, value in tags.items() if has.get(key, "") != value],
        )
        if complete:
            self.api.set_terminated(run, run_data.STATUS[c.state], c.ended)
        elif not ended and sweep.status != "running":
            self.api.set_terminated(run, "KILLED", sweep.ended)
        return replace(before, epoch=lacking[-1].epoch if lacking else before.epoch, ended=complete)

    def _log_records(self, sweep: Sweep, taken: Taken, c: Configuration, epochs: Sequence[Epoch]) -> None:
        """The Parquet files; where the artifacts are a folder here, they are on the disk then."""
        if not epochs:
            return
        with scratch(self._store.outgoing(sweep.name)) as folder:
            for file, columns in run_data.tables(sweep, c, epochs).items():
                # Dictionaries and statistics would cost more than the data.
                pq.write_table(pa.table(columns), folder / file, use_dictionary=False, write_statistics=False)
            self.api.log_artifacts(str(taken.run), str(folder))
            parts = urlsplit(str(taken.place))
            if parts.scheme in ("", "file"):
                for path in folder.iterdir():
                    synchronize(Path(unquote(parts.path)) / path.name)

    def _chart(self, sweep: Sweep, run: str) -> None:
        """The objective by configuration, and the best so far: as soon as all with lower numbers have ended."""
        since = self._ledger.configurations(sweep, since=self._charted[0])
        metrics, charted = run_data.chart(sweep, since, self._charted)
        self.api.log_batch(run, metrics)
        self._charted = charted

    def _made(
        self, sweep: Sweep, before: Taken, tags: Mapping[str, str], name: str, started: int
    ) -> tuple[Taken, Mapping[str, str]]:
        """A run for what has none, with its tags; where one was attempted before, look whether it is there."""
        there: list[client.Run] = []
        if before.attempted:
            there = self.runs(sweep, **{key: tags[key] for key in (run_data.KIND, run_data.NUMBER) if key in tags})
            # An earlier request may still be on its way, through a slow server.
            self._doubtful |= not there
        run = there[0] if there else self.api.create_run(str(self._experiment), started, dict(tags), name)
        return replace(before, attempted=True, run=run.info.run_id, place=run.info.artifact_uri), run.data.tags

    def _remove_strays(self, sweep: Sweep) -> None:
        """Delete the sweep's runs that the ledger does not know of: all of them, where they are to be made anew."""
        known = {taken.run for taken in self._ledger.taken(sweep, NAME).values()}
        for run in self.runs(sweep):
            if run.info.run_id not in known:
                self.api.delete_run(run.info.run_id)

    @contextmanager
    def _one_run(self, sweep: Sweep, number: int) -> Iterator[None]:
        """What is refused in this block concerns this run alone, unless the experiment is gone."""
        try:
            with client.translated():
                yield
        except Unmendable as error:
            if error.code not in _OF_ONE_RUN:
                raise
            self._own_experiment(sweep)
            taken = self._ledger.taken(sweep, NAME, [number]).get(number, Taken(number))
            self._ledger.take(sweep, NAME, [replace(taken, problem=str(error))])


def taken_name(store: Store, name: str, uri: str | None) -> str | None:
    """Why a new sweep can't have this name in MLflow, None where it can or nobody answers."""
    if database.missing(uri or store.mlflow_uri):
        return None
    try:
        with client.settings(timeout=5), client.translated():
            experiment = client.connected(uri or store.mlflow_uri).get_experiment_by_name(name)
    except (Unavailable, Unmendable):
        return None
    return None if experiment is None else _not_ours(experiment, None, uri or store.mlflow_uri)


def _not_ours(experiment: client.Experiment, mark: str | None, uri: str) -> str | None:
    """Why a sweep with this mark can't write into an experiment of the MLflow at `uri`."""
    name, deleted = experiment.name, experiment.lifecycle_stage != "active"
    if mark is not None and experiment.tags.get(run_data.MARK) == mark:
        place = shlex.quote(without_password(uri))
        restore = f"MLFLOW_TRACKING_URI={place} mlflow experiments restore -x {experiment.experiment_id}"
        return f"the MLflow experiment {name!r} is deleted; to restore it: {restore}" if deleted else None
    if deleted:
        return f"a deleted MLflow experiment still has the name {name!r}; choose another with --name"
    return f"an MLflow experiment named {name!r} that is not this sweep's is there; choose another name with --name"
