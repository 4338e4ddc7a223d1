"""This machine as a target: a sweep runs in the background, as `gradsweep run` in a process of its own.

Its spec and its output are in the store's folder `logs`. There is no server: the driver's lock, which the operating
system releases however the driver ends, says whether it runs.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeps.driver.deletion import Deleted, delete
from sweeps.driver.status import look_at, stored_spec
from sweeps.store_file import open_store
from sweeps.targets.output import last_words, split_lines
from sweeps.targets.target import (
    READY_LINE,
    RESUME_COMMAND,
    Submitted,
    SweepStatus,
    commands,
    refuse_dry_run,
    wait_until,
    with_next,
)
from tracking.locks import file_lock, holder
from tracking.results import sweeps
from trainers.errors import FAILED, WRONG_REQUEST, TargetError

READY_SECONDS = 60.0  # a download of data may take longer; then it continues in the background
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1


class LocalTarget:
    """See the module, and sweeps.targets.target.Target."""

    def __init__(self, address: str, store: str | None, pool: Path | None) -> None:
        self._store = open_store(store)
        self._option = store

    def submit(self, name: str, spec: str, resume: bool = False, dry_run: bool = False) -> Submitted:
        refuse_dry_run(dry_run)
        self._store.create()
        file, output = self._file(name, "yaml"), self._file(name, "log")
        file.parent.mkdir(exist_ok=True)
        try:
            with file_lock(file.with_suffix(".lock")):
                if (process := self._process(name)) is not None:
                    raise TargetError(f"sweep {name!r} is already running (process {process})")
                if not resume and name in self._names():
                    raise TargetError(
                        f"sweep {name!r} already exists in {self._store.where}: continue it with --resume, or choose "
                        "another --name"
                    )
                file.write_text(spec, encoding="utf-8")
                self._start(name, file, output, resume)
        except BlockingIOError:
            raise TargetError(f"sweep {name!r} is being submitted by another process") from None
        ui = shlex.join(["gradsweep", "ui", *(["--store", self._option] if self._option else [])])
        return Submitted(name, "", {**commands(name, "", self._option), "ui": ui, "output": str(output)})

    def list(self) -> Sequence[SweepStatus]:
        return [self.status(name) for name in self._names()]

    def status(self, name: str) -> SweepStatus:
        recorded = look_at(name, self._store)
        status = SweepStatus(name, recorded["state"], recorded["problem"], recorded=recorded)
        return with_next(status, "", self._option)

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        output = self._file(name, "log")
        if not output.exists():
            look_at(name, self._store)
            raise TargetError(f"sweep {name!r} was not submitted: its output went to its terminal")
        yield from split_lines(self._read(output, name if follow else ""))

    def stop(self, name: str) -> SweepStatus:
        self.status(name)
        process = self._process(name)
        if process is None:
            raise TargetError(f"sweep {name!r} is not running")
        if not process.isdecimal() or not _is_ours(int(process)):
            raise TargetError(f"sweep {name!r} is run by process {process}, which is not on this machine", FAILED)
        os.kill(int(process), signal.SIGTERM)
        if not wait_until(lambda: self._process(name) != process, STOP_SECONDS, POLL_SECONDS):
            raise TargetError(f"sweep {name!r}: its driver (process {process}) does not end", FAILED)
        return self.status(name)

    def resume(self, name: str) -> Submitted:
        return self.submit(name, stored_spec(name, self._store).to_yaml(), resume=True)

    def delete(self, name: str) -> Deleted:
        return delete(name, self._store)

    def _start(self, name: str, spec: Path, output: Path, resume: bool) -> None:
        """Start the driver, and return when it is ready; raises TargetError in its own words if it ends before."""
        words = ["run", str(spec), "--store", str(self._store.where), *(["--resume"] if resume else [])]
        settings = {
            RESUME_COMMAND: commands(name, "", self._option)["resume"],
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
        }
        with output.open("ab" if resume else "wb") as file:
            before = file.tell()
            driver = subprocess.Popen(
                [sys.executable, "-m", "sweeps.cli", *words],
                env=os.environ | settings,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

        def is_ready() -> bool:
            # Asked before reading, so that a driver's last lines are read after it has ended.
            status, printed = driver.poll(), output.read_bytes()[before:].decode(errors="replace")
            if status is None or READY_LINE in printed:
                return READY_LINE in printed
            if name not in self._names():
                # As if it had never been asked for.
                spec.unlink()
                output.unlink()
            line = last_words(printed) or f"the driver ended with status {status}"
            raise TargetError(line, WRONG_REQUEST if status == WRONG_REQUEST else FAILED)

        wait_until(is_ready, READY_SECONDS, POLL_SECONDS)

    def _read(self, output: Path, follow: str) -> Iterator[str]:
        """A file's text, and what is appended to it while the sweep `follow` runs."""
        with output.open(encoding="utf-8", errors="replace") as opened:
            running = True
            while running:
                # Asked before reading, so that a driver's last lines are read after it has ended.
                running = bool(follow) and self._process(follow) is not None
                while chunk := opened.read(1 << 16):
                    yield chunk
                if running:
                    time.sleep(POLL_SECONDS)

    def _names(self) -> Sequence[str]:
        return [sweep.name for sweep in sweeps(self._store)]

    def _process(self, name: str) -> str | None:
        return holder(self._store.ledger_url, name, self._store.lock_file(name))

    def _file(self, name: str, ending: str) -> Path:
        return self._store.folder / "logs" / f"{name}.{ending}"


def _is_ours(process: int) -> bool:
    """Whether this process is a gradsweep; the store may be a folder that other machines share."""
    try:
        line = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return b"gradsweep" in line or b"sweeps.cli" in line
