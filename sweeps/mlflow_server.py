"""The MLflow server as it is started for `gradsweep ui`: measured settings, and a password where others can reach it.

One worker and no job runner: up in 4.4 s with 480 MB, where the defaults take 22 s and 2.3 GB. What is secret is in
its environment, never among its arguments, which everybody on the machine can read.

    server = Server("0.0.0.0", 5000, login_from(os.environ))
    subprocess.Popen(server.command, cwd=folder, env=server.environment(uri, artifacts, folder, os.environ))
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from trainers.errors import FailedError, RequestError

USERNAME, PASSWORD, KEY = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"
PORT = 5000
START_SECONDS = 120.0
PASSWORD_CHARACTERS = 12  # MLflow's own rule
EVERYWHERE = ("0.0.0.0", "::")

# By itself MLflow hashes the password at every request, which takes most of its time: 1.3 s of a processor per
# configuration instead of 0.1. With one worker a new password holds at once all the same.
AUTH = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{database}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


@dataclass(frozen=True)
class Server:
    """Where it listens, and the settings of its login, see `login_from`; without one whoever reaches it may use it."""

    host: str
    port: int
    login: Mapping[str, str]

    @property
    def command(self) -> list[str]:
        """What starts it. The current folder stays off Python's path: a `click.py` there is none of ours."""
        words = [sys.executable, "-P", "-m", "mlflow", "server", "--host", self.host, "--port", str(self.port)]
        return [*words, "--workers", "1", *(["--app-name", "basic-auth"] if self.login else [])]

    @property
    def url(self) -> str:
        """Its address for people."""
        return _url(socket.gethostname() if self.host in EVERYWHERE else self.host, self.port)

    @property
    def here(self) -> str:
        """Its address from this machine."""
        return _url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)

    def environment(self, uri: str, artifacts: str, folder: Path, given: Mapping[str, str]) -> dict[str, str]:
        """The environment on a store; with a login, its users' database and file are written to `folder`.

        `given` is the caller's environment, whose own word on hosts and origins stands.
        """
        # MLflow answers only the hosts and origins that it knows.
        names = sorted({"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn(), self.host})
        urls = [_url(name, self.port) for name in names if name not in EVERYWHERE]
        known = {
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(url.removeprefix("http://") for url in urls),
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(urls),
        }
        settings = {
            "MLFLOW_BACKEND_STORE_URI": uri,
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONSAFEPATH": "1",
            **self.login,
        }
        if self.login:
            file = folder / "auth.ini"
            file.write_text(AUTH.format(database=str(folder / "users.db").replace("%", "%%")))
            settings["MLFLOW_AUTH_CONFIG_PATH"] = str(file)
        return {**given, **{name: given.get(name) or words for name, words in known.items()}, **settings}

    def pages(self, process: subprocess.Popen[bytes], check: Callable[[], None]) -> dict[str, str]:
        """Each sweep's page, the newest first, as soon as the server answers; `check` may end the waiting.

        Raises FailedError where the server ends or takes too long.
        """
        login = (self.login[USERNAME], self.login[PASSWORD]) if self.login else None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            check()
            if process.poll() is not None:
                raise FailedError(f"the MLflow server ended at once, with status {process.returncode}")
            with suppress(requests.RequestException):
                return pages_of(self.here, self.url, login)
            time.sleep(0.1)
        raise FailedError(f"the MLflow server did not answer within {START_SECONDS:.0f} s")


def pages_of(server: str, shown: str, login: tuple[str, str] | None) -> dict[str, str]:
    """The page of each experiment of a server but MLflow's own, the newest first, at its address for people.

    Raises requests.RequestException where it does not answer, or not as MLflow does.
    """
    newest_first: dict[str, Any] = {"max_results": 1000, "order_by": ["creation_time DESC"]}
    search = f"{server.rstrip('/')}/api/2.0/mlflow/experiments/search"
    answer = requests.post(search, json=newest_first, auth=login, timeout=3)
    answer.raise_for_status()
    names = {e["experiment_id"]: e["name"] for e in answer.json().get("experiments", [])}
    # Without its last part MLflow shows what it has for language models.
    page = f"{shown.rstrip('/')}/#/experiments/{{}}/runs?workflowType=machine_learning"
    return {name: page.format(number) for number, name in names.items() if name != "Default"}


def login_from(given: Mapping[str, str]) -> dict[str, str]:
    """The login of the server's one user as settings; each is in the environment as NAME, or in the file of NAME_FILE.

    Empty without a password. Raises RequestError where a file can't be read or MLflow would not take the password.
    """
    words = {name: _word(name, given) for name in (USERNAME, PASSWORD, KEY)}
    if not words[PASSWORD]:
        return {}
    if len(words[PASSWORD]) < PASSWORD_CHARACTERS:
        raise RequestError(f"{PASSWORD}: a password has at least {PASSWORD_CHARACTERS} characters")
    defaults = {USERNAME: "admin", KEY: secrets.token_hex(32)}  # it signs its forms with the key
    return defaults | {name: word for name, word in words.items() if word}


def for_this_machine_only(host: str) -> bool:
    """Whether nobody elsewhere can reach what listens there. Raises RequestError for a host that is none."""
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise RequestError(f"--host {host}: not an address of this machine; try 127.0.0.1 or 0.0.0.0") from None
    return all(ipaddress.ip_address(str(address[4][0])).is_loopback for address in addresses)


def free_port(host: str, wanted: int | None) -> int:
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


def _word(name: str, given: Mapping[str, str]) -> str:
    file = given.get(f"{name}_FILE")
    if name in given or not file:
        return given.get(name, "")
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text"
        raise RequestError(f"{name}_FILE: {file} can't be read: {reason}") from None


def _url(name: str, port: int) -> str:
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
