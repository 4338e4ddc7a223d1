"""The command `ui`: the MLflow server on a store, for this machine, or with a password for others too."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from sweeps.commands import say
from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.mlflow_server import PASSWORD, USERNAME, Server, for_this_machine_only, login_from
from sweeps.store_file import open_store
from tracking.results import sweeps
from trainers.errors import FailedError, RequestError

PORT = 5000
START_SECONDS = 120.0


def ui(folder: str | None, host: str, port: int | None, as_json: bool) -> int:
    """Serve until a signal comes, and say where once it answers. The exit status.

    A store with a server of its own is only told where. Raises RequestError where others would reach ours without a
    password, or there is nothing to show.
    """
    store, login = open_store(folder), login_from(os.environ)
    uri = store.mlflow_uri
    started = {"store": str(store.where), "url": uri, "serving": False, "user": None, "sweeps": {}}
    if uri.startswith(("http://", "https://")):
        say(started, _text(started), as_json)
        return 0
    if not login and not for_this_machine_only(host):
        raise RequestError(
            f"--host {host}: others would reach it, so it needs a password: set {PASSWORD}, "
            f"or {PASSWORD}_FILE to a file with it; or leave --host out"
        )
    if store.mlflow is None and not store.mlflow_db.exists():
        if sweeps(store):
            raise RequestError(f"the sweep in {store.folder} has just started: try again in a minute")
        words = ["gradsweep", "run", "quickstart", *(["--store", folder] if folder else [])]
        raise RequestError(f"there is no sweep in {store.folder} yet: {shlex.join(words)}")
    server = Server(host, _port(host, port), login)
    # A session of its own, so that Ctrl-C reaches it only through us; a folder of its own, because the web server
    # that MLflow starts puts the current one on Python's path.
    with (
        TemporaryDirectory(prefix="gradsweep-ui-") as scratch,
        subprocess.Popen(
            server.command,
            cwd=scratch,
            env=server.environment(uri, str(store.artifacts), Path(scratch), os.environ),
            stdout=sys.stderr,
            stderr=sys.stderr,
            start_new_session=True,
        ) as process,
    ):
        try:
            with Interrupt() as interrupt:
                _wait_until_up(server, process, interrupt)
                started |= {"url": server.url, "serving": True, "user": login.get(USERNAME), "sweeps": _pages(server)}
                say(started, _text(started), as_json)
                sys.stdout.flush()
                while process.poll() is None:
                    interrupt.check()
                    time.sleep(0.1)
            return 1
        except Interrupted as signal:
            return signal.exit_status
        finally:
            process.terminate()


def _text(started: dict[str, Any]) -> str:
    """Where to look."""
    user = f", as {started['user']}" if started["user"] else ""
    ending = "   (Ctrl-C stops it)" if started["serving"] else ""
    lines = [f"MLflow on {started['store']}: {started['url']}{user}{ending}"]
    return "\n".join(lines + [f"{name:<15} {page}" for name, page in started["sweeps"].items()])


def _port(host: str, wanted: int | None) -> int:
    """The wanted port, else the usual one, else a free one. Raises RequestError where the wanted one is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in (PORT, 0) if wanted is None else (wanted,):
        with suppress(OSError, OverflowError), socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    if wanted is None:
        raise RequestError(f"--host {host}: nothing can listen there; it must be an address of this machine")
    raise RequestError(f"--port {wanted}: it is in use or not allowed; leave --port out to take a free one")


def _pages(server: Server) -> dict[str, str]:
    """Each sweep's page, the newest first."""
    search = f"{server.here}/api/2.0/mlflow/experiments/search"
    login = (server.login[USERNAME], server.login[PASSWORD]) if server.login else None
    newest_first = ["creation_time DESC"]
    answer = requests.post(search, json={"max_results": 1000, "order_by": newest_first}, auth=login, timeout=30)
    answer.raise_for_status()
    experiments = answer.json().get("experiments", [])
    # Without its last part MLflow shows what it has for language models.
    page = f"{server.url}/#/experiments/{{}}/runs?workflowType=machine_learning"
    return {e["name"]: page.format(e["experiment_id"]) for e in experiments if e["name"] != "Default"}


def _wait_until_up(server: Server, process: subprocess.Popen[bytes], interrupt: Interrupt) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        interrupt.check()
        if process.poll() is not None:
            raise FailedError(f"the MLflow server ended at once, with status {process.returncode}")
        with suppress(requests.RequestException):
            requests.get(f"{server.here}/health", timeout=1).raise_for_status()
            return
        time.sleep(0.1)
    raise FailedError(f"the MLflow server did not answer within {START_SECONDS:.0f} s")
