"""An audit shows what is wrong: each law is broken on purpose, in a copy of a sweep that is sound."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeps.cli import main
from sweeps.commands.audit import audit_of as audit_command
from sweeps.commands.sync import sync_mirrors as sync
from sweeps.driver.orphans import marked
from sweeps.driver.signals import Interrupt
from sweeps.driver.sweep import Outcome, run
from sweeps.spec.reading import parse
from tracking.ledger import Ledger
from tracking.mirrors.follower import waiting
from tracking.results import load
from tracking.store import Store
from tracking.types import SWEEP, Taken
from trainers.errors import SearchError

SPEC = """\
name: small
base: {{init_scale: 1.0, data: "{images}", epochs: {epochs}, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
  wild: {{activation: relu, learning_rate: 1.0e+30}}
search:
  space: {{alpha: {{low: 0.5, high: 8.0, log: true}}}}
  sampler: {{name: random, seed: 0}}
  configurations: 1
resources: {{pack: 3, concurrent: 1}}
"""


def begun(store: Store, images: str, interrupt: Interrupt, epochs: int = 2, *, resume: bool = False) -> Outcome:
    """A sweep that is run in this process."""
    spec = parse(SPEC.format(images=images, epochs=epochs))
    return run(spec, store, interrupt, executor="in-process", resume=resume, show=lambda *_: nullcontext())


@pytest.fixture(scope="module")
def sound(images: str, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.at(tmp_path_factory.mktemp("sound") / "store")
    with Interrupt() as interrupt:
        begun(store, images, interrupt)
    return store


@pytest.fixture
def store(sound: Store, tmp_path: Path) -> Store:
    """A copy; its artifacts are those of the original."""
    shutil.copytree(sound.folder, tmp_path / "store")
    return Store.at(tmp_path / "store")


@pytest.fixture
def sql(store: Store) -> Callable[..., None]:
    """Writes into one of the store's databases: ledger.db, mlflow.db, optuna.db."""

    def execute(file: str, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(store.folder / file)) as db, db:
            assert db.execute(statement, values).rowcount > 0

    return execute


def audit(store: Store) -> dict[str, Any]:
    return audit_command("small", str(store.folder))


def broken(audited: dict[str, Any]) -> dict[str, list[str]]:
    """The laws that don't hold, with what is wrong."""
    return {law["name"]: law["problems"] for law in audited["laws"] if not law["holds"]}


def test_a_sweep_to_which_nothing_was_done_is_sound(store: Store) -> None:
    audited = audit(store)
    assert (audited["state"], audited["sound"], broken(audited)) == ("finished", True, {})
    assert [law["name"] for law in audited["laws"]] == [
        "final states",
        "epochs",
        "trained again",
        "runs",
        "metrics",
        "artifacts",
        "trials",
        "up to date",
        "left behind",
    ]
    assert not any(law["pending"] for law in audited["laws"])


@pytest.mark.parametrize(
    ("file", "statement", "laws", "problem"),
    [
        (
            "ledger.db",
            "UPDATE gradsweep_configurations SET state='pruned' WHERE number=0",
            ["runs", "artifacts", "trials"],
            "configuration 0: state is 'complete' in MLflow, not 'pruned'",
        ),
        ("ledger.db", 'UPDATE gradsweep_configurations SET "order"=0', ["final states"], "in the order 0, 0, 0"),
        (
            "ledger.db",
            "UPDATE gradsweep_configurations SET \"values\"='[0.125]' WHERE number=0",
            ["trials", "metrics"],
            "values is [",
        ),
        (
            "ledger.db",
            "DELETE FROM gradsweep_epochs WHERE configuration=2 AND epoch=1",
            ["epochs", "metrics", "artifacts"],
            "the ledger has the epochs 0, 2",
        ),
        (
            "ledger.db",
            "UPDATE gradsweep_configurations SET epoch=1 WHERE number=2",
            ["epochs"],
            "the ledger has the epochs 0, 1, 2",
        ),
        (
            "ledger.db",
            "UPDATE gradsweep_epochs SET again=1 WHERE configuration=0 AND epoch > 0",
            ["trained again"],
            "2 epochs were trained",
        ),
        (
            "ledger.db",
            "UPDATE gradsweep_epochs SET at=9 WHERE epoch=1",
            ["metrics"],
            "of step 1 is not the ledger's",
        ),
        (
            "ledger.db",
            "UPDATE gradsweep_mirrors SET ended=0 WHERE number=0 AND mirror='mlflow'",
            ["up to date"],
            "1 configurations are not in the mirrors yet: gradsweep sync small",
        ),
        ("mlflow.db", "UPDATE runs SET lifecycle_stage='deleted' WHERE name='#0 plain'", ["runs"], "0 has 0 runs"),
        ("mlflow.db", "UPDATE runs SET status='RUNNING' WHERE name='#0 plain'", ["runs"], "'RUNNING'"),
        (
            "mlflow.db",
            "UPDATE runs SET status='RUNNING' WHERE name='small'",
            ["runs"],
            "the sweep: status is 'RUNNING'",
        ),
        (
            "mlflow.db",
            "UPDATE tags SET value='' WHERE key='mlflow.parentRunId'",
            ["runs"],
            "configuration 0: parent is '' in MLflow, not",
        ),
        (
            "mlflow.db",
            "UPDATE params SET value='9' WHERE key='alpha'",
            ["runs"],
            "configuration 0: params: alpha is '9' in MLflow, not '1.0'",
        ),
        ("mlflow.db", "DELETE FROM metrics WHERE step=1", ["metrics"], "points are missing"),
        (
            "mlflow.db",
            "UPDATE metrics SET step=7 WHERE step=2",
            ["metrics"],
            "of step 7 is in MLflow, but not in the ledger",
        ),
        (
            "mlflow.db",
            "INSERT INTO metrics SELECT key, value, timestamp + 1, run_uuid, step, is_nan FROM metrics WHERE step=1",
            ["metrics"],
            "more than once",
        ),
        (
            "mlflow.db",
            "INSERT INTO tags SELECT key, value, (SELECT run_uuid FROM runs WHERE name='#1 wild') FROM tags"
            " WHERE key='gradsweep.configuration' AND run_uuid=(SELECT run_uuid FROM runs WHERE name='#0 plain')"
            " ON CONFLICT DO UPDATE SET value=excluded.value",
            ["runs"],
            "configuration 0 has 2 runs",
        ),
        ("optuna.db", "UPDATE trials SET state='RUNNING' WHERE number=0", ["trials"], "state is <TrialState.RUNNING"),
        ("optuna.db", "DELETE FROM trials WHERE number=2", ["trials"], "configuration 2 has 0 trials"),
        (
            "optuna.db",
            "UPDATE trial_params SET param_value=1.0",
            ["trials"],
            "configuration 2: params: alpha is 1.0 in Optuna, not ",
        ),
        (
            "optuna.db",
            "UPDATE trial_intermediate_values SET intermediate_value=0.125",
            ["trials"],
            "intermediate_values: 0 is 0.125",
        ),
    ],
)
def test_what_is_wrong_is_found(
    store: Store, sql: Callable[..., None], file: str, statement: str, laws: list[str], problem: str
) -> None:
    sql(file, statement)
    audited = audit(store)
    assert not audited["sound"]
    assert set(laws) <= set(broken(audited))
    assert any(problem in line for lines in broken(audited).values() for line in lines), broken(audited)


def test_one_bit_of_one_metric_is_found(store: Store, sql: Callable[..., None]) -> None:
    key = "loss/validation"
    with closing(sqlite3.connect(store.mlflow_db)) as db:
        run, value = db.execute(
            "SELECT run_uuid, value FROM metrics JOIN runs USING (run_uuid) WHERE key=? AND step=2 AND name='#0 plain'",
            (key,),
        ).fetchone()
    sql(
        "mlflow.db",
        "UPDATE metrics SET value=? WHERE key=? AND step=2 AND run_uuid=?",
        float(np.nextafter(value, 2.0)),
        key,
        run,
    )
    assert broken(audit(store)) == {"metrics": [f"configuration 0: {key} of step 2 is not the ledger's"]}


@pytest.fixture
def parquet(sound: Store) -> Iterator[Path]:
    """A configuration's records.parquet, put back afterwards."""
    file = min(sound.artifacts.rglob("records.parquet"))
    content = file.read_bytes()
    yield file
    file.write_bytes(content)


def test_one_bit_of_one_artifact_is_found(store: Store, parquet: Path) -> None:
    table = pq.read_table(parquet)
    values = table["validation.loss"].to_numpy().copy()
    values[0] = np.nextafter(values[0], 2.0)
    place = table.schema.get_field_index("validation.loss")
    pq.write_table(table.set_column(place, "validation.loss", pa.array(values)), parquet)
    (problems,) = broken(audit(store)).values()
    assert "its records.parquet is not what the ledger has" in problems[0]


@pytest.mark.parametrize("content", [b"", b"PAR1 torn"])
def test_a_torn_artifact_is_found(store: Store, parquet: Path, content: bytes) -> None:
    parquet.write_bytes(content)
    assert "its records.parquet can't be read: " in broken(audit(store))["artifacts"][0]


def test_a_missing_artifact_is_found(store: Store, parquet: Path) -> None:
    parquet.unlink()
    assert "has no records.parquet" in broken(audit(store))["artifacts"][0]


def test_a_sweep_of_before_a_metric_was_recorded_is_sound(sound: Store, store: Store, sql: Callable[..., None]) -> None:
    """Neither its records nor their artifacts have it. Read by now it is NaN."""
    sql("ledger.db", "UPDATE gradsweep_metrics SET names = replace(names, ?, ?)", '"dead_layers"', '"of_before"')
    before = {file: file.read_bytes() for file in sound.artifacts.rglob("records.parquet")}
    assert before
    try:
        for file in before:
            table = pq.read_table(file)
            names = [{"dead_layers": "of_before"}.get(name, name) for name in table.column_names]
            pq.write_table(table.rename_columns(names), file)
        assert broken(audit(store)) == {}
        assert load("small", store)["dead_layers"].isna().all()
    finally:
        for file, content in before.items():
            file.write_bytes(content)


def test_what_is_left_behind_is_found(store: Store) -> None:
    states = store.states("small") / "p00000-abc.npz.1"
    states.parent.mkdir(exist_ok=True)
    states.touch()
    store.outgoing("small").mkdir(parents=True, exist_ok=True)
    with (
        marked("small", store),
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process,
    ):
        problems = broken(audit(store))["left behind"]
        files = {p for p in problems if p.startswith("file ")}
        assert files == {f"file {store.outgoing('small')}", f"file {states}"}
        assert [p.partition(":")[0] for p in problems if p.startswith("process ")] == [f"process {process.pid}"]
        process.kill()


class After(Interrupt):
    """A signal that comes when `check` has been called so often."""

    def __init__(self, checks: int) -> None:
        super().__init__()
        self.checks = checks

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            self.number = signal.SIGINT
        super().check()


HOLD = """
import sys
from pathlib import Path
from tracking.locks import driver_lock

with driver_lock(sys.argv[1], "small", Path(sys.argv[2])):
    print("held", flush=True)
    input()
"""


def test_a_sweep_that_has_not_ended_is_sound_so_far(images: str, tmp_path: Path) -> None:
    store = Store.at(tmp_path / "store")
    with After(2) as interrupt:
        assert begun(store, images, interrupt).interrupted == 130
    stopped = audit(store)
    assert (stopped["state"], broken(stopped)) == ("stopped", {})
    pending = {law["name"]: law["pending"] for law in stopped["laws"] if law["pending"]}
    assert pending["final states"].endswith("of 3 have not ended")
    assert pending["left behind"].endswith("files wait for a resume")
    words = [sys.executable, "-c", HOLD, store.ledger_url, str(store.lock_file("small"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"held\n"
        running = audit(store)
        with pytest.raises(SearchError, match="already running"):
            sync("small", str(store.folder))
        driver.kill()
    assert (running["state"], broken(running)) == ("running", {})


def test_a_machine_without_the_states_starts_over_and_breaks_no_law(images: str, tmp_path: Path) -> None:
    """As with a team's ledger on a server, and no folder or bucket that both machines see."""
    first, second = Store.at(tmp_path / "first"), Store.at(tmp_path / "second")
    with After(4) as interrupt:
        assert begun(first, images, interrupt, 5).interrupted == 130
    shutil.copytree(first.folder, second.folder)
    shutil.rmtree(second.checkpoints_folder)
    with Interrupt() as interrupt:
        begun(second, images, interrupt, 5, resume=True)
    with closing(Ledger.create(second.ledger_url)) as ledger:
        again = ledger.trained_again(ledger.sweep("small"))
    assert {epoch for _, epoch in again} == {0, 1, 2, 3}
    audited = audit(second)
    assert (audited["state"], broken(audited)) == ("finished", {})


def test_a_driver_that_goes_on_meanwhile_breaks_no_law(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a mirror had taken is read before the mirror: here it took everything in between."""
    monkeypatch.setattr(Ledger, "taken", lambda *_: {0: Taken(0, attempted=True)})
    assert broken(audit(store)).keys() <= {"up to date"}


def test_a_mirror_that_was_never_made_or_is_gone(store: Store, sql: Callable[..., None]) -> None:
    for mirror, law in (("mlflow", "runs"), ("optuna", "trials")):
        for file in store.folder.glob(f"{mirror}.db*"):
            file.unlink()
        problems = broken(audit(store))[law]
        assert len(problems) == 1 and problems[0].endswith("database is gone")
        assert not (store.folder / f"{mirror}.db").exists()  # an audit writes nothing
    assert sync("small", str(store.folder), rebuild=True)[0] == 0
    assert broken(audit(store)) == {}


def test_a_sync_that_is_interrupted_says_what_it_has_written(
    store: Store, sql: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sql("ledger.db", "UPDATE gradsweep_mirrors SET ended=0 WHERE mirror='mlflow' AND number >= 0")
    monkeypatch.setattr("sweeps.commands.sync.Interrupt", lambda: After(0))
    with pytest.raises(SystemExit) as ended:
        main(["sync", "small", "--store", str(store.folder), "--json"])
    document = json.loads(capsys.readouterr().out)
    with closing(Ledger.create(store.ledger_url)) as ledger:
        left = waiting(ledger, "small")
    assert (document["delivered"], document["waiting"]) == (3 - left, left)
    assert ended.value.code == 130


def test_sync_makes_the_mirrors_what_the_ledger_says(store: Store) -> None:
    optuna.delete_study(study_name="small", storage=store.optuna_url)
    with closing(Ledger.create(store.ledger_url)) as ledger:
        sweep = ledger.sweep("small")
        ledger.forget(sweep, "optuna")
        own = ledger.taken(sweep, "mlflow", [SWEEP])[SWEEP]
        assert own.ended and waiting(ledger, "small") == 3
    done = {"name": "small", "delivered": 3, "waiting": 0, "problem": None}
    assert sync("small", str(store.folder)) == (0, done)
    assert broken(audit(store)) == {}
    assert sync("small", str(store.folder)) == (0, done | {"delivered": 0})


def test_the_command_has_a_line_a_law_and_an_exit_status(
    store: Store, sql: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def status(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--store", str(store.folder)])
        return int(ended.value.code or 0), capsys.readouterr().out

    number, text = status("audit", "small")
    assert (number, text.splitlines()[-1]) == (0, "small (finished): sound")
    assert len(text.splitlines()) == 10
    sql("ledger.db", "UPDATE gradsweep_epochs SET again=1 WHERE configuration=0 AND epoch > 0")
    number, text = status("audit", "small")
    assert (number, text.splitlines()[-1]) == (1, "small (finished): not sound")
    assert "trained again   BROKEN" in text
    number, text = status("audit", "small", "--json")
    assert (number, json.loads(text)["sound"]) == (1, False)
    assert status("audit", "other")[0] == 2
    assert status("sync", "other")[0] == 2
    assert status("sync", "small") == (0, "small: 0 configurations written\n")
