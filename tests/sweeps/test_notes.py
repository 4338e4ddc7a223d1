"""`gradsweep note` and `tag`: what its users say of a sweep is in the ledger, in every view of it, and in MLflow."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli import _status
from sweeps.driver import marks
from tests.sweeps.test_delete import written
from tracking.ledger import Ledger
from tracking.locks import driver_lock
from tracking.mirrors.client import MlflowClient
from tracking.mirrors.follower import Mirrors
from tracking.store import Address, Store
from tracking.types import Sweep

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.at(tmp_path_factory.mktemp("notes") / "store").create()
    for name in ("first", "second"):
        marks.release(store, written(store, name), states=True)
    return store


@pytest.fixture
def say(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command on the store; its exit status, standard output and standard error."""
    monkeypatch.setenv("GRADSWEEP_STORE", str(store.folder))

    def command(*words: str) -> tuple[int, str, str]:
        status = _status([*words])
        out, err = capsys.readouterr()
        return status, out.strip(), err.strip()

    return command


def parent(store: Store, name: str) -> Any:
    client: Any = MlflowClient(store.mlflow_uri, registry_uri=store.mlflow_uri)
    experiment = client.get_experiment_by_name(name).experiment_id
    (run,) = client.search_runs([experiment], "tags.`gradsweep.kind` = 'sweep'")
    return run


def test_a_note_is_written_shown_and_removed(store: Store, say: Say) -> None:
    assert say("note", "first") == (0, "first has no note", "")
    before = parent(store, "first")
    assert say("note", "first", " The seeds of run 7, see the log ") == (0, "The seeds of run 7, see the log", "")
    assert say("note", "first")[1] == "The seeds of run 7, see the log"
    assert "note            The seeds of run 7, see the log" in say("status", "first")[1].splitlines()
    assert say("report", "first")[1].startswith("Note: The seeds of run 7, see the log\n\n")
    for command in ("status", "report", "note"):
        assert json.loads(say(command, "first", "--json")[1])["note"] == "The seeds of run 7, see the log"
    run = parent(store, "first")
    assert run.data.tags["gradsweep.note"] == "The seeds of run 7, see the log"
    assert run.data.tags["mlflow.note.content"] == "Done.\n\nThe seeds of run 7, see the log"
    assert (run.info.status, run.info.end_time) == (before.info.status, before.info.end_time)
    assert say("audit", "first")[0] == 0

    assert say("note", "first", "") == (0, "first has no note", "")
    run = parent(store, "first")
    assert "gradsweep.note" not in run.data.tags and run.data.tags["mlflow.note.content"] == "Done."
    assert "note" not in say("status", "first")[1]


def test_tags_are_added_removed_and_filter_the_list(store: Store, say: Say) -> None:
    assert say("tag", "first") == (0, "first has no tags", "")
    assert say("tag", "first", "paper", "figure-2") == (0, "figure-2, paper", "")
    assert say("tag", "first", "paper", "v1.0") == (0, "figure-2, paper, v1.0", "")
    assert json.loads(say("tag", "second", "paper", "--json")[1]) == {"name": "second", "tags": ["paper"]}
    assert parent(store, "first").data.tags["gradsweep.tags"] == "figure-2, paper, v1.0"

    def listed(*words: str) -> list[str]:
        return [s["name"] for s in json.loads(say("list", "--json", *words)[1])]

    assert listed() == listed("--tag", "paper") == ["first", "second"]
    assert listed("--tag", "figure-2") == ["first"]
    assert listed("--tag", "nothing") == []
    assert [s["tags"] for s in json.loads(say("list", "--json")[1])] == [["figure-2", "paper", "v1.0"], ["paper"]]
    assert say("report", "second")[1].startswith("Tags: paper\n\n")

    assert say("tag", "first", "figure-2", "v1.0", "unknown", "--remove") == (0, "paper", "")
    assert say("tag", "second", "paper", "--remove") == (0, "second has no tags", "")
    assert "gradsweep.tags" not in parent(store, "second").data.tags


@pytest.mark.parametrize("tag", ["", "two words", "a,b", "x" * 51, "a\nb"])
def test_what_is_no_tag_is_refused(say: Say, tag: str) -> None:
    status, out, err = say("tag", "first", tag)
    assert (status, out) == (2, "") and "a tag is 1 to 50 letters, digits and . : _ -" in err


@pytest.mark.parametrize("command", ["note", "tag"])
def test_a_sweep_that_is_not_there_is_refused(say: Say, command: str) -> None:
    status, _, err = say(command, "third", "x")
    assert status == 2 and "there is no sweep named 'third'" in err


def test_the_driver_of_a_running_sweep_sends_it(store: Store, say: Say) -> None:
    with driver_lock(store.ledger_url, "second", store.lock_file("second")):
        assert say("note", "second", "while it runs") == (0, "while it runs", "")
    assert "gradsweep.note" not in parent(store, "second").data.tags
    mirrors = Mirrors(store, "second")
    mirrors.start()
    assert mirrors.close(60).waiting == 0
    assert parent(store, "second").data.tags["gradsweep.note"] == "while it runs"


def test_that_mlflow_does_not_have_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = Store(tmp_path / "s", mlflow=Address(f"http://127.0.0.1:{nobody.getsockname()[1]}")).create()
        (file := tmp_path / "s.yaml").write_text(f"folder: {away.folder}\nmlflow: {away.mlflow_uri}\n")
        written(away, "first", deliver=False)
        assert _status(["note", "first", "x", "--store", str(file)]) == 0
    assert capsys.readouterr().out == "x\n"
    assert (
        "it is not in MLflow yet (" in caplog.text and f"to send it: gradsweep sync first --store {file}" in caplog.text
    )
    ledger = Ledger.create(away.ledger_url)
    assert ledger.sweep("first").remark == "x"
    ledger.close()


def test_a_sweep_that_goes_on_keeps_them(store: Store) -> None:
    ledger = Ledger.create(store.ledger_url)
    ledger.describe(ledger.sweep("first"), remark="kept", tags=("a",))
    again = ledger.begin(Sweep("first", "name: first\n"))
    ledger.close()
    assert (again.remark, again.tags) == ("kept", ("a",))
