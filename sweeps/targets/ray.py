"""A Ray cluster as a target, through its Jobs API: `--to http://HEAD:8265`.

The sweep's name is the job's submission id; a sweep that is resumed is a new job, NAME.2, NAME.3 and so on, since Ray
gives an id once. The job's metadata hold the spec and the store, so that it can be submitted again from anywhere. Code,
spec and store file are sent with it, passwords never: the driver reads them on the cluster's head, from the environment
or the files that the store file names.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

from ray.job_submission import JobStatus

from sweeps.driver.deletion import Deleted
from sweeps.driver.versions import git_commit
from sweeps.store_file import names_a_file, parse_store, read_text
from sweeps.targets.output import last_line, last_words, message, split_lines
from sweeps.targets.ray_jobs import connect, speaking
from sweeps.targets.target import (
    READY_LINE,
    RESUME_COMMAND,
    SYNC_COMMAND,
    UI_COMMAND,
    Submitted,
    SweepStatus,
    commands,
    recorded,
    refuse_dry_run,
    wait_until,
    with_next,
    with_records,
)
from tracking.store import VARIABLE
from trainers import plugins
from trainers.errors import FAILED, WRONG_REQUEST, TargetError

POLL_SECONDS = 0.5
READY_SECONDS = 90.0  # a cluster that starts machines takes longer; then the job continues without being waited for
DELETE_SECONDS = 600.0
STOP_SECONDS = 30  # for the driver, see RAY_JOB_STOP_WAIT_TIME_S; Ray's own 3 are too few
LARGEST = 100_000  # bytes of spec and store, which are in the driver's environment too
FIRST_LINE = "Runtime env is setting up."
SPEC_FILE, STORE_FILE = "spec.yaml", "store.yaml"
MARK = {"gradsweep", "attempt", "spec", "folder", "store"}  # the metadata of a job of ours
NO_SWEEP = "gradsweep: there is no sweep named"  # as the driver says it
PACKAGES = ("sweeps", "trainers", "search_spaces", "tracking")
NOT_SENT = shutil.ignore_patterns("__pycache__", "*.c", "*.h", "*.md")
STATES = {
    JobStatus.PENDING: "starting",
    JobStatus.RUNNING: "running",
    JobStatus.STOPPED: "stopped",
    JobStatus.SUCCEEDED: "finished",
    JobStatus.FAILED: "failed",
}


class RayTarget:
    """See the module, and sweeps.targets.target.Target.

    Raises TargetError where the cluster does not answer, refuses us or is of another version.
    """

    def __init__(self, address: str, store: str | None, pool: Path | None) -> None:
        self._to = address.rstrip("/")
        self._store = store if store is not None else os.environ.get(VARIABLE)
        self._client = connect(self._to)

    def submit(self, name: str, spec: str, resume: bool = False, dry_run: bool = False) -> Submitted:
        refuse_dry_run(dry_run)
        documents = {"spec": spec, "folder": "", "store": ""}
        if not self._store:
            raise TargetError(
                "--store: says where the records of a sweep on a cluster go: a store file with the keys ledger, mlflow "
                "and folder, or an absolute path on its head"
            )
        if names_a_file(self._store):
            file = Path(self._store).expanduser().absolute()
            documents["store"] = read_text(file)
            parse_store(documents["store"], file)
        elif Path(self._store).is_absolute():
            documents["folder"] = self._store
        else:
            raise TargetError(f"--store {self._store}: on a cluster it must be a store file or an absolute path")
        return self._submit(name, documents, resume)

    def list(self) -> Sequence[SweepStatus]:
        by_sweep = _by_sweep(self._listed())
        return [_status_of(attempts[-1]) for jobs in by_sweep.values() if (attempts := _attempts(jobs))]

    def status(self, name: str) -> SweepStatus:
        job = self._job(name)
        with speaking(self._to):
            line = last_line(split_lines([self._output(job.submission_id)]))
        status = with_records(replace(_status_of(job), last_line=line), recorded(name, self._store))
        return with_next(status, self._to)

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        job = self._job(name)
        with speaking(self._to):
            if not follow:
                yield from split_lines([self._output(job.submission_id)])
                return
            with asyncio.Runner() as runner:
                chunks = aiter(self._client.tail_job_logs(job.submission_id))
                yield from split_lines(iter(lambda: runner.run(anext(chunks, None)), None))

    def stop(self, name: str) -> SweepStatus:
        job = self._job(name)
        if job.status.is_terminal():
            raise TargetError(f"sweep {name!r} at {self._to} is not running: it is {STATES[job.status]}")
        with speaking(self._to):
            self._client.stop_job(job.submission_id)
            status_of = partial(self._client.get_job_status, job.submission_id)
            if not wait_until(lambda: status_of().is_terminal(), 2 * STOP_SECONDS, POLL_SECONDS):
                raise TargetError(f"sweep {name!r} at {self._to}: its driver does not end", FAILED)
        return self.status(name)

    def resume(self, name: str) -> Submitted:
        documents = self._job(name).metadata
        return self._submit(name, {key: documents[key] for key in ("spec", "folder", "store")}, resume=True)

    def delete(self, name: str) -> Deleted:
        """Delete its records where they are, by a job on the cluster, and then its own jobs.

        That job stays: Ray notes one again that is deleted in the second after its end.
        """
        job, jobs = self._job(name), _by_sweep(self._listed())[name]
        if running := [job for job in jobs if not job.status.is_terminal()]:
            raise TargetError(
                f"sweep {name!r} at {self._to} is {STATES[running[-1].status]}: gradsweep stop {name} --to {self._to}"
            )
        deleted = self._deleted_there(name, job.metadata)
        if deleted.gone:
            for job in jobs:
                with speaking(self._to):
                    self._client.delete_job(job.submission_id)
        count = f"{len(jobs)} job{'s' * (len(jobs) > 1)} at {self._to}"
        return replace(deleted, deleted=(*deleted.deleted, *([count] if deleted.gone else [])))

    def _deleted_there(self, name: str, documents: Mapping[str, str]) -> Deleted:
        """What `gradsweep delete` says on the cluster, where the store's addresses and passwords are."""
        job = f"{name}.delete-{uuid.uuid4().hex[:8]}"
        self._start(job, ["delete", name, "--yes", "--json"], documents, {"gradsweep": name})
        with speaking(self._to):
            status_of = partial(self._client.get_job_status, job)
            if not wait_until(lambda: status_of().is_terminal(), DELETE_SECONDS, POLL_SECONDS):
                raise TargetError(f"the deletion at {self._to} has not ended yet: see the job {job}", FAILED)
            info, output = self._client.get_job_info(job), self._output(job)
        if info.driver_exit_code == WRONG_REQUEST and NO_SWEEP in output:
            return Deleted(name, True)  # its driver was refused, or a deletion before this one got so far
        begin, end = output.find("{\n"), output.rfind("}")
        if begin < 0:
            wrong = info.driver_exit_code == WRONG_REQUEST
            line = last_words(output) or message(info.message)
            raise TargetError(f"at {self._to}: {line}", WRONG_REQUEST if wrong else FAILED)
        answer = json.loads(output[begin : end + 1])
        return Deleted(name, answer["gone"], tuple(answer["deleted"]), tuple(answer["left"]))

    def _submit(self, name: str, documents: Mapping[str, str], resume: bool) -> Submitted:
        if sum(len(text.encode()) for text in documents.values()) > LARGEST:
            raise TargetError(f"the spec and the store file have more than {LARGEST} bytes together")
        listed = self._listed()
        if attempts := _attempts(_by_sweep(listed).get(name, ())):
            status, hint = attempts[-1].status, "continue it with --resume, or choose another --name"
            if not status.is_terminal():
                hint = f"gradsweep status {name} --to {self._to}"
            if not status.is_terminal() or not resume:
                raise TargetError(f"sweep {name!r} already exists at {self._to} and is {STATES[status]}: {hint}")
        # Ray gives an id once, and a job of somebody else may have it.
        taken = {job.submission_id for job in listed}
        ids = ((n, name if n == 1 else f"{name}.{n}") for n in count(1))
        attempt, job = next((n, free) for n, free in ids if free not in taken)
        words = ["run", SPEC_FILE, *(["--resume"] if resume else [])]
        self._start(job, words, documents, {"gradsweep": name, "attempt": str(attempt), **documents})
        with speaking(self._to):
            wait_until(lambda: self._is_ready(job), READY_SECONDS, POLL_SECONDS)
        return Submitted(name, self._to, {**commands(name, self._to), "dashboard": f"{self._to}/#/jobs/{job}"})

    def _start(self, job: str, words: Sequence[str], documents: Mapping[str, str], metadata: dict[str, str]) -> None:
        """Submit `gradsweep WORDS --store ...` as a job."""
        name, store = metadata["gradsweep"], STORE_FILE if documents["store"] else documents["folder"]
        # As whoever has submitted it reaches the store: a folder is the head's, a file was sent from where they are.
        file = Path(self._store).expanduser().absolute() if self._store and names_a_file(self._store) else "FILE"
        theirs = documents["folder"] or str(file)
        environment = {
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
            "GRADSWEEP_COMMIT": git_commit() or "",
            RESUME_COMMAND: commands(name, self._to)["resume"],
            UI_COMMAND: shlex.join(["gradsweep", "ui", "--store", theirs]),
            SYNC_COMMAND: shlex.join(["gradsweep", "sync", name, "--store", theirs]),
        }
        command = shlex.join(["-P", "-m", "sweeps.cli", *words, "--store", store])
        with speaking(self._to), tempfile.TemporaryDirectory() as folder:
            _fill(Path(folder), documents["spec"], documents["store"])
            try:
                self._client.submit_job(
                    # The cluster's Python, whatever it is called; exec, so that the driver gets the signals.
                    entrypoint=f'exec "$(command -v python || command -v python3)" {command}',
                    submission_id=job,
                    runtime_env={"working_dir": folder, "env_vars": environment},
                    metadata=metadata,
                )
            except RuntimeError as error:
                if "already exists" not in str(error):
                    raise
                raise TargetError(f"sweep {name!r} has just been submitted to {self._to} by another process") from None

    def _is_ready(self, job: str) -> bool:
        """Whether the driver trains; raises TargetError in the driver's words where it ended before."""
        info = self._client.get_job_info(job)
        output = self._output(job).rpartition(FIRST_LINE)[2]
        if info.status == JobStatus.FAILED and READY_LINE not in output:
            line = last_words(output) or message(info.message)
            wrong = info.driver_exit_code == WRONG_REQUEST
            raise TargetError(f"at {self._to}: {line}", WRONG_REQUEST if wrong else FAILED)
        return READY_LINE in output or info.status.is_terminal()

    def _listed(self) -> Sequence[Any]:
        """Everybody's jobs."""
        with speaking(self._to):
            return self._client.list_jobs()

    def _job(self, name: str) -> Any:
        """The latest attempt. Raises TargetError where there is none."""
        jobs = _by_sweep(self._listed()).get(name)
        if not jobs:
            raise TargetError(f"there is no sweep {name!r} at {self._to}: see gradsweep list --to {self._to}")
        return (_attempts(jobs) or jobs)[-1]

    def _output(self, job: str) -> str:
        try:
            return str(self._client.get_job_logs(job))
        except RuntimeError:
            return ""  # nothing printed yet


def _fill(folder: Path, spec: str, store: str) -> None:
    """Put what is sent into a folder: our packages and those that add to them, so that the code there is the code
    here, the spec and the store.

    It is 3 MB with the compiled kernels, which are used where they fit the cluster's machines.
    """
    plugins.send(folder)
    for name in PACKAGES:
        shutil.copytree(str(files(name)), folder / name, ignore=NOT_SENT)
    # What importlib.metadata looks for: a sweep notes the version it was run with.
    about = folder / f"gradsweep-{version('gradsweep')}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gradsweep\nVersion: {version('gradsweep')}\n")
    (folder / SPEC_FILE).write_text(spec, encoding="utf-8")
    if store:
        (folder / STORE_FILE).write_text(store, encoding="utf-8")


def _by_sweep(jobs: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Our jobs by their sweep, oldest first."""
    ours = [job for job in jobs if job.submission_id and MARK <= set(job.metadata or {})]
    by_sweep: dict[str, Any] = {}
    for job in sorted(ours, key=lambda job: job.start_time or math.inf):
        by_sweep.setdefault(job.metadata["gradsweep"], []).append(job)
    return by_sweep


def _attempts(jobs: Sequence[Any]) -> Sequence[Any]:
    """Without those that the driver refused, which began nothing.

    They stay among Ray's jobs: to delete one makes Ray note it again, as another.
    """
    return [job for job in jobs if job.driver_exit_code != WRONG_REQUEST]


def _status_of(job: Any) -> SweepStatus:
    detail = message(job.message) if job.status == JobStatus.FAILED else ""
    return SweepStatus(
        job.metadata["gradsweep"], STATES[job.status], detail, _time(job.start_time), _time(job.end_time)
    )


def _time(milliseconds: int | None) -> str:
    return f"{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}" if milliseconds else ""
