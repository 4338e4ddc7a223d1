"""The folder of Ray's session: gone with its driver, or with the next one."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from sweeps.executors.ray_session import session_folder

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
