"""The MLflow server as it is started for `gradsweep ui`: measured settings, and a password where others can reach it.

One worker and no job runner: up in 4.4 s with 480 MB, where the defaults take 22 s and 2.3 GB. What is secret is in
its environment, never among its arguments, which everybody on the machine can read.

    server = Server("0.0.0.0", 5000, login_from(os.environ))
    subprocess.Popen(server.command, cwd=folder, env=os.environ | server.environment(uri, artifacts, folder))
"""

from __future__ import annotations

import base64
import ipaddress
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import RequestError

USERNAME, PASSWORD, KEY = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"
HOSTS, ORIGINS = "MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"
PASSWORD_CHARACTERS = 12  # MLflow's own rule
EVERYWHERE = ("0.0.0.0", "::")

AUTH = """\
[mlflow]
default_permission = READ
database_uri = sqlite:///{database}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@dataclass(frozen=True)
class Login:
    """The server's one user, and the key that it signs its forms with."""

    username: str
    password: str
    key: str


@dataclass(frozen=True)
class Server:
    """Where it listens, and whether it needs a login."""

    host: str
    port: int
    login: Login | None

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

    @property
    def headers(self) -> dict[str, str]:
        """What a request of the login's has to carry."""
        if self.login is None:
            return {}
        pair = f"{self.login.username}:{self.login.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def environment(self, uri: str, artifacts: str, folder: Path, given: Mapping[str, str]) -> dict[str, str]:
        """The settings on a store; with a login, its users' database and file are written to `folder`.

        `given` is the caller's environment, whose own word on hosts and origins stands.
        """
        settings = {
            "MLFLOW_BACKEND_STORE_URI": uri,
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONSAFEPATH": "1",
        }
        # MLflow answers only the hosts and origins that it knows.
        names = sorted({"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn(), self.host})
        urls = [_url(name, self.port) for name in names if name not in EVERYWHERE]
        settings[HOSTS] = given.get(HOSTS) or ",".join(url.removeprefix("http://") for url in urls)
        settings[ORIGINS] = given.get(ORIGINS) or ",".join(urls)
        if self.login is None:
            return settings
        file = folder / "auth.ini"
        file.write_text(AUTH.format(database=str(folder / "users.db").replace("%", "%%")))
        names_and_words = {USERNAME: self.login.username, PASSWORD: self.login.password, KEY: self.login.key}
        return settings | names_and_words | {"MLFLOW_AUTH_CONFIG_PATH": str(file)}


def login_from(given: Mapping[str, str]) -> Login | None:
    """The login in the environment, each word of it as NAME or in a file named in NAME_FILE; None without a password.

    Raises RequestError where a file can't be read or MLflow would not take the password.
    """
    password = _word(PASSWORD, given)
    if not password:
        return None
    if len(password) < PASSWORD_CHARACTERS:
        raise RequestError(f"{PASSWORD}: a password has at least {PASSWORD_CHARACTERS} characters")
    return Login(_word(USERNAME, given) or "admin", password, _word(KEY, given) or secrets.token_hex(32))


def for_this_machine_only(host: str) -> bool:
    """Whether nobody elsewhere can reach what listens there. Raises RequestError for a host that is none."""
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise RequestError(f"--host {host}: not an address of this machine; try 127.0.0.1 or 0.0.0.0") from None
    return all(ipaddress.ip_address(str(address[4][0])).is_loopback for address in addresses)


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
