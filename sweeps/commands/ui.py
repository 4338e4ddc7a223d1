"""The command `ui`: the MLflow server on a store, for this machine, or with a password for others too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from sweeps.commands import Json, Store, app, say, typed
from sweeps.driver.signals import Interrupt, Interrupted
from trainers.errors import FailedError, RequestError, StoreError, flat

if TYPE_CHECKING:
    import tracking.store

SERVERS = ("http://", "https://")
TRAINING = "workflowType=machine_learning"  # without it MLflow shows what it has for language models


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
    import requests

    from sweeps.mlflow_server import PASSWORD, USERNAME, Server, for_this_machine_only, free_port, login_from, pages_of
    from sweeps.store_file import open_store
    from tracking.store import without_password

    place, login = open_store(store), login_from(os.environ)
    uri, names = records_of(place, store)
    if uri.startswith(SERVERS):
        pages, user = {}, os.environ.get("MLFLOW_TRACKING_USERNAME")
        with suppress(requests.RequestException):  # as where the server wants a token
            there = pages_of(uri, uri, (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else None)
            pages = {name: page for name, page in there.items() if not names or name in names}
        url = without_password(uri)
        started = {"store": str(place.where), "url": url, "serving": False, "user": None, "sweeps": pages}
        _say_pages(started, f"The records of {place.where} are in MLflow at {url}", as_json)
        return 0
    if not login and not for_this_machine_only(host):
        raise RequestError(
            f"--host {host}: others would reach it, so it needs a password: set {PASSWORD}, "
            f"or {PASSWORD}_FILE to a file with it; or leave --host out"
        )
    server = Server(host, free_port(host, port), login)
    # A session of its own, so that Ctrl-C reaches it only through us; a folder of its own, because the web server
    # that MLflow starts puts the current one on Python's path.
    with (
        TemporaryDirectory(prefix="gradsweep-ui-") as scratch,
        open(Path(scratch) / "server.log", "w+b") as log,
        subprocess.Popen(
            server.command,
            cwd=scratch,
            env=server.environment(uri, str(place.artifacts), Path(scratch), os.environ),
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            with Interrupt() as interrupt:
                there = server.pages(process, interrupt.check)
                pages = {name: page for name, page in there.items() if not names or name in names}
                user, url = login.get(USERNAME), server.url
                shown = str(place.where) if uri == place.mlflow_uri else without_password(uri)
                started = {"store": str(place.where), "url": url, "serving": True, "user": user, "sweeps": pages}
                _say_pages(started, f"MLflow on {shown}{f', as {user}' if user else ''} (Ctrl-C stops it)", as_json)
                while process.poll() is None:
                    interrupt.check()
                    time.sleep(0.1)
            raise FailedError(f"the MLflow server has ended, with status {process.returncode}")
        except FailedError as error:
            log.seek(0)
            raise FailedError(f"{error}: {flat(log.read().decode(errors='replace')[-2000:])}") from None
        except Interrupted as signal:
            return signal.exit_status
        finally:
            process.terminate()


def _say_pages(started: dict[str, Any], where: str, as_json: bool) -> None:
    """Where it is and the sweeps' pages, the newest last, which is shown in a browser where there is one."""
    newest = next(iter(started["sweeps"].values()), f"{started['url'].rstrip('/')}/#/experiments?{TRAINING}")
    older = [f"{name:<15} {page}" for name, page in list(started["sweeps"].items())[:0:-1]]
    say(started, "\n".join([where, *older, newest]), as_json)
    sys.stdout.flush()
    if not as_json and has_browser():
        threading.Thread(target=webbrowser.open, args=(newest,), daemon=True).start()


def records_of(place: tracking.store.Store, store: str | None) -> tuple[str, list[str]]:
    """The MLflow with the records of a store's sweeps, and their names: the store's own, or that of `tracking.uri`.

    Raises RequestError where there are no records yet, or in several places of which none is the store's own.
    """
    from sweeps.spec.reading import parse
    from tracking import database
    from tracking.results import sweeps
    from tracking.store import without_password

    try:
        known = sweeps(place)
    except StoreError:
        if place.mlflow is None:
            raise
        known = []  # who looks at a team's MLflow need not know its ledger
    uris = {s.name: parse(s.spec, s.name, begun=True).tracking.uri or place.mlflow_uri for s in known}
    chosen = place.mlflow_uri if place.mlflow_uri in uris.values() or not uris else next(iter(uris.values()))
    elsewhere = {name: without_password(uri) for name, uri in uris.items() if uri != chosen}
    if chosen != place.mlflow_uri and elsewhere:
        every = "; ".join(f"{name}: {without_password(uri)}" for name, uri in uris.items())
        raise RequestError(f"the sweeps in {place.folder} are recorded in several places (tracking.uri): {every}")
    for name, uri in elsewhere.items():
        print(f"{name} is recorded elsewhere (tracking.uri): {uri}", file=sys.stderr)
    if database.missing(chosen):
        if uris:
            raise RequestError(f"the sweep in {place.folder} has just started: try again in a minute")
        raise RequestError(f"there is no sweep in {place.folder} yet: {typed('run', 'quickstart', store=store)}")
    return chosen, list(uris)


def has_browser() -> bool:
    """Whether somebody sits before this terminal who can be shown a page."""
    shown = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    return shown and sys.stdout.isatty()
