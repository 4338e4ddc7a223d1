"""What a process has been given to run in: processors by affinity and quota, processes, a Ray cluster."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps import environment
from sweeps.environment import cores, processes_left, ray_address

COUNTED = "from sweeps.environment import cores; print(cores())"
NEW_CGROUPS = """\
mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir -p $(dirname $2) && echo "$3" > "$2" && if [ "$4" ]; then echo "$4" > "$5"
fi && exec "$0" -c "$1"
"""
V1 = "/sys/fs/cgroup/cpu/cpu.cfs_"


def test_affinity_counts() -> None:
    first = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{first}])\n{COUNTED}"], stdout=-1
    )
    assert done.stdout == b"1\n"


@pytest.mark.parametrize(
    ("files", "counted"),
    [
        (("/sys/fs/cgroup/cpu.max", "100000 100000"), 1),
        (("/sys/fs/cgroup/cpu.max", "max 100000"), None),
        ((f"{V1}quota_us", "50000", "100000", f"{V1}period_us"), 1),
        ((f"{V1}quota_us", "-1", "100000", f"{V1}period_us"), None),
    ],
    ids=["version 2", "version 2, none", "version 1", "version 1, none"],
)
def test_a_quota_counts(files: tuple[str, ...], counted: int | None) -> None:
    words = ["unshare", "-m", "sh", "-c", NEW_CGROUPS, sys.executable, COUNTED, *files]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    assert int(done.stdout) == (counted or len(os.sched_getaffinity(0)))
    assert cores() >= 1


@pytest.mark.parametrize("folder", ["", "pids"])
def test_the_processes_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setattr(environment, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert processes_left() is None
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "pids.current").write_text("90\n")
    (tmp_path / folder / "pids.max").write_text("max\n")
    assert processes_left() is None
    (tmp_path / folder / "pids.max").write_text("100\n")
    assert processes_left() == 10


def test_the_processes_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 54321)  # who has none
    monkeypatch.setattr(resource, "getrlimit", lambda what: (40, 60))
    assert processes_left() == 40
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY,) * 2)
    assert processes_left() is None


@pytest.mark.parametrize(("value", "address"), [(None, ""), ("", ""), ("local", ""), ("auto", "auto"), ("h:1", "h:1")])
def test_ray_address(value: str | None, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with environment.environment({"RAY_ADDRESS": value}):
        assert ray_address() == address
