"""A Ray cluster as a place, through its Jobs API: `--to http://HEAD:8265`.

The sweep's name is the job's submission id; one that goes on after a stop is a new job, NAME.2, NAME.3 and so on, since
Ray gives an id once. What the job is of is in its metadata, so that it can be submitted again from anywhere. Code, spec
and store file travel with it (`travel`), passwords never do: the driver reads them on the cluster's head, from
the environment or the files that the store file names.
"""

from __future__ import annotations

# First: it has a word with the settings that Ray reads when it is imported.
from sweeps.targets.ray_jobs import Client, connect, first_line, speaking  # isort: skip

import asyncio
import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray.job_submission import JobStatus

from sweeps.driver import ready_signal as begun
from sweeps.driver.versions import git_commit
from sweeps.store_file import names_a_file, open_store, parse_store, read_text
from sweeps.targets.target import Standing, Submission, Submitted, commands
from sweeps.targets.travel import SPEC_FILE, STORE_FILE, pack
from tracking.store import VARIABLE
from trainers.errors import FAILED, WRONG_REQUEST, StoreError, TargetError

POLL_SECONDS = 0.5
BEGIN_SECONDS = 90.0  # a cluster that starts machines takes longer: then the job goes on without being waited for
STOP_SECONDS = 30  # so long a driver may close its books, see RAY_JOB_STOP_WAIT_TIME_S; Ray's own 3 are few
LARGEST = 100_000  # bytes of spec and store, which are in the driver's environment too
FIRST_LINE = "Runtime env is setting up."
STATES = {
    JobStatus.PENDING: "starting",
    JobStatus.RUNNING: "running",
    JobStatus.STOPPED: "stopped",
    JobStatus.SUCCEEDED: "finished",
    JobStatus.FAILED: "failed",
}


def place(to: str, store: str | None, pool: Path | None) -> RayCluster:
    """Raises TargetError where the cluster does not answer, refuses us or is of another version."""
    to = to.rstrip("/")
    return RayCluster(to, store, connect(to))


class RayCluster:
    """See the module, and sweeps.targets.target.Place."""

    def __init__(self, to: str, store: str | None, client: Client) -> None:
        self._to = to
        self._store = store if store is not None else os.environ.get(VARIABLE)
        self._client = client

    def submit(self, sweep: Submission) -> Submitted:
        if sweep.dry_run:
            raise TargetError("--dry-run is for --to k8s://NAMESPACE; here there is gradsweep plan", WRONG_REQUEST)
        folder, text = self._travelling_store()
        return self._submit(sweep, {"spec": sweep.spec, "folder": folder, "store": text})

    def list(self) -> Sequence[Standing]:
        return [self._standing(counted[-1]) for jobs in self._jobs().values() if (counted := _counted(jobs))]

    def status(self, name: str) -> Standing:
        return self._standing(self._job(name), look=True)

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        job = self._job(name)
        with speaking(self._to):
            if not follow:
                yield from self._output(job.submission_id).splitlines()
                return
            rest = ""
            with asyncio.Runner() as runner:
                chunks = aiter(self._client.tail_job_logs(job.submission_id))
                while (chunk := runner.run(anext(chunks, None))) is not None:
                    *lines, rest = (rest + chunk).split("\n")
                    yield from lines
            if rest:
                yield rest

    def stop(self, name: str) -> Standing:
        job = self._job(name)
        if job.status.is_terminal():
            raise TargetError(
                f"the sweep {name!r} at {self._to} is not running: it is {STATES[job.status]}", WRONG_REQUEST
            )
        with speaking(self._to):
            self._client.stop_job(job.submission_id)
            end = time.monotonic() + 2 * STOP_SECONDS
            while not self._client.get_job_status(job.submission_id).is_terminal():
                if time.monotonic() > end:
                    raise TargetError(f"the driver of {name!r} at {self._to} does not end", FAILED)
                time.sleep(POLL_SECONDS)
        return self.status(name)

    def resume(self, name: str) -> Submitted:
        told = self._job(name).metadata or {}
        return self._submit(
            Submission(name, told["spec"], resume=True), {k: told[k] for k in ("spec", "folder", "store")}
        )

    def _submit(self, sweep: Submission, told: dict[str, str]) -> Submitted:
        if sum(len(text.encode()) for text in told.values()) > LARGEST:
            raise TargetError(f"the spec and the store file have more than {LARGEST} bytes together", WRONG_REQUEST)
        every = self._jobs().get(sweep.name, ())
        former = _counted(every)
        taken = f"the sweep {sweep.name!r} is at {self._to} already"
        if former and not former[-1].status.is_terminal():
            raise TargetError(
                f"{taken}, and is {STATES[former[-1].status]}: gradsweep status {sweep.name}", WRONG_REQUEST
            )
        if former and not sweep.resume:
            hint = f"it has {STATES[former[-1].status]}; go on with it by --resume, or submit another by --name NAME"
            raise TargetError(f"{taken}: {hint}", WRONG_REQUEST)
        attempt = 1 + max((int(job.metadata["attempt"]) for job in every), default=0)
        job = sweep.name if attempt == 1 else f"{sweep.name}.{attempt}"
        store = STORE_FILE if told["store"] else told["folder"]
        words = ["-m", "sweeps.cli", "run", SPEC_FILE, "--store", store, *(["--resume"] if sweep.resume else [])]
        environment = {
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
            "GRADSWEEP_COMMIT": git_commit() or "",
            begun.VARIABLE: begun.IN_WORDS,
            begun.RESUMING: commands(sweep.name, self._to)["resume"],
        }
        with speaking(self._to), tempfile.TemporaryDirectory() as folder:
            pack(Path(folder), told["spec"], told["store"] or None)
            try:
                self._client.submit_job(
                    # The cluster's Python, whatever it is called; exec, so that the driver gets the signals.
                    entrypoint=f'exec "$(command -v python || command -v python3)" {shlex.join(words)}',
                    submission_id=job,
                    runtime_env={"working_dir": folder, "env_vars": {k: v for k, v in environment.items() if v}},
                    metadata={"gradsweep": sweep.name, "attempt": str(attempt), **told},
                )
            except RuntimeError as error:
                if "already exists" not in str(error):
                    raise
                raise TargetError(f"{taken}: it has just been submitted by somebody else", WRONG_REQUEST) from None
            self._wait_until_begun(job)
        look = commands(sweep.name, self._to)
        return Submitted(sweep.name, self._to, {**look, "dashboard": f"{self._to}/#/jobs/{job}"})

    def _wait_until_begun(self, job: str) -> None:
        """Return when the driver trains; raises TargetError in its own words where it ends first."""
        end = time.monotonic() + BEGIN_SECONDS
        while time.monotonic() < end:
            found = self._client.get_job_info(job)
            output = self._output(job).rpartition(FIRST_LINE)[2]
            if begun.WORDS in output or found.status in (JobStatus.SUCCEEDED, JobStatus.STOPPED):
                return
            if found.status == JobStatus.FAILED:
                lines = [line for line in output.splitlines() if line.startswith("gradsweep: ")]
                lines = lines or [line for line in output.splitlines() if line.strip()]
                said = lines[-1].removeprefix("gradsweep: ") if lines else first_line(found.message)
                wrong = found.driver_exit_code == WRONG_REQUEST
                raise TargetError(f"at {self._to}: {said}", WRONG_REQUEST if wrong else FAILED)
            time.sleep(POLL_SECONDS)

    def _travelling_store(self) -> tuple[str, str]:
        """The folder on the cluster, or the text of the store file. Raises TargetError and StoreError."""
        if not self._store:
            raise TargetError(
                "--store: says where the records of a sweep on a cluster go: a store file with the keys optuna, mlflow "
                "and folder, or an absolute path on its head",
                WRONG_REQUEST,
            )
        if names_a_file(self._store):
            file = Path(self._store).expanduser().absolute()
            text = read_text(file)
            parse_store(text, file)
            return "", text
        if not Path(self._store).is_absolute():
            raise TargetError(
                f"--store {self._store}: on a cluster it must be a store file or an absolute path", WRONG_REQUEST
            )
        return self._store, ""

    def _jobs(self) -> dict[str, Sequence[Any]]:
        """Our jobs by their sweep, each in the order of the attempts; the sweeps oldest first."""
        with speaking(self._to):
            ours = [
                job for job in self._client.list_jobs() if job.submission_id and "gradsweep" in (job.metadata or {})
            ]
        found: dict[str, Any] = {}
        for job in sorted(ours, key=lambda job: job.start_time or 0):
            found.setdefault((job.metadata or {})["gradsweep"], []).append(job)
        return {name: sorted(jobs, key=lambda job: int(job.metadata["attempt"])) for name, jobs in found.items()}

    def _job(self, name: str) -> Any:
        """The latest attempt. Raises TargetError where there is none."""
        jobs = self._jobs().get(name)
        if not jobs:
            raise TargetError(
                f"there is no sweep {name!r} at {self._to}: gradsweep list --to {self._to}, or start it with "
                "gradsweep submit SPEC",
                WRONG_REQUEST,
            )
        return (_counted(jobs) or jobs)[-1]

    def _standing(self, job: Any, look: bool = False) -> Standing:
        detail = first_line(job.message) if job.status == JobStatus.FAILED else ""
        books, said = None, ""
        if look:
            with speaking(self._to):
                said = self._output(job.submission_id).strip().rpartition("\n")[2]
            books = self._books(job.metadata["gradsweep"])
        return Standing(
            job.metadata["gradsweep"],
            STATES[job.status],
            detail,
            _time(job.start_time),
            _time(job.end_time),
            said,
            books,
        )

    def _books(self, name: str) -> dict[str, Any] | None:
        """What the store says, where `--store` can be read from here."""
        from sweeps.driver.status import look_at
        from trainers.errors import SearchError

        try:
            return look_at(name, open_store(self._store)) if self._store else None
        except (StoreError, SearchError):
            return None

    def _output(self, job: str) -> str:
        try:
            return str(self._client.get_job_logs(job))
        except RuntimeError:
            return ""  # it has not begun to print


def _counted(jobs: Sequence[Any]) -> Sequence[Any]:
    """Without those that the driver refused: it began nothing, so they don't count.

    They stay among Ray's jobs: to delete one makes Ray note it again, as another.
    """
    return [job for job in jobs if job.driver_exit_code != WRONG_REQUEST]


def _time(milliseconds: int | None) -> str:
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
