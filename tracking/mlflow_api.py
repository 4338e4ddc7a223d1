"""All that is said to MLflow, and in whose words it fails: a later try may mend it, or none can.

It imports mlflow, which takes more than a second: import it where it is used.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainers.errors import Unavailable, Unmendable

# Before mlflow is imported. Its own retries would keep the thread for minutes; ours can be interrupted. It prints
# where a run can be seen to standard output, which is not its own.
for name, value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}.items():
    os.environ.setdefault(name, value)

from mlflow.entities import Experiment, Metric, Param, Run, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402
from mlflow.utils.credentials import get_default_host_creds  # noqa: E402
from mlflow.utils.rest_utils import http_request, http_request_safe  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

from tracking import mlflow_sqlite  # noqa: E402
from tracking.files import synchronize  # noqa: E402
from tracking.mlflow_postgres import PostgresWriter  # noqa: E402
from tracking.runs import RunUpdate  # noqa: E402
from tracking.store import Store  # noqa: E402

_SQLITE, _POSTGRES = "sqlite:///", ("postgresql:", "postgresql+psycopg:")
# The more runs go into one transaction of ours, the less there is to write. A server is told of one at a time, so
# that what it has taken counts.
_AT_ONCE = 32
_PAGE = 200
# Of a round: a row takes 200 bytes of memory until it is written. A busy server takes some hundred a second, and what
# it has taken counts at the round's end: it must come before anybody's patience ends.
_MOST_ROWS = 60_000
_MOST_ROWS_OF_A_SERVER = 5_000
_UNMENDABLE = {
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "CUSTOMER_UNAUTHORIZED",
    "RESOURCE_DOES_NOT_EXIST",
    "ENDPOINT_NOT_FOUND",
    "NOT_FOUND",
    "INVALID_STATE",
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "FEATURE_DISABLED",
}
_OF_ONE_RUN = {"RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "INVALID_PARAMETER_VALUE"}

for logger in ("mlflow.store.db.utils", "alembic"):
    logging.getLogger(logger).setLevel(logging.CRITICAL if logger.startswith("mlflow") else logging.WARNING)


class Tracker:
    """One tracking URI. Its methods raise Unavailable or Unmendable, and may be called again after either.

    `at_once` is how many runs are best written together, `most_rows` how many metrics of them.
    """

    def __init__(self, store: Store, uri: str | None = None) -> None:
        """Opens, and makes what is missing of a database; a server is not asked yet."""
        self.uri = uri or store.mlflow_uri
        self._store = store
        self._writer: mlflow_sqlite.SqliteWriter | PostgresWriter | None = None
        with _translated():
            if self.uri.startswith(_SQLITE):
                file = Path(self.uri.removeprefix(_SQLITE))
                mlflow_sqlite.prepare(file, store.artifacts)
                self._writer = mlflow_sqlite.SqliteWriter.opened(file)
            elif self.uri.startswith(_POSTGRES):
                # Before MLflow, which would try for minutes to reach a server that is not there.
                self._writer = PostgresWriter.opened(self.uri)
            # Makes a database's tables where they are missing.
            self._client = MlflowClient(self.uri, registry_uri=self.uri)
            if self.uri.startswith(_POSTGRES) and self._writer is None:
                self._writer = PostgresWriter.opened(self.uri)
            self.at_once = _AT_ONCE if self._writer else 1
            self.most_rows = _MOST_ROWS if self._writer else _MOST_ROWS_OF_A_SERVER

    def experiment(self, name: str) -> str:
        """The id of a sweep's experiment, which is created where it is missing."""
        # A server knows better where its clients can put artifacts.
        remote = self.uri.startswith(("http://", "https://"))
        place = None if remote else (self._store.artifacts / name).as_uri()
        with _translated():
            found = self._client.get_experiment_by_name(name)
            if found is None:
                return str(self._client.create_experiment(name, artifact_location=place))
        if found.lifecycle_stage != "active":
            raise Unmendable(
                f"the MLflow experiment {name!r} is deleted: `mlflow experiments restore -x {found.experiment_id}`"
            )
        return str(found.experiment_id)

    def find(self, experiment: str, tags: Mapping[str, str]) -> tuple[str, str] | None:
        """(id, place of the artifacts) of the run with these tags."""
        with _translated():
            runs = self._client.search_runs([experiment], _filter(tags), ViewType.ACTIVE_ONLY, max_results=1)
        return (runs[0].info.run_id, runs[0].info.artifact_uri) if runs else None

    def runs(self, experiment: str, tags: Mapping[str, str]) -> Iterator[Run]:
        """All runs with these tags."""
        token = None
        while True:
            with _translated():
                page = self._client.search_runs([experiment], _filter(tags), max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def experiments(self) -> list[Experiment]:
        """All experiments."""
        found: list[Experiment] = []
        token = None
        while True:
            with _translated():
                page = self._client.search_experiments(page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def experiment_named(self, name: str) -> Experiment | None:
        """An experiment, None where there is none."""
        with _translated():
            return self._client.get_experiment_by_name(name)

    def history(self, runs: Sequence[str], key: str) -> Iterator[tuple[str, int, int, float]]:
        """(run, step, timestamp, value) of a metric of several runs of a server, in one request."""
        with _translated():
            answer = http_request_safe(  # type: ignore[no-untyped-call]
                get_default_host_creds(self.uri),  # type: ignore[no-untyped-call]
                "/ajax-api/2.0/mlflow/metrics/get-history-bulk",
                "GET",
                params={"run_id": list(runs), "metric_key": key},
            )
            found = answer.json()["metrics"]
        for m in found:
            yield m["run_id"], int(m["step"]), int(m["timestamp"]), float(m["value"])

    def fetch(self, artifacts: str, name: str, folder: Path) -> Path | None:
        """A file of a run's artifacts: its copy in a folder, or the file itself; None where the run has none."""
        folder.mkdir(exist_ok=True)
        with _translated():
            repository = get_artifact_repository(artifacts, tracking_uri=self.uri)
            if not any(info.path == name for info in repository.list_artifacts()):
                return None
            return Path(repository.download_artifacts(name, str(folder)))  # type: ignore[no-untyped-call]

    def create(self, experiment: str, name: str, started: int, tags: Mapping[str, str]) -> tuple[str, str]:
        """A new run: (id, place of the artifacts)."""
        with _translated():
            run = self._client.create_run(experiment, started, dict(tags), run_name=name[:250])
        return run.info.run_id, run.info.artifact_uri

    def log_file(self, artifacts: str, file: Path) -> None:
        """Copy a file to a run's artifacts; where they are a folder here, it is on the disk then."""
        with _translated():
            repository = get_artifact_repository(artifacts, tracking_uri=self.uri)
            repository.log_artifact(str(file))  # type: ignore[no-untyped-call]
            if isinstance(repository, LocalArtifactRepository):
                synchronize(Path(repository.artifact_dir) / file.name)

    def log_folder(self, artifacts: str, folder: Path) -> None:
        """Copy all that is in a folder to a run's artifacts."""
        with _translated():
            repository = get_artifact_repository(artifacts, tracking_uri=self.uri)
            repository.log_artifacts(str(folder))  # type: ignore[no-untyped-call]

    def write(self, updates: Sequence[RunUpdate]) -> dict[str, str]:
        """Write all of it; run -> what is wrong with it, for runs that can't be written.

        Metrics that are there already are not written again, so this may be repeated.
        """
        with _translated():
            if self._writer is not None:
                return self._writer.write(updates)
        wrong = {}
        for update in updates:
            try:
                with _translated():
                    self._write_one(update)
            except Unmendable as error:
                if error.code not in _OF_ONE_RUN:
                    raise
                wrong[update.run] = str(error)
        return wrong

    def reopen(self, run: str) -> None:
        """A run that had ended goes on."""
        with _translated():
            self._client.update_run(run, status="RUNNING")

    def delete(self, run: str) -> None:
        """Put a run away, as MLflow does: it can be restored."""
        with _translated():
            self._client.delete_run(run)

    def close(self) -> None:
        """Give the database back."""
        if isinstance(self._writer, mlflow_sqlite.SqliteWriter):
            self._writer.close()

    def _write_one(self, update: RunUpdate) -> None:
        metrics = [
            Metric(key, value, at, step)
            for s in update.series
            for step, at, line in zip(s.steps, s.timestamps, s.values.tolist(), strict=True)
            for key, value in zip(s.keys, line, strict=True)
        ]
        params = [Param(key, value) for key, value in update.params.items()]
        tags = [RunTag(key, value) for key, value in update.tags.items()]
        if metrics or params or tags:
            self._client.log_batch(update.run, metrics, params, tags, synchronous=True)
        if update.status is not None:
            self._client.set_terminated(update.run, update.status, update.ended)


def first_answer(uri: str, seconds: float) -> tuple[int, str, str] | None:
    """(status, its words, text) of what a server says to a first question; None where it does not answer in time."""
    try:
        answer = http_request(  # type: ignore[no-untyped-call]
            get_default_host_creds(uri),  # type: ignore[no-untyped-call]
            "/api/2.0/mlflow/experiments/search",
            "GET",
            params={"max_results": 1},
            timeout=seconds,
            raise_on_status=False,
        )
    except MlflowException:
        return None
    return answer.status_code, answer.reason, answer.text


def _filter(tags: Mapping[str, str]) -> str:
    return " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())


@contextmanager
def _translated() -> Iterator[None]:
    """Whatever goes wrong as one of two kinds of error, in one line."""
    try:
        yield
    except (Unavailable, Unmendable):
        raise
    except MlflowException as error:
        if error.error_code in _UNMENDABLE:
            raise Unmendable(_line(error), error.error_code) from None
        raise Unavailable(_line(error)) from None
    except SQLAlchemyError as error:
        raise Unavailable(_line(getattr(error, "orig", None) or error)) from None
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(_line(error)) from None


def _line(error: BaseException) -> str:
    lines: Any = str(error).strip().splitlines() or [type(error).__name__]
    return f"MLflow: {lines[0][:500]}"
