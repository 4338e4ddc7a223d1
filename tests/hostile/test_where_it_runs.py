"""A sweep where people have no home, another user's rights, a stale RAY_ADDRESS, a long TMPDIR or few processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.hostile.command import SPEC

pytestmark = pytest.mark.timeout(600)

MINUTE = 60
RIGHTS = "+dac_read_search"  # to find Python and our packages, wherever they are; nothing may be written by it
STRANGER = [
    "setpriv",
    "--reuid=54321",
    "--regid=54321",
    "--clear-groups",
    "--inh-caps",
    RIGHTS,
    "--ambient-caps",
    RIGHTS,
]
READ_ONLY = 'mkdir -p "$HOME" && mount -t tmpfs -o ro tmpfs "$HOME" && exec "$0" "$@"'
HOMES: Mapping[str, tuple[list[str], str | None]] = {
    "read-only": (["unshare", "-m", "sh", "-c", READ_ONLY], "HOME"),
    "/, of an unknown user": (STRANGER, "/"),
    "unset, of an unknown user": (STRANGER, None),
    "missing": (STRANGER, "/nonexistent"),
}
OURS = ("starting Ray", "x: ", "updating the mirrors", "MLflow: gradsweep ui ")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder that anybody may write, with a spec."""
    folder = tmp_path / "here"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "s.yaml").write_text(SPEC)
    return folder


def gradsweep(
    here: Path, *words: str, within: list[str] | None = None, seconds: float | None = None, **settings: str | None
) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, in variables without Ray's and ours but with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "GRADSWEEP_", "XDG_"))}
    environment = {name: value for name, value in (kept | settings).items() if value is not None}
    command = [*(within or []), sys.executable, "-m", "sweeps.cli", *words]
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=seconds)


@pytest.mark.inputs("Homes that are read-only, missing, / or nobody's", cases=HOMES, outcome="the sweep runs")
@pytest.mark.parametrize(
    "executor", ["in-process", pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.ray])], ids=str
)
@pytest.mark.parametrize("home", HOMES)
def test_homes(here: Path, home: str, executor: str) -> None:
    within, place = HOMES[home]
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else, or mount a home")
    settings = {"HOME": str(here.parent / "home") if place == "HOME" else place}
    ran = gradsweep(here, "run", "s.yaml", "--executor", executor, within=within, **settings)
    if "unshare failed" in ran.stderr or "setpriv:" in ran.stderr:
        pytest.skip(f"not possible here: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    assert "1 complete" in ran.stderr and "x: 1 configuration" in ran.stdout
    lines = ran.stderr.splitlines()
    assert [line for line in lines if not line.startswith(OURS)] == []


@pytest.mark.inputs("RAY_ADDRESS where nothing answers, of the Jobs API, of Ray's client, and no address")
def test_ray_addresses(here: Path, subtests: pytest.Subtests) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        stale = f"127.0.0.1:{nobody.getsockname()[1]}"
        for address in (stale, "http://head:8265", "ray://head:10001", "head"):
            with subtests.test(address):
                ran = gradsweep(here, "run", "s.yaml", seconds=MINUTE, RAY_ADDRESS=address)
                assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
                first, last = ran.stderr.splitlines()
                assert first == f"connecting to the Ray cluster of RAY_ADDRESS={address}"
                assert last.startswith("gradsweep: ") and f"RAY_ADDRESS={address}" in last
                assert last.endswith("unset RAY_ADDRESS to train on this machine")
        listed = gradsweep(here, "list")
        assert "no sweeps" in listed.stdout


@pytest.mark.slow
@pytest.mark.inputs("RAY_ADDRESS where something answers that is no Ray cluster")
def test_a_ray_address_of_something_else(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        ran = gradsweep(here, "run", "s.yaml", seconds=2 * MINUTE, RAY_ADDRESS=address)
    assert ran.returncode == 2, ran.stderr
    assert f"no Ray cluster answers at RAY_ADDRESS={address}" in ran.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.inputs("A TMPDIR whose name is too long for Ray's sockets", outcome="the sweep runs, its Ray in /tmp")
def test_a_long_temporary_folder(here: Path) -> None:
    place = here / "of-a-job" / ("x" * 100)
    place.mkdir(parents=True)
    ran = gradsweep(here, "run", "s.yaml", TMPDIR=str(place))
    assert ran.returncode == 0, ran.stderr
    assert list(place.iterdir()) == []


@pytest.mark.inputs("Fewer processes than Ray needs")
def test_few_processes(here: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be a user who has no other processes")
    within = ["prlimit", "--nproc=100", *STRANGER]
    ran = gradsweep(here, "run", "s.yaml", within=within, seconds=MINUTE, HOME=str(here))
    assert ran.returncode == 2, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert "more are allowed" in last and "ulimit -u" in last and "--executor in-process" in last
    ran = gradsweep(here, "run", "s.yaml", "--executor", "in-process", within=within, HOME=str(here))
    assert ran.returncode == 0, ran.stderr


COMMANDS = [["plan", "s.yaml"], ["studies"], ["--help"]]


@pytest.mark.inputs("A reader that has seen enough, as `head` has", cases=COMMANDS, outcome="exit status 0")
def test_a_reader_that_is_gone(here: Path, subtests: pytest.Subtests) -> None:
    for words in COMMANDS:
        for unbuffered in ("", "1"):
            with subtests.test(f"{words}, {unbuffered}"):
                read, write = os.pipe()
                os.close(read)
                ran = subprocess.run(
                    [sys.executable, "-m", "sweeps.cli", *words],
                    cwd=here,
                    env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
                    stdout=write,
                    stderr=subprocess.PIPE,
                )
                os.close(write)
                assert (ran.returncode, ran.stderr) == (0, b"")
