"""How `gradsweep ui` starts the MLflow server: for whom it listens, and where its secrets are."""

from __future__ import annotations

import configparser
import queue
import socket
import sys
import webbrowser
from pathlib import Path

import pytest

from sweeps.commands import ui
from sweeps.mlflow_server import KEY, PASSWORD, USERNAME, Server, for_this_machine_only, login_from
from trainers.errors import RequestError

SECRET = "a-long-enough-password"
ANN = {USERNAME: "ann", PASSWORD: SECRET, KEY: "the-key"}


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("localhost", True), ("127.1.2.3", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_who_can_reach_a_host(host: str, alone: bool) -> None:
    assert for_this_machine_only(host) is alone


def test_a_host_that_is_none_is_refused() -> None:
    with pytest.raises(RequestError, match="--host no such host: .*127.0.0.1"):
        for_this_machine_only("no such host")


def test_without_a_password_there_is_no_login() -> None:
    assert login_from({}) == {}
    assert login_from({"MLFLOW_AUTH_ADMIN_USERNAME": "ann"}) == {}


def test_a_password_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    for given in ({"MLFLOW_AUTH_ADMIN_PASSWORD": SECRET}, {"MLFLOW_AUTH_ADMIN_PASSWORD_FILE": str(file)}):
        login = login_from(given)
        assert (login[USERNAME], login[PASSWORD]) == ("admin", SECRET)
        assert len(login[KEY]) == 64  # made here, where none is given
    assert login_from(ANN) == ANN


def test_a_password_that_mlflow_would_not_take_is_refused_and_not_told() -> None:
    with pytest.raises(RequestError, match="MLFLOW_AUTH_ADMIN_PASSWORD: .*12 characters") as error:
        login_from({"MLFLOW_AUTH_ADMIN_PASSWORD": "short-one"})
    assert "short-one" not in str(error.value)


def test_a_password_file_that_is_not_there_is_named() -> None:
    with pytest.raises(RequestError, match="_PASSWORD_FILE: /nowhere/password can't be read"):
        login_from({"MLFLOW_AUTH_ADMIN_PASSWORD_FILE": "/nowhere/password"})


def test_no_argument_holds_a_secret(tmp_path: Path) -> None:
    server = Server("0.0.0.0", 5000, ANN)
    settings = server.environment("postgresql://ann:word@db/mlflow", "artifacts", tmp_path, {})
    said = " ".join(server.command)
    assert "basic-auth" in said
    assert not [word for word in (SECRET, "the-key", "ann:word") if word in said]
    assert settings["MLFLOW_AUTH_ADMIN_PASSWORD"] == SECRET
    assert SECRET not in (tmp_path / "auth.ini").read_text()


def test_the_users_are_in_the_folder_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "100%s"
    folder.mkdir()
    settings = Server("0.0.0.0", 5000, ANN).environment("sqlite:///x", "a", folder, {})
    read = configparser.ConfigParser()
    read.read(settings["MLFLOW_AUTH_CONFIG_PATH"])
    assert read["mlflow"]["database_uri"] == f"sqlite:///{folder}/users.db"


def test_browsers_on_any_name_of_the_machine_are_answered(tmp_path: Path) -> None:
    """MLflow answers no Host, and takes no POST from an Origin, that it has not been told of: its own not either."""
    settings = Server("0.0.0.0", 5001, ANN).environment("u", "a", tmp_path, {})
    hosts = settings["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    origins = settings["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert {"localhost:5001", "127.0.0.1:5001", "[::1]:5001", f"{socket.gethostname()}:5001"} <= set(hosts)
    assert origins == [f"http://{host}" for host in hosts]
    assert "0.0.0.0" not in settings["MLFLOW_SERVER_ALLOWED_HOSTS"]


def test_what_the_caller_says_of_hosts_stands(tmp_path: Path) -> None:
    given = {
        "MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow.example.com",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "https://mlflow.example.com",
    }
    settings = Server("127.0.0.1", 5000, {}).environment("u", "a", tmp_path, given)
    assert {key: settings[key] for key in given} == given
    assert not list(tmp_path.iterdir())


def test_addresses_for_people_and_for_this_machine() -> None:
    everywhere = Server("0.0.0.0", 5000, ANN)
    assert (everywhere.url, everywhere.here) == (f"http://{socket.gethostname()}:5000", "http://127.0.0.1:5000")
    assert Server("::1", 5000, {}).url == "http://[::1]:5000"


def test_the_newest_sweep_is_last_and_shown_where_there_is_a_browser(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(webbrowser, "open", shown.put)
    monkeypatch.setattr(ui, "has_browser", lambda: True)
    started = {"url": "http://h:1", "sweeps": {"new": "http://h:1/#/2", "old": "http://h:1/#/1"}}
    ui._say_pages(started, "MLflow on store", as_json=False)
    assert shown.get(timeout=60) == "http://h:1/#/2"
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["MLflow", "on", "store"],
        ["old", "http://h:1/#/1"],
        ["http://h:1/#/2"],
    ]
    ui._say_pages(started | {"sweeps": {}}, "MLflow on store", as_json=False)
    assert shown.get(timeout=60) == "http://h:1/#/experiments?workflowType=machine_learning"
    ui._say_pages(started, "MLflow on store", as_json=True)
    monkeypatch.setattr(ui, "has_browser", lambda: False)
    ui._say_pages(started, "MLflow on store", as_json=False)
    assert shown.empty()


@pytest.mark.parametrize(
    ("variable", "terminal", "there"),
    [("DISPLAY", True, True), ("BROWSER", True, True), ("DISPLAY", False, False), (None, True, False)],
)
def test_a_browser_needs_a_display_and_somebody_before_a_terminal(
    variable: str | None, terminal: bool, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "x")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert ui.has_browser() is there
