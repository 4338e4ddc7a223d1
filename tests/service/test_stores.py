"""What `--store` may say: a folder, or a file with a team's places; passwords are named there and never written."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from sweeps.executors.cluster import check_databases, check_size
from sweeps.spec.reading import Resources, parse
from sweeps.store_file import open_store
from tracking.store import Store
from trainers.errors import RequestError, SpecError, StoreError

SECRET = "Tabby-7f3a91"


def test_a_folder_is_a_store_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRADSWEEP_STORE", raising=False)
    assert open_store() == Store.at(tmp_path / "gradsweep-store")
    assert open_store("here") == open_store(tmp_path / "here") == Store.at(tmp_path / "here")


def test_a_file_names_the_places_and_the_passwords_are_read_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "mlflow-uri"
    file = tmp_path / "team.yaml"
    file.write_text(f"ledger: {{env: TEAM_LEDGER}}\nmlflow: {{file: {secret}}}\nfolder: {tmp_path}/shared\n")
    monkeypatch.setenv("GRADSWEEP_STORE", str(file))
    monkeypatch.delenv("TEAM_LEDGER", raising=False)
    store = open_store()
    assert (store.folder, store.where) == (tmp_path / "shared", file)
    with pytest.raises(StoreError, match="TEAM_LEDGER, which is unset or empty"):
        store.create()
    monkeypatch.setenv("TEAM_LEDGER", f"postgresql://u:{SECRET}@h/sweeps")
    with pytest.raises(StoreError, match="mlflow-uri: No such file"):
        store.create()
    secret.write_text(f"postgresql://u:{SECRET}@h/mlflow\n")
    assert store.ledger_url == f"postgresql+psycopg://u:{SECRET}@h/sweeps"
    assert store.mlflow_uri == f"postgresql+psycopg://u:{SECRET}@h/mlflow"
    assert store.of_one_machine == []
    assert store.variables == ["TEAM_LEDGER"]
    # Nobody who prints, logs or pickles a store gives a password away.
    for shown in (repr(store), str(store), repr(pickle.dumps(store))):
        assert SECRET not in shown


def test_what_is_left_out_is_in_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "team.yml"
    file.write_text(f"mlflow: http://mlflow:5000\nfolder: {tmp_path}/own\n")
    store = open_store(file)
    assert store.ledger_url == f"sqlite:///{tmp_path}/own/ledger.db"
    assert store.of_one_machine == ["ledger"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ":1: a store file is a mapping"),
        ("ledger: {env: X}", "of which folder is needed"),
        ("folder: relative", ":1: folder: must be an absolute path"),
        ("folder: /x\noptunna: y", ":2: optunna: unknown key"),
        ("folder: /x\nledger: mysql://h/d", ":2: ledger: must begin with one of postgresql://"),
        ("folder: /x\nmlflow: mlflow:5000", ":2: mlflow: must begin with one of http://"),
        ("folder: /x\nledger: {env: X, file: Y}", ":2: ledger: must be an address, {env: NAME} or {file: PATH}"),
        ("folder: /x\nledger: {env: 1}", ":2: ledger: must be an address"),
        (f"folder: /x\nledger: postgresql://u:{SECRET}@h/d", ":2: ledger: a password has no place"),
        (f"folder: /x\nledger: postgresql://u@h/d?password={SECRET}", ":2: ledger: a password has no place"),
        (f"folder: /x\nmlflow: https://u:{SECRET}@h", "set MLFLOW_TRACKING_USERNAME"),
        (f"folder: /x\ncheckpoints: s3://u:{SECRET}@bucket/x", ":2: checkpoints: a password has no place"),
        ("folder: /x\ncheckpoints: ftp://bucket", ":2: checkpoints: must be s3://"),
        ("folder: /x\n  bad: yaml: [", ":2: "),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "team.yaml"
    file.write_text(text)
    with pytest.raises(StoreError) as caught:
        open_store(file)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(str(file)) and says in line
    assert SECRET not in line


def test_a_file_that_is_not_there_and_an_address_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none.yaml can't be read: No such file"):
        open_store(tmp_path / "none.yaml")
    with pytest.raises(StoreError, match="ledger, mlflow, folder") as caught:
        open_store(f"postgresql://u:{SECRET}@h/d")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("uri", [f"http://u:{SECRET}@h", f"postgresql://u:{SECRET}@h/d"])
def test_a_spec_has_no_password_either(uri: str) -> None:
    with pytest.raises(SpecError, match="tracking.uri: must not hold a password") as caught:
        parse("name: x\narms: {a: {}}", settings=[f"tracking.uri={uri}"])
    assert SECRET not in str(caught.value)
    assert parse("name: x\narms: {a: {}}", settings=["tracking.uri=http://h:5000"]).tracking.uri == "http://h:5000"


def test_sqlite_is_for_one_machine(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="ledger and mlflow: SQLite .* PostgreSQL .* --store FILE"):
        check_databases(Store.at(tmp_path))


@pytest.mark.parametrize(
    ("asked", "machines", "says"),
    [
        ({"cpus": 1, "gpus": 1}, [{"CPU": 4}], "resources.gpus: a pack needs 1, and this cluster has none"),
        ({"cpus": 8}, [{"CPU": 4}, {"CPU": 4}], "resources.cpus: a pack needs 8, and no machine .* more than 4"),
        ({"cpus": 4, "gpus": 0.5}, [{"CPU": 8}, {"CPU": 2, "GPU": 1}], "no machine of this cluster has both"),
        ({"cpus": 1, "gpus": 0.25}, [{"CPU": 1}, {"CPU": 2, "GPU": 1}], None),
    ],
)
def test_a_pack_fits_on_some_machine(
    asked: dict[str, float], machines: list[dict[str, float]], says: str | None
) -> None:
    resources = Resources(**asked)  # type: ignore[arg-type]
    if says is None:
        check_size(resources, machines)
    else:
        with pytest.raises(RequestError, match=says):
            check_size(resources, machines)


def test_a_pack_that_this_machine_has_no_room_for_is_refused() -> None:
    with pytest.raises(RequestError, match="gpus: a pack needs 0.5, and this machine has none: --set resources.gpus=0"):
        check_size(Resources(gpus=0.5), [{"CPU": 2}], cluster=False)
    with pytest.raises(RequestError, match="cpus: a pack needs 64, and this machine has 2: --set resources.cpus=1"):
        check_size(Resources(cpus=64), [{"CPU": 2}], cluster=False)
