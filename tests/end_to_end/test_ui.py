"""The MLflow UI on a store: it answers, shows the sweep, asks others for a password, and Ctrl-C ends all of it."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SPEC = """\
name: seen
base: {init_scale: 1.0, data: "IMAGES", epochs: 1, batch_size: 8}
seeds: 1
arms:
  plain: {alpha: 1.0}
"""
SECRET = "a-long-enough-password"
SEARCH = "/ajax-api/2.0/mlflow/experiments/search"


@pytest.fixture(scope="module")
def seen(make_command: Callable[[], Any], images: str) -> Any:
    """The store of a sweep."""
    command = make_command()
    command("run", command.spec("s", SPEC.replace("IMAGES", images)), "--executor", "in-process")
    return command


def document(process: subprocess.Popen[str]) -> Any:
    """What it prints when it is up."""
    assert process.stdout is not None
    text = process.stdout.readline()
    while not text.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()
        text += line
    return json.loads(text)


def end(process: subprocess.Popen[str], seen: Any) -> None:
    """Ctrl-C, after which nothing of it is left."""
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    seen.until(lambda: not seen.processes())


def test_the_ui_on_a_store(seen: Any) -> None:
    process = seen.start("ui", "--json")
    started = document(process)
    assert started["url"].startswith("http://127.0.0.1:")
    assert list(started["sweeps"]) == ["seen"] and started["user"] is None
    with urllib.request.urlopen(started["url"], timeout=60) as page:
        assert b"<title>MLflow</title>" in page.read()
    taken = started["url"].rpartition(":")[2]
    refused = seen("ui", "--port", taken, status=2)
    assert f"--port {taken}" in refused.stderr
    end(process, seen)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", int(taken)))


def test_beyond_this_machine_it_asks_for_the_password(seen: Any, tmp_path: Path) -> None:
    refused = seen("ui", "--host", "0.0.0.0", status=2)
    (line,) = refused.stderr.splitlines()
    assert "--host 0.0.0.0" in line and "MLFLOW_AUTH_ADMIN_PASSWORD_FILE" in line

    file = tmp_path / "password"
    file.write_text(SECRET)
    process = seen.start("ui", "--host", "0.0.0.0", "--json", MLFLOW_AUTH_ADMIN_PASSWORD_FILE=str(file))
    started = document(process)
    port = started["url"].rpartition(":")[2]
    assert started["url"] == f"http://{socket.gethostname()}:{port}"
    assert list(started["sweeps"]) == ["seen"] and started["user"] == "admin"

    def ask(password: str | None, host: str = f"127.0.0.1:{port}", origin: str = "") -> int:
        headers = {"Host": host, "Content-Type": "application/json"} | ({"Origin": origin} if origin else {})
        if password is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(f'admin:{password}'.encode()).decode()}"
        url = f"http://127.0.0.1:{port}{SEARCH}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, b'{"max_results": 5}', headers), timeout=60
            ) as found:
                return int(found.status)
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code)

    named = f"{socket.gethostname()}:{port}"
    assert (ask(None), ask("another-password"), ask(SECRET)) == (401, 401, 200)
    assert ask(SECRET, named, f"http://{named}") == 200  # a browser elsewhere
    assert ask(SECRET, "evil.example.com") == 403
    assert ask(SECRET, origin="http://evil.example.com") == 403
    assert not [line for line in seen.processes().values() if SECRET in line]
    end(process, seen)


def test_a_store_with_a_server_of_its_own_is_only_told_where(seen: Any) -> None:
    file = seen.folder / "team.yaml"
    file.write_text(f"mlflow: https://mlflow.example.com\nfolder: {seen.folder}/team\n")
    found = seen.json("ui", "--store", str(file))
    assert found["url"] == "https://mlflow.example.com" and not found["serving"]


SHADOWS = (
    "trainers",
    "sweeps",
    "tracking",
    "search_spaces",
    "click",
    "flask",
    "mlflow",
    "yaml",
    "numpy",
    "types",
    "json",
)


def test_modules_beside_the_spec_disturb_nothing(seen: Any, images: str, tmp_path: Path) -> None:
    """Neither the sweep nor the server imports what lies in the current folder, whatever its name."""
    (tmp_path / "s.yaml").write_text(SPEC.replace("IMAGES", images).replace("name: seen", "name: beside"))
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})\n1 / 0\n")
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text((tmp_path / f"{name}.py").read_text())
    gradsweep = str(Path(sys.executable).with_name("gradsweep"))
    environment = os.environ | {"GRADSWEEP_STORE": str(seen.store.folder), "GRADSWEEP_CACHE": str(tmp_path / "cache")}

    def start(*words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [gradsweep, *words],
            cwd=tmp_path,
            env=environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )

    with start("run", "s.yaml", "--executor", "in-process") as sweep:
        _, errors = sweep.communicate()
        assert sweep.returncode == 0, errors
    process = start("ui", "--json")
    assert {"seen", "beside"} == set(document(process)["sweeps"])
    end(process, seen)
    assert not (tmp_path / "imported").exists()
