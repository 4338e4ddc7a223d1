"""One driver a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.driver.lock import Locked, driver_lock, holder

HOLD = """
import sys
from pathlib import Path
from sweeps.driver.lock import driver_lock
with driver_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_driver_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    file = tmp_path / "spool" / "a.lock"
    with driver_lock(file):
        assert holder(file) == str(os.getpid())
        with pytest.raises(Locked, match=f"process {os.getpid()}"), driver_lock(file):
            pass
    assert holder(file) is None


def test_a_sweep_that_was_never_run_has_no_driver(tmp_path: Path) -> None:
    assert holder(tmp_path / "none.lock") is None


def test_a_killed_driver_gives_the_lock_back(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert holder(file) == str(process.pid)
        process.kill()
        process.wait()
    assert holder(file) is None
    with driver_lock(file):
        assert holder(file) == str(os.getpid())
