"""This machine as a place: a sweep runs in the background, as `gradsweep run` in a process of its own.

Its spec and its output are in the store's folder `logs`. There is no server: whether it runs is what the driver's lock
says, which the operating system gives back however the driver ends.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeps.driver import ready_signal as begun
from sweeps.driver.status import look_at, stored_spec
from sweeps.store_file import open_store
from sweeps.targets.target import Standing, Submission, Submitted, commands
from tracking.locks import file_lock, holder
from tracking.results import sweeps
from tracking.store import Store
from trainers.errors import FAILED, WRONG_REQUEST, SearchError, TargetError

BEGIN_SECONDS = 60.0  # a download of data may take longer: then it goes on without being waited for
END_SECONDS = 30.0
POLL_SECONDS = 0.1


def place(to: str, store: str | None, pool: Path | None) -> Here:
    """See sweeps.targets.target."""
    return Here(open_store(store), store)


class Here:
    """See the module, and sweeps.targets.target.Place."""

    def __init__(self, store: Store, chosen: str | None) -> None:
        self._store = store
        self._chosen = chosen

    def submit(self, sweep: Submission) -> Submitted:
        if sweep.dry_run:
            raise TargetError("--dry-run is for --to k8s://NAMESPACE; here there is gradsweep plan", WRONG_REQUEST)
        self._store.create()
        spec, output = self._spec_file(sweep.name), self._output(sweep.name)
        spec.parent.mkdir(exist_ok=True)
        try:
            with file_lock(spec.with_suffix(".lock")):
                self._refuse(sweep)
                former = output.read_bytes() if sweep.resume and output.exists() else b""
                spec.write_text(sweep.spec, encoding="utf-8")
                output.write_bytes(former)
                try:
                    self._start(sweep, output, len(former))
                except TargetError:
                    # As if it had never been asked for.
                    if sweep.name not in self._names():
                        spec.unlink()
                        output.unlink()
                    raise
        except BlockingIOError:
            raise TargetError(f"the sweep {sweep.name!r} is being submitted by somebody else", WRONG_REQUEST) from None
        look = commands(sweep.name, "", self._chosen)
        ui = shlex.join(["gradsweep", "ui", *(["--store", self._chosen] if self._chosen else [])])
        return Submitted(sweep.name, "", {**look, "ui": ui, "output": str(output)})

    def list(self) -> Sequence[Standing]:
        return [self.status(name) for name in self._names()]

    def status(self, name: str) -> Standing:
        books = look_at(name, self._store)
        return Standing(name, books["state"], books=books)

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        output = self._output(name)
        if not output.exists():
            look_at(name, self._store)
            raise TargetError(f"the sweep {name!r} was not submitted: its output went to its terminal", WRONG_REQUEST)
        with output.open(encoding="utf-8", errors="replace") as opened:
            rest = ""
            while True:
                # In this order: what a driver says last is there once it has ended.
                running = follow and self._process(name) is not None
                while chunk := opened.read(1 << 16):
                    *lines, rest = (rest + chunk).split("\n")
                    yield from lines
                if not running:
                    break
                time.sleep(POLL_SECONDS)
            if rest:
                yield rest

    def stop(self, name: str) -> Standing:
        self.status(name)
        process = self._process(name)
        if process is None:
            raise TargetError(f"the sweep {name!r} is not running", WRONG_REQUEST)
        if not process.isdecimal() or not _is_ours(int(process)):
            raise TargetError(f"the sweep {name!r} is run by process {process}, which is not on this machine", FAILED)
        os.kill(int(process), signal.SIGTERM)
        end = time.monotonic() + END_SECONDS
        while self._process(name) == process:
            if time.monotonic() > end:
                raise TargetError(f"process {process}, which runs the sweep {name!r}, does not end", FAILED)
            time.sleep(POLL_SECONDS)
        return self.status(name)

    def resume(self, name: str) -> Submitted:
        return self.submit(Submission(name, stored_spec(name, self._store).to_yaml(), resume=True))

    def _refuse(self, sweep: Submission) -> None:
        """What the driver would refuse too, said without starting one."""
        if (process := self._process(sweep.name)) is not None:
            raise TargetError(f"the sweep {sweep.name!r} is running already, in process {process}", WRONG_REQUEST)
        if not sweep.resume and sweep.name in self._names():
            raise SearchError(
                f"the sweep {sweep.name!r} is in {self._store.where} already: "
                "go on with it by --resume, or submit another by --name NAME"
            )

    def _start(self, sweep: Submission, output: Path, said: int) -> None:
        """Start the driver, and return when it has begun; raises TargetError with its own words where it ends first."""
        words = ["run", str(self._spec_file(sweep.name)), "--store", str(self._store.where)]
        read, write = os.pipe()
        with output.open("ab") as file:
            driver = subprocess.Popen(
                [sys.executable, "-m", "sweeps.cli", *words, *(["--resume"] if sweep.resume else [])],
                env=os.environ
                | {
                    begun.VARIABLE: str(write),
                    begun.RESUMING: commands(sweep.name, "", self._chosen)["resume"],
                    "PYTHONUNBUFFERED": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                pass_fds=[write],
                start_new_session=True,
            )
        os.close(write)
        try:
            if select.select([read], [], [], BEGIN_SECONDS)[0] and not os.read(read, 1):
                status = driver.wait()
                lines = output.read_bytes()[said:].decode(errors="replace").splitlines()
                line = lines[-1].removeprefix("gradsweep: ") if lines else f"the driver ended with status {status}"
                raise TargetError(line, WRONG_REQUEST if status == WRONG_REQUEST else FAILED)
        finally:
            os.close(read)

    def _names(self) -> Sequence[str]:
        return [sweep.name for sweep in sweeps(self._store)]

    def _process(self, name: str) -> str | None:
        return holder(self._store.ledger_url, name, self._store.lock_file(name))

    def _spec_file(self, name: str) -> Path:
        return self._store.folder / "logs" / f"{name}.yaml"

    def _output(self, name: str) -> Path:
        return self._store.folder / "logs" / f"{name}.log"


def _is_ours(process: int) -> bool:
    """Whether this process is a gradsweep; the store may be a folder that other machines share."""
    try:
        line = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return b"gradsweep" in line or b"sweeps.cli" in line
