from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tracking.store import Store, scratch
from trainers.errors import StoreError


def test_a_store_owns_the_names(tmp_path: Path) -> None:
    store = Store.at(tmp_path)
    assert store.ledger_url == f"sqlite:///{tmp_path}/ledger.db"
    assert store.optuna_url == f"sqlite:///{tmp_path}/optuna.db"
    assert store.mlflow_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert (store.artifacts, store.states("a")) == (tmp_path / "artifacts", tmp_path / "checkpoints" / "a")
    assert store.lock_file("a").parent == tmp_path / "locks"


def test_the_default_is_here_or_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRADSWEEP_STORE", raising=False)
    assert Store.at().folder == tmp_path / "gradsweep-store"
    monkeypatch.setenv("GRADSWEEP_STORE", "elsewhere")
    assert Store.at().folder == tmp_path / "elsewhere"


def test_created_folders_are_not_world_writable(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = Store.at(tmp_path / "a" / "b").create()
    finally:
        os.umask(before)
    for folder in (
        store.folder,
        store.folder.parent,
        store.artifacts,
        store.checkpoints_folder,
        store.folder / "locks",
    ):
        assert not folder.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP)
    assert store.create() == store


@pytest.mark.parametrize("folder", ["https://host/x", "postgresql://u:p@h/d", "", " ", "a?b", "a\0b", "a%41b"])
def test_what_is_no_folder_is_refused(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="but got"):
        Store.at(folder)


def test_what_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't write the store .*file: ") as caught:
        Store.at(tmp_path / "file").create()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder that nobody can write")
def test_what_cannot_be_written_is_one_line() -> None:
    with pytest.raises(StoreError, match="can't write the store /sys/kernel/store: "):
        Store.at("/sys/kernel/store").create()


@pytest.mark.parametrize("marked", [True, False])
def test_a_store_of_the_first_version_is_refused_in_a_line(tmp_path: Path, marked: bool) -> None:
    (tmp_path / "spool").mkdir()
    if marked:
        (tmp_path / "format").write_text("1\n")
    with pytest.raises(StoreError, match="was made by version 0.1 of gradsweep") as caught:
        Store.at(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["artifacts", "checkpoints", "kept", "locks", "logs", "outgoing", "reports"])
def test_a_folder_of_somebody_else_becomes_no_store(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert Store.at(tmp_path).create().folder == tmp_path  # an empty folder is nobody's
    (tmp_path / "format").unlink()
    (tmp_path / name / "theirs").touch()
    with pytest.raises(StoreError, match=f"is no store of gradsweep's, but has a folder '{name}'.* --store") as caught:
        Store.at(tmp_path).create()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "format").exists()
    (tmp_path / "format").write_text("2\n")
    Store.at(tmp_path).create()


def test_others_files_beside_ours_are_no_hindrance(tmp_path: Path) -> None:
    for name in ("mlflow.db", "optuna.db", "notes.txt"):
        (tmp_path / name).touch()
    Store.at(tmp_path).create()


def test_a_scratch_folder_takes_the_place_of_its_own_kind_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mlflow.db.new"
    with scratch(folder) as first:
        (first / "left").touch()
        with scratch(folder) as second:  # the first was killed
            assert list(second.iterdir()) == []
    assert not folder.exists()
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "theirs").touch()
    with pytest.raises(FileExistsError, match="not made by gradsweep"), scratch(folder):
        pass
    assert (folder / "sub" / "theirs").exists()
