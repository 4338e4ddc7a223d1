"""An audit finds what is wrong: each law is broken on purpose, in a copy of a sweep that is sound."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from search_spaces.search import Search
from sweeps.cli import main
from sweeps.driver.audit import Audit, _ends, audit
from sweeps.driver.orphans import mark
from sweeps.driver.signals import Interrupt
from sweeps.driver.sweep import Outcome, run
from sweeps.spec.reading import parse
from tracking.audit import audit as audit_records
from tracking.audit import read_books
from tracking.spool import Spool
from tracking.store import Store

SPEC = """\
name: small
base: {{init_scale: 1.0, data: "{images}", epochs: 2, batch_size: 8}}
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


def begun(store: Store, images: str, interrupt: Interrupt) -> Outcome:
    """A sweep that is run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADSWEEP_SPOOL", "")  # the driver marks its own process
        spec = parse(SPEC.format(images=images))
        return run(spec, store, interrupt, executor="in-process", resume=False, show=lambda *_: nullcontext())


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
    """Writes into one of the store's databases: optuna.db, mlflow.db, spool/small.db."""

    def execute(file: str, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(store.folder / file)) as db, db:
            assert db.execute(statement, values).rowcount > 0

    return execute


def broken(found: Audit) -> dict[str, tuple[str, ...]]:
    """The laws that don't hold, with what is wrong."""
    return {law.name: law.problems for law in found.laws if law.problems}


def test_a_sweep_to_which_nothing_was_done_is_sound(store: Store) -> None:
    found = audit("small", store)
    assert (found.state, found.sound, broken(found)) == ("finished", True, {})
    assert [law.name for law in found.laws] == [
        "final states",
        "epochs",
        "trained again",
        "runs",
        "metrics",
        "artifacts",
        "delivered",
        "left behind",
    ]
    assert not any(law.pending for law in found.laws)


@pytest.mark.parametrize(
    ("file", "statement", "laws", "problem"),
    [
        ("optuna.db", "UPDATE trials SET state='RUNNING' WHERE number=0", ["final states"], "RUNNING in Optuna's own"),
        (
            "spool/small.db",
            "UPDATE configurations SET state='pruned' WHERE number=0",
            ["final states", "runs"],
            "complete in Optuna, pruned in the spool",
        ),
        (
            "spool/small.db",
            "DELETE FROM epochs WHERE configuration=2 AND epoch=1",
            ["epochs", "metrics", "artifacts"],
            "the spool has the epochs 0, 2",
        ),
        (
            "spool/small.db",
            "DELETE FROM epochs WHERE configuration=2 AND epoch=2",
            ["epochs", "metrics", "artifacts"],
            "the spool has 1 of 2 epochs",
        ),
        ("spool/small.db", "INSERT INTO again VALUES (0, 1, 1), (0, 2, 1)", ["trained again"], "2 epochs were trained"),
        ("spool/small.db", "UPDATE epochs SET at=at+1 WHERE epoch=1", ["metrics"], "of epoch 1 is not the spool's"),
        ("spool/small.db", "INSERT INTO outbox VALUES (0, 'end', 0, 0)", ["delivered"], "gradsweep sync small"),
        ("mlflow.db", "UPDATE runs SET lifecycle_stage='deleted' WHERE name='plain'", ["runs"], "0 has 0 runs"),
        ("mlflow.db", "UPDATE runs SET status='RUNNING' WHERE name='plain'", ["runs"], "'RUNNING'"),
        ("mlflow.db", "UPDATE runs SET status='RUNNING' WHERE name='small'", ["runs"], "the sweep's run is RUNNING"),
        (
            "mlflow.db",
            "UPDATE tags SET value='' WHERE key='mlflow.parentRunId'",
            ["runs"],
            "its run is not under the sweep's",
        ),
        ("mlflow.db", "DELETE FROM metrics WHERE step=1", ["metrics"], "points are missing"),
        (
            "mlflow.db",
            "UPDATE metrics SET step=7 WHERE step=2",
            ["metrics"],
            "of epoch 7 is in MLflow, but not in the spool",
        ),
        (
            "mlflow.db",
            "INSERT INTO metrics SELECT key, value, timestamp + 1, run_uuid, step, is_nan FROM metrics WHERE step=1",
            ["metrics"],
            "more than once",
        ),
        (
            "mlflow.db",
            "INSERT INTO tags SELECT key, value, (SELECT run_uuid FROM runs WHERE name='wild') FROM tags"
            " WHERE key='gradsweep.configuration' AND run_uuid=(SELECT run_uuid FROM runs WHERE name='plain')"
            " ON CONFLICT DO UPDATE SET value=excluded.value",
            ["runs"],
            "configuration 0 has 2 runs",
        ),
    ],
)
def test_what_is_wrong_is_found(
    store: Store, sql: Callable[..., None], file: str, statement: str, laws: list[str], problem: str
) -> None:
    sql(file, statement)
    found = audit("small", store)
    assert not found.sound
    assert set(laws) <= set(broken(found))
    assert any(problem in line for lines in broken(found).values() for line in lines), broken(found)


def test_one_bit_of_one_metric_is_found(store: Store, sql: Callable[..., None]) -> None:
    key = "validation.loss/mean"
    with closing(sqlite3.connect(store.mlflow_db)) as db:
        run, value = db.execute(
            "SELECT run_uuid, value FROM metrics JOIN runs USING (run_uuid) WHERE key=? AND step=2 AND name='plain'",
            (key,),
        ).fetchone()
    sql(
        "mlflow.db",
        "UPDATE metrics SET value=? WHERE key=? AND step=2 AND run_uuid=?",
        float(np.nextafter(value, 2.0)),
        key,
        run,
    )
    assert broken(audit("small", store)) == {"metrics": (f"configuration 0: {key} of epoch 2 is not the spool's",)}


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
    (problems,) = broken(audit("small", store)).values()
    assert "its records.parquet is not what the spool has" in problems[0]


@pytest.mark.parametrize("content", [b"", b"PAR1 torn"])
def test_a_torn_artifact_is_found(store: Store, parquet: Path, content: bytes) -> None:
    parquet.write_bytes(content)
    assert "its records.parquet can't be read: " in broken(audit("small", store))["artifacts"][0]


def test_a_missing_artifact_is_found(store: Store, parquet: Path) -> None:
    parquet.unlink()
    assert "has no records.parquet" in broken(audit("small", store))["artifacts"][0]


def test_what_is_left_behind_is_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    states = store.states("small") / "p00000-abc.npz.1"
    states.parent.mkdir(exist_ok=True)
    states.touch()
    store.outgoing("small").mkdir()
    monkeypatch.setenv("GRADSWEEP_SPOOL", "")
    mark(store.spool_file("small"))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        problems = broken(audit("small", store))["left behind"]
        assert [p for p in problems if p.startswith("file ")] == [f"file {store.outgoing('small')}", f"file {states}"]
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
from sweeps.driver.lock import driver_lock

with driver_lock(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


def test_a_sweep_that_is_not_through_is_sound_so_far(images: str, tmp_path: Path) -> None:
    store = Store.at(tmp_path / "store")
    with After(2) as interrupt:
        assert begun(store, images, interrupt).interrupted == 130
    stopped = audit("small", store)
    assert (stopped.state, broken(stopped)) == ("stopped", {})
    pending = {law.name: law.pending for law in stopped.laws if law.pending}
    assert pending["final states"].endswith("of 3 have not ended")
    assert pending["left behind"].endswith("files wait for a resume")
    words = [sys.executable, "-c", HOLD, str(store.lock_file("small"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"held\n"
        running = audit("small", store)
        driver.kill()
    assert (running.state, broken(running)) == ("running", {})


def test_a_sync_that_is_interrupted_says_what_it_has_delivered(
    store: Store, sql: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sql("spool/small.db", "INSERT INTO outbox SELECT number, 'end', 0, 0 FROM configurations")
    monkeypatch.setattr("sweeps.commands.sync.Interrupt", lambda: After(0))
    with pytest.raises(SystemExit) as ended:
        main(["sync", "small", "--store", str(store.folder), "--json"])
    found = json.loads(capsys.readouterr().out)
    with closing(Spool.at(store.spool_file("small"))) as spool:
        assert (found["delivered"], found["waiting"]) == (3 - spool.waiting(), spool.waiting())
    assert ended.value.code == 130


def test_a_driver_that_goes_on_meanwhile_breaks_no_law(store: Store) -> None:
    now = read_books("small", store)
    # As the spool was a moment ago: 0 in training, 1 just begun, 2 unknown.
    configurations = {n: replace(now.configurations[n], state="running", ended=None, values=None) for n in (0, 1)}
    state = now.state and replace(now.state, ended=None, status=None)
    then = replace(
        now,
        state=state,
        configurations=configurations,
        epochs={0: now.epochs[0][:2], 1: []},
        waiting={1: {("start", 0)}},
    )
    with closing(Search.open("small", store.optuna_url)) as search:
        laws = [_ends(search, then, running=True), *audit_records("small", store, None, then, running=True)]
    assert [problem for law in laws for problem in law.problems] == []


def test_the_command_has_a_line_a_law_and_an_exit_status(
    store: Store, sql: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADSWEEP_SPOOL", "")

    def status(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--store", str(store.folder)])
        return int(ended.value.code or 0), capsys.readouterr().out

    number, text = status("audit", "small")
    assert (number, text.splitlines()[-1]) == (0, "small (finished): sound")
    assert len(text.splitlines()) == 9
    sql("spool/small.db", "INSERT INTO again VALUES (0, 1, 2)")
    number, text = status("audit", "small")
    assert (number, text.splitlines()[-1]) == (1, "small (finished): not sound")
    assert "trained again   BROKEN" in text
    number, text = status("audit", "small", "--json")
    assert (number, json.loads(text)["sound"]) == (1, False)
    assert status("audit", "other")[0] == 2
    assert status("sync", "other")[0] == 2
    assert status("sync", "small") == (0, "small: 0 events delivered\n")
    store.spool_file("small").unlink()
    for word in ("audit", "sync"):
        assert status(word, "small")[0] == 2
    assert not store.spool_file("small").exists()
    assert os.environ["GRADSWEEP_SPOOL"] == ""  # neither is a driver, which marks its process
