"""The command `ui`: the MLflow server on a store, for this machine, or with a password for others too."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from typer import Option

from sweeps.commands import Json, Store, app, say
from sweeps.driver.signals import Interrupt, Interrupted
from trainers.errors import FAILED, RequestError


@app.command()
def ui(
    store: Store = None,
    host: Annotated[
        str, Option(help="an address others can reach needs a password in MLFLOW_AUTH_ADMIN_PASSWORD")
    ] = "127.0.0.1",
    port: Annotated[int | None, Option(help="default: 5000, or a free one if that is taken")] = None,
    as_json: Json = False,
) -> int:
    """Serve the MLflow UI on the store until Ctrl-C.

    For this machine, or with a password for others too.
    """
    from sweeps.mlflow_server import PASSWORD, USERNAME, Server, for_this_machine_only, free_port, login_from
    from sweeps.store_file import open_store
    from tracking.results import sweeps

    place, login = open_store(store), login_from(os.environ)
    uri = place.mlflow_uri
    if uri.startswith(("http://", "https://")):
        started = {"store": str(place.where), "url": uri, "serving": False, "user": None, "sweeps": {}}
        say(started, f"MLflow on {place.where}: {uri}", as_json)
        return 0
    if not login and not for_this_machine_only(host):
        raise RequestError(
            f"--host {host}: others would reach it, so it needs a password: set {PASSWORD}, "
            f"or {PASSWORD}_FILE to a file with it; or leave --host out"
        )
    if place.mlflow is None and not place.mlflow_db.exists():
        if sweeps(place):
            raise RequestError(f"the sweep in {place.folder} has just started: try again in a minute")
        words = ["gradsweep", "run", "quickstart", *(["--store", store] if store else [])]
        raise RequestError(f"there is no sweep in {place.folder} yet: {shlex.join(words)}")
    server = Server(host, free_port(host, port), login)
    # A session of its own, so that Ctrl-C reaches it only through us; a folder of its own, because the web server
    # that MLflow starts puts the current one on Python's path.
    with (
        TemporaryDirectory(prefix="gradsweep-ui-") as scratch,
        subprocess.Popen(
            server.command,
            cwd=scratch,
            env=server.environment(uri, str(place.artifacts), Path(scratch), os.environ),
            stdout=sys.stderr,
            stderr=sys.stderr,
            start_new_session=True,
        ) as process,
    ):
        try:
            with Interrupt() as interrupt:
                pages, user, url = server.pages(process, interrupt.check), login.get(USERNAME), server.url
                started = {"store": str(place.where), "url": url, "serving": True, "user": user, "sweeps": pages}
                where = f"MLflow on {place.where}: {url}{f', as {user}' if user else ''}   (Ctrl-C stops it)"
                say(started, "\n".join([where, *(f"{name:<15} {page}" for name, page in pages.items())]), as_json)
                sys.stdout.flush()
                while process.poll() is None:
                    interrupt.check()
                    time.sleep(0.1)
            return FAILED
        except Interrupted as signal:
            return signal.exit_status
        finally:
            process.terminate()
