"""A sweep that something is done to in the middle, and what must be true of it afterwards.

    sweep.start("run", sweep.spec_file(), "--executor", "in-process")
    sweep.reach(40, process)                     # records in the ledger
    process.kill()
    sweep("run", sweep.spec_file(), "--resume")
    sweep.must_be_sound()

Moments are numbers of records, drawn from a seed; nothing sleeps for a while and hopes.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from sweeps.commands.audit import audit_of as audit
from sweeps.store_file import open_store
from tests.end_to_end.conftest import Command
from tracking.results import load_wide

CONFIGURATIONS = 24
EPOCHS = 3
RECORDS = CONFIGURATIONS * (EPOCHS + 1)
NAME = "faults"
PATIENCE = 900.0  # on a machine that is busy with other things


@dataclass(frozen=True)
class Sound:
    """What an audit found where all laws hold: how many epochs were trained again, and what is worth a note."""

    again: int

    def __str__(self) -> str:
        epochs = (
            "no epoch" if not self.again else f"{self.again} epoch{'s' if self.again > 1 else ''} of configurations"
        )
        return f"sound; {epochs} trained again; the table equal to the bit"


def moments(seed: int, count: int, first: float = 0.15, last: float = 0.7) -> list[int]:
    """So many numbers of records in the middle of the sweep, drawn from a seed, in order."""
    return sorted(random.Random(seed).sample(range(int(first * RECORDS), int(last * RECORDS)), count))


def preloadable(source: str, folder: Path) -> Path:
    """A library for LD_PRELOAD, made of C that lies beside this file; skips where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    made = folder / f"{source}.so"
    code = Path(__file__).with_name(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, code, "-ldl"], check=True)
    return made


def spec(images: str, **changes: Any) -> dict[str, Any]:
    """The sweep of these tests; random suggestions, so that an undisturbed run is defined."""
    found: dict[str, Any] = {
        "name": NAME,
        "base": {"init_scale": 1.0, "data": images, "epochs": EPOCHS, "batch_size": 8},
        "seeds": 2,
        "arms": {"plain": {"alpha": 1.0}},
        "search": {
            "space": {"alpha": {"low": 0.5, "high": 8.0, "log": True}},
            "sampler": {"name": "random", "seed": 0},
            "configurations": CONFIGURATIONS - 1,
        },
        "resources": {"cpus": 1, "pack": 2, "concurrent": 2},
    }
    return found | changes


class Harness(Command):
    """See the module. `scratch` is the only place for temporary files that the commands have."""

    def __init__(self, folder: Path, cache: Path, scratch: Path, images: str, undisturbed: pd.DataFrame | None) -> None:
        super().__init__(folder, cache)
        self.scratch = scratch
        self._images = images
        self._undisturbed = undisturbed
        self._begun: list[subprocess.Popen[str]] = []
        self._before = 0
        self._environment |= {"TMPDIR": str(scratch), "RAY_raylet_start_wait_time_s": str(int(PATIENCE))}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """As a command is started; `close` ends what a failed test leaves running."""
        self._before = self.records()
        self._begun.append(super().start(*words))
        return self._begun[-1]

    def __call__(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which must have this exit status."""
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == status, f"{words}: {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def close(self) -> None:
        """End all that was started, and remove its temporary files."""
        for process in self._begun:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        shutil.rmtree(self.scratch)

    def set(self, **variables: str) -> None:
        """Environment variables for the commands from now on."""
        self._environment |= variables

    def use_store(self, **places: str) -> None:
        """A team's store from now on: the folder as before, `ledger` and `mlflow` elsewhere."""
        file = self.folder / "store.yaml"
        found: dict[str, Any] = {"folder": str(self.store.folder), **places}
        for name, url in places.items():
            if not url.startswith("http"):
                # An address with a password comes from the environment.
                variable = f"GRADSWEEP_TEST_{name.upper()}"
                os.environ[variable] = self._environment[variable] = url
                found[name] = {"env": variable}
        file.write_text(yaml.safe_dump(found))
        self.store = open_store(file)
        self._mark = f"GRADSWEEP_STORE={file}".encode()
        self.set(GRADSWEEP_STORE=str(file))

    def spec_file(self, **changes: Any) -> str:
        """The file of the sweep's spec."""
        return self.spec(NAME, yaml.safe_dump(spec(self._images, **changes)))

    def records(self) -> int:
        """How many epochs of configurations the ledger has."""
        if self.store.ledger is not None:
            return self.epochs(NAME)
        # Read-only: another connection to SQLite might be the last to close it, and write in the driver's place.
        with contextlib.suppress(sqlite3.Error):
            db = sqlite3.connect(f"file:{self.store.folder / 'ledger.db'}?mode=ro", uri=True, timeout=5)
            with contextlib.closing(db):
                return int(db.execute("SELECT COUNT(*) FROM gradsweep_epochs").fetchone()[0])
        return 0

    def reach(self, records: int, process: subprocess.Popen[str]) -> int:
        """Wait until the ledger has so many records, one at least since the last start; how many it has."""
        least = max(records, self._before + 1)
        self.wait(lambda: self.records() >= least, process)
        return self.records()

    def wait(self, what: Any, process: subprocess.Popen[str] | None = None) -> Any:
        """Wait for something, and give it back; fail where the process ends meanwhile."""
        end = time.monotonic() + PATIENCE
        while not (found := what()):
            assert time.monotonic() < end, "it did not come"
            assert process is None or process.poll() is None, (process.returncode, process.communicate())
            time.sleep(0.01)
        return found

    def workers(self) -> list[int]:
        """The processes in which packs are trained by Ray."""
        return [number for number, line in self.processes().items() if line.startswith("ray::ImplicitFunc")]

    def signal_worker(self, draw: random.Random, number: signal.Signals) -> int:
        """Send a signal to one of the workers, as `draw` chooses; 0 where there is none at the moment, else which."""
        try:
            chosen = draw.choice(self.workers())
            os.kill(chosen, number)
        except (IndexError, ProcessLookupError):  # between two packs they come and go
            return 0
        return chosen

    def kill_workers(self) -> bool:
        """SIGKILL for all of them; whether there was one."""
        killed = self.workers()
        for number in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return bool(killed)

    def finish(self, process: subprocess.Popen[str], status: int = 0) -> str:
        """Wait for a command's end, which must have this exit status; what it said on standard error."""
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == status, f"{process.returncode}: {err}"
        assert "Traceback" not in err, err
        return str(err)

    def table_now(self) -> pd.DataFrame:
        """Every record, without the time that it took."""
        return load_wide(NAME, self.store).drop(columns="seconds")

    def again(self) -> int:
        """How many epochs of configurations were trained again, epoch 0 apart."""
        with self.ledger(NAME) as (ledger, row):
            times: Counter[int] = Counter()
            for (number, epoch), often in ledger.trained_again(row).items():
                times[number] += often if epoch > 0 else 0
        # The states are on this machine, so nothing starts over: a fault costs a configuration one epoch at most.
        assert max(times.values(), default=0) <= 1, times
        return times.total()

    def must_be_sound(self) -> Sound:
        """The audit, the table, and nothing left behind."""
        self.wait(lambda: not self.processes())
        audited = audit(NAME, str(self.store.where))
        assert (audited["sound"], audited["state"]) == (True, "finished"), audited
        assert not any(law["pending"] for law in audited["laws"]), audited
        if self._undisturbed is not None:
            pd.testing.assert_frame_equal(self.table_now(), self._undisturbed, check_exact=True)
        left = sorted(str(f.relative_to(self.scratch)) for f in self.scratch.rglob("*") if not f.is_dir())
        assert left == []
        return Sound(self.again())


@contextlib.contextmanager
def stopped(process: int) -> Iterator[None]:
    """A process stands still in this block."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
