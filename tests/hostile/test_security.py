"""What SECURITY.md promises of a sweep on this machine, seen on a real one: who reaches, writes and reads what."""

from __future__ import annotations

import ipaddress
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.hostile.command import SPEC, images

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]
SECRETS = {
    name: f"Manx-{name}-5f1c" for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY")
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A sweep on Ray, begun where everybody may write everything and with secrets in the environment."""
    root = tmp_path_factory.mktemp("swept")
    data = images(root / "pictures")
    (root / "s.yaml").write_text(SPEC.replace("data: digits", f'data: "folder:{data}", batch_size: 4'))
    secrets = SECRETS | {"GRADSWEEP_CACHE": str(root / "cache"), "GRADSWEEP_STORE": str(root / "store")}
    listening: set[tuple[str, int]] = set()
    lines: set[str] = set()
    with subprocess.Popen(
        [sys.executable, "-m", "sweeps.cli", "run", "s.yaml"],
        cwd=root,
        env=os.environ | secrets,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=0,
    ) as driver:
        while driver.poll() is None:
            found = _family(driver.pid)
            listening |= {place for process in found for place in _listening(process)}
            lines |= {_line(process) for process in found}
            try:
                driver.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        assert driver.stdout is not None
        said = driver.stdout.read()
    assert driver.returncode == 0, said
    return {"root": root, "listening": listening, "lines": lines, "said": said}


def _family(process: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(process)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _listening(process: psutil.Process) -> set[tuple[str, int]]:
    try:
        return {(c.laddr.ip, c.laddr.port) for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    except psutil.Error:
        return set()


@pytest.mark.inputs("A sweep on this machine: who listens", outcome="Ray does, on 127.0.0.1 alone")
def test_nothing_listens_beyond_this_machine(swept: dict[str, Any]) -> None:
    assert swept["listening"]
    beyond = [place for place in swept["listening"] if not ipaddress.ip_address(_plain(place[0])).is_loopback]
    assert not beyond


def _plain(address: str) -> str:
    """An address of IPv4 that is written as one of IPv6."""
    return address.removeprefix("::ffff:")


@pytest.mark.inputs("A sweep begun with the umask 0", outcome="no file or folder of it may be written by others")
def test_nobody_else_may_write(swept: dict[str, Any]) -> None:
    made = [*(swept["root"] / "store").rglob("*"), *(swept["root"] / "cache").rglob("*")]
    assert len(made) > 10
    loose = [path for path in made if not path.is_symlink() and path.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP)]
    assert not loose


@pytest.mark.inputs(
    "A sweep with passwords in its environment",
    outcome="in no file of the store, no command line, no line of output",
)
def test_no_secret_is_written_or_said(swept: dict[str, Any]) -> None:
    for secret in SECRETS.values():
        assert secret not in swept["said"]
        assert not [line for line in swept["lines"] if secret in line]
        files = [p for p in swept["root"].rglob("*") if p.is_file()]
        assert files and not [p for p in files if secret.encode() in p.read_bytes()]


@pytest.mark.inputs("What a sweep leaves behind", outcome="no pickle; none of its processes")
def test_nothing_that_runs_is_left(swept: dict[str, Any]) -> None:
    pickles = [p for p in (swept["root"] / "store").rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".pth")]
    assert not pickles
    marked = f"GRADSWEEP_STORE={swept['root'] / 'store'}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            assert marked not in (folder / "environ").read_bytes().split(b"\0"), (folder / "cmdline").read_text()
        except OSError:
            continue
