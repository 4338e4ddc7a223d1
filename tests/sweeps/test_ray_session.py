"""The folder of Ray's session: gone with its driver, or with the next one."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweeps.executors import ray_session
from sweeps.executors.ray_session import check_address, check_processes, session_folder, temporary_folder
from trainers.errors import RequestError

DRIVER = """
import sys
from pathlib import Path
from sweeps.executors.ray_session import session_folder

with session_folder(Path(sys.argv[1])) as folder:
    folder.mkdir()
    (folder / "socket").touch()
    print("there", flush=True)
    sys.stdin.read()
"""


def test_it_is_this_users_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with session_folder(tmp_path) as folder:
        folder.mkdir()
        os.chmod(folder, 0o777)  # as Ray does
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_living_driver_stays_and_that_of_a_killed_one_goes(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "there\n"
        with session_folder(tmp_path):
            assert len(list(tmp_path.iterdir())) == 2
        (theirs,) = tmp_path.iterdir()
        assert (theirs / "r" / "socket").exists()
        other.send_signal(signal.SIGKILL)
    with session_folder(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder.parent]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "gradsweep-ray-link").symlink_to(tmp_path / "other")
    (tmp_path / "gradsweep-ray-results").mkdir()
    (tmp_path / "gradsweep-ray-results" / "theirs").touch()
    with session_folder(tmp_path):
        pass
    assert sorted(f.name for f in tmp_path.iterdir()) == ["gradsweep-ray-link", "gradsweep-ray-results", "other"]
    assert (tmp_path / "gradsweep-ray-results" / "theirs").exists()


def test_a_name_that_is_too_long_for_sockets_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        assert temporary_folder(short) == Path(short)
    long = tmp_path / ("x" * 100)
    long.mkdir()
    assert temporary_folder(str(long)) == Path("/tmp")
    assert temporary_folder("/nonexistent") == Path("/tmp")
    monkeypatch.setattr(os, "access", lambda place, how: False)
    with pytest.raises(RequestError, match="at most [0-9]+ characters.* TMPDIR .* --executor in-process"):
        temporary_folder(str(long))


def test_what_is_no_address_of_a_cluster_is_refused_at_once() -> None:
    for address, says in (
        ("http://head:8265", "HOST:PORT, without http://; gradsweep submit SPEC --to http://head:8265 "),
        ("ray://head:10001", "HOST:PORT, without ray://; gradsweep submit SPEC --to http://HEAD:8265 "),
        ("head", "must be HOST:PORT of a Ray cluster, auto or local"),
        ("head:https", "must be HOST:PORT"),
        ("ftp://head:1", "must be HOST:PORT"),
        ("head.invalid:6379", "no Ray cluster answers"),
    ):
        with pytest.raises(RequestError, match=f"RAY_ADDRESS={address}") as error:
            check_address(address)
        assert says in str(error.value)
        assert str(error.value).endswith("unset RAY_ADDRESS to train on this machine")
    check_address("auto")


def test_where_nobody_listens_is_refused_at_once() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{1}".format(*probe.getsockname())
        with pytest.raises(RequestError, match=f"no Ray cluster answers at RAY_ADDRESS={address} .Connection refused"):
            check_address(address)
        probe.listen()
        check_address(address)


def test_too_few_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session, "processes_left", lambda: 200)
    with pytest.raises(RequestError, match="260 processes and threads.* only 200 more .*ulimit -u.* in-process"):
        check_processes(workers=2)
    for enough in (260, None):
        monkeypatch.setattr(ray_session, "processes_left", lambda enough=enough: enough)
        check_processes(workers=2)
