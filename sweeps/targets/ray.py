"""A Ray cluster as a target, through its Jobs API: `--to http://HEAD:8265`.

The sweep's name is the job's submission id; a sweep that is resumed is a new job, NAME.2, NAME.3 and so on, since Ray
gives an id once. The job's metadata hold the spec and the store, so that it can be submitted again from anywhere. Code,
spec and store file are sent with it (`working_dir`), passwords never: the driver reads them on the cluster's head, from
the environment or the files that the store file names.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray.job_submission import JobStatus

from sweeps.driver import ready_signal
from sweeps.driver.versions import git_commit
from sweeps.store_file import names_a_file, parse_store, read_text
from sweeps.targets.ray_jobs import connect, first_line, speaking
from sweeps.targets.target import Submission, Submitted, SweepStatus, commands, recorded, refuse_dry_run, split_lines
from sweeps.targets.working_dir import SPEC_FILE, STORE_FILE, fill
from tracking.store import VARIABLE
from trainers.errors import FAILED, WRONG_REQUEST, TargetError

POLL_SECONDS = 0.5
READY_SECONDS = 90.0  # a cluster that starts machines takes longer; then the job continues without being waited for
STOP_SECONDS = 30  # for the driver, see RAY_JOB_STOP_WAIT_TIME_S; Ray's own 3 are too few
LARGEST = 100_000  # bytes of spec and store, which are in the driver's environment too
FIRST_LINE = "Runtime env is setting up."
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

    def submit(self, sweep: Submission) -> Submitted:
        refuse_dry_run(sweep)
        folder, text = self._store_to_send()
        return self._submit(sweep, {"spec": sweep.spec, "folder": folder, "store": text})

    def list(self) -> Sequence[SweepStatus]:
        return [self._status(attempts[-1]) for jobs in self._jobs().values() if (attempts := _attempts(jobs))]

    def status(self, name: str) -> SweepStatus:
        return self._status(self._job(name), whole=True)

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        job = self._job(name)
        with speaking(self._to):
            if not follow:
                yield from self._output(job.submission_id).splitlines()
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
            end = time.monotonic() + 2 * STOP_SECONDS
            while not self._client.get_job_status(job.submission_id).is_terminal():
                if time.monotonic() > end:
                    raise TargetError(f"sweep {name!r} at {self._to}: its driver does not end", FAILED)
                time.sleep(POLL_SECONDS)
        return self.status(name)

    def resume(self, name: str) -> Submitted:
        documents = self._job(name).metadata or {}
        return self._submit(
            Submission(name, documents["spec"], resume=True), {k: documents[k] for k in ("spec", "folder", "store")}
        )

    def _submit(self, sweep: Submission, documents: Mapping[str, str]) -> Submitted:
        if sum(len(text.encode()) for text in documents.values()) > LARGEST:
            raise TargetError(f"the spec and the store file have more than {LARGEST} bytes together")
        jobs = self._jobs().get(sweep.name, ())
        self._refuse(sweep, _attempts(jobs))
        attempt = 1 + max((int(job.metadata["attempt"]) for job in jobs), default=0)
        job = sweep.name if attempt == 1 else f"{sweep.name}.{attempt}"
        store = STORE_FILE if documents["store"] else documents["folder"]
        words = ["-P", "-m", "sweeps.cli", "run", SPEC_FILE, "--store", store, *(["--resume"] if sweep.resume else [])]
        environment = {
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
            "GRADSWEEP_COMMIT": git_commit() or "",
            ready_signal.READY: ready_signal.PRINT,
            ready_signal.RESUME_COMMAND: commands(sweep.name, self._to)["resume"],
        }
        with speaking(self._to), tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), documents["spec"], documents["store"])
            try:
                self._client.submit_job(
                    # The cluster's Python, whatever it is called; exec, so that the driver gets the signals.
                    entrypoint=f'exec "$(command -v python || command -v python3)" {shlex.join(words)}',
                    submission_id=job,
                    runtime_env={"working_dir": folder, "env_vars": {k: v for k, v in environment.items() if v}},
                    metadata={"gradsweep": sweep.name, "attempt": str(attempt), **documents},
                )
            except RuntimeError as error:
                if "already exists" not in str(error):
                    raise
                raise TargetError(
                    f"sweep {sweep.name!r} has just been submitted to {self._to} by another process"
                ) from None
            self._wait_until_ready(job)
        look = {**commands(sweep.name, self._to), "dashboard": f"{self._to}/#/jobs/{job}"}
        return Submitted(sweep.name, self._to, look)

    def _refuse(self, sweep: Submission, attempts: Sequence[Any]) -> None:
        """A sweep that runs, and one that exists unless it is to be resumed."""
        if not attempts:
            return
        state = STATES[attempts[-1].status]
        if not attempts[-1].status.is_terminal():
            hint = f"gradsweep status {sweep.name} --to {self._to}"
        elif not sweep.resume:
            hint = "continue it with --resume, or choose another --name"
        else:
            return
        raise TargetError(f"sweep {sweep.name!r} already exists at {self._to} and is {state}: {hint}")

    def _wait_until_ready(self, job: str) -> None:
        """Return when the driver trains; raises TargetError in its own words where it ends first."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            info = self._client.get_job_info(job)
            output = self._output(job).rpartition(FIRST_LINE)[2]
            if ready_signal.READY_LINE in output or info.status in (JobStatus.SUCCEEDED, JobStatus.STOPPED):
                return
            if info.status == JobStatus.FAILED:
                printed = [line for line in output.splitlines() if line.strip()]
                ours = [line for line in printed if line.startswith("gradsweep: ")] or printed
                line = ours[-1].removeprefix("gradsweep: ") if ours else first_line(info.message)
                wrong = info.driver_exit_code == WRONG_REQUEST
                raise TargetError(f"at {self._to}: {line}", WRONG_REQUEST if wrong else FAILED)
            time.sleep(POLL_SECONDS)

    def _store_to_send(self) -> tuple[str, str]:
        """The folder on the cluster, or the text of the store file. Raises TargetError and StoreError."""
        if not self._store:
            raise TargetError(
                "--store: says where the records of a sweep on a cluster go: a store file with the keys ledger, mlflow "
                "and folder, or an absolute path on its head"
            )
        if names_a_file(self._store):
            file = Path(self._store).expanduser().absolute()
            text = read_text(file)
            parse_store(text, file)
            return "", text
        if not Path(self._store).is_absolute():
            raise TargetError(f"--store {self._store}: on a cluster it must be a store file or an absolute path")
        return self._store, ""

    def _jobs(self) -> dict[str, Sequence[Any]]:
        """Our jobs by their sweep, each in the order of the attempts; the sweeps oldest first."""
        with speaking(self._to):
            jobs = [j for j in self._client.list_jobs() if j.submission_id and "gradsweep" in (j.metadata or {})]
        by_sweep: dict[str, Any] = {}
        for job in sorted(jobs, key=lambda job: job.start_time or 0):
            by_sweep.setdefault((job.metadata or {})["gradsweep"], []).append(job)
        return {name: sorted(jobs, key=lambda job: int(job.metadata["attempt"])) for name, jobs in by_sweep.items()}

    def _job(self, name: str) -> Any:
        """The latest attempt. Raises TargetError where there is none."""
        jobs = self._jobs().get(name)
        if not jobs:
            raise TargetError(f"there is no sweep {name!r} at {self._to}: see gradsweep list --to {self._to}")
        return (_attempts(jobs) or jobs)[-1]

    def _status(self, job: Any, whole: bool = False) -> SweepStatus:
        name = job.metadata["gradsweep"]
        detail = first_line(job.message) if job.status == JobStatus.FAILED else ""
        status = SweepStatus(name, STATES[job.status], detail, _time(job.start_time), _time(job.end_time))
        if not whole:
            return status
        with speaking(self._to):
            line = self._output(job.submission_id).strip().rpartition("\n")[2]
        return replace(status, last_line=line, recorded=recorded(name, self._store))

    def _output(self, job: str) -> str:
        try:
            return str(self._client.get_job_logs(job))
        except RuntimeError:
            return ""  # nothing printed yet


def _attempts(jobs: Sequence[Any]) -> Sequence[Any]:
    """Without those that the driver refused, which began nothing.

    They stay among Ray's jobs: to delete one makes Ray note it again, as another.
    """
    return [job for job in jobs if job.driver_exit_code != WRONG_REQUEST]


def _time(milliseconds: int | None) -> str:
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
