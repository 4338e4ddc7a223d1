"""The one truth about sweeps: what they were asked to do, their configurations, every epoch, and every end.

    >>> ledger = Ledger.create("sqlite:////data/sweeps/ledger.db")
    >>> sweep = ledger.begin(Sweep("alpha-r", spec=text))
    >>> ledger.add(sweep, configurations)                  # a pack: all of it or nothing
    >>> ledger.record(sweep, {0: epoch}, [ended])          # its report: records and ends in one transaction
    >>> ledger.finish(sweep, "finished", "Confirmed.", trained=True)

What is not in it has not happened; what is in it is never written twice: an epoch that is trained again keeps its
first values, and is counted. One driver writes a sweep (`tracking.locks`), any process may read. The same code runs on
a SQLite file (in WAL mode with synchronous=FULL: what is committed survives a power failure) and on PostgreSQL, where
a transaction that a restart of the server interrupts is made again until the server answers.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shlex
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from tracking import database
from tracking.database import SQLITE, WRITING, shown, unusable
from tracking.store import Store, with_driver
from tracking.types import ENDS, SWEEP, Configuration, Epoch, Sweep, Taken
from trainers.errors import LedgerError, SearchError, StoreError
from trainers.files import locked

log = logging.getLogger("gradsweep")
T = TypeVar("T")

FORMAT = 3
OLDER = 2  # lacks the columns of `_ADDED` alone
STATUSES = ("finished", "failed", "killed")
PATIENCE_SECONDS = 600.0  # a server may be unreachable for that long
FEW = 5  # so many sweeps are named where one is looked for that is not there


class _Json(sa.types.TypeDecorator[Any]):
    """Plain data as text, the same on every database; NaN and infinities survive."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(value)


class _Tuple(_Json):
    """A tuple of plain data or of such tuples."""

    cache_ok = True

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        return None if value is None else tuple(tuple(v) if isinstance(v, list) else v for v in json.loads(value))


_tables = sa.MetaData()


def _table(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    # The prefix is our mark: a team's database holds other tables, too.
    return sa.Table(f"gradsweep_{name}", _tables, *columns)


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, **{"nullable": False} | options)


def _key(name: str, kind: Any = sa.Integer) -> sa.Column[Any]:
    return _column(name, kind, primary_key=True, autoincrement=False)


def _columns(of: type, *keys: str) -> list[sa.Column[Any]]:
    """A column per field of a dataclass, apart from its keys."""
    kinds = {"str": sa.Text, "int": sa.BigInteger, "bool": sa.Boolean}
    columns = []
    for f in fields(of):
        declared = str(f.type).removesuffix(" | None")
        kind = kinds.get(declared, _Tuple if declared.startswith("tuple") else _Json)
        columns += [] if f.name in keys else [_column(f.name, kind, nullable=declared != f.type)]
    return columns


_ledger = _table("ledger", _column("format", sa.Integer, primary_key=True))
_sweeps = _table(
    "sweeps", _column("id", sa.Integer, primary_key=True), *_columns(Sweep, "id"), sa.UniqueConstraint("name")
)


def _of_sweep() -> sa.Column[Any]:
    return _key("sweep", sa.ForeignKey(_sweeps.c.id))


_configurations = _table("configurations", _of_sweep(), _key("number"), *_columns(Configuration, "number"))
_metrics = _table("metrics", _column("id", sa.Integer, primary_key=True), _column("names", sa.Text, unique=True))
_epochs = _table(
    "epochs",
    _of_sweep(),
    _key("configuration"),
    _key("epoch"),
    _column("at", sa.BigInteger),
    _column("engine", sa.Text),
    _column("metrics", sa.ForeignKey(_metrics.c.id)),
    _column("values", sa.LargeBinary),
    _column("objective", sa.Double, nullable=True),  # NaN is NULL
    _column("again", sa.Integer, default=0),
)
_mirrors = _table("mirrors", _of_sweep(), _key("mirror", sa.Text), _key("number"), *_columns(Taken, "number"))
# Column -> what it is in a row of the older format.
_ADDED = {
    _sweeps: {"tags": "'[]'", "remark": "''"},
    _configurations: {"extends": "NULL", "after": "-1", "same_as": "NULL"},
}
_END_FIELDS = ("ended", "state", "values", "reason", "traceback", "order", "pruner_attributes")


class Ledger:
    """See the module. May be used by several threads; methods raise LedgerError.

    `reconnected` is called when a server answers again, before a transaction is repeated: a driver retakes its lock.
    """

    def __init__(self, url: str) -> None:
        """Use `open` or `create`."""
        self.url = with_driver(url)
        self.reconnected: Callable[[], None] = lambda: None
        self._metrics: dict[tuple[str, ...], int] = {}  # the lists of metrics that are known, with their ids
        self._engine = database.engine(url)

    @classmethod
    def open(cls, url: str) -> Ledger | None:
        """The ledger of a database, None if it has none; nothing is written. Raises StoreError."""
        if database.missing(url):
            return None
        if url.startswith(SQLITE) and not os.path.isfile(url.removeprefix(SQLITE)):
            raise StoreError(f"can't open {shown(url)}: it is not a file")
        ledger = cls(url)
        with ExitStack() as unused:
            unused.callback(ledger.close)
            with unusable("can't open", url), ledger._engine.connect() as db:
                there = sa.inspect(db).has_table(_ledger.name)
                written = db.scalar(sa.select(_ledger.c.format)) if there else None
            if written == OLDER:
                with unusable("can't write", url), _alone(url), ledger._engine.begin() as db:
                    written = _add_columns(db)
            if written not in (None, FORMAT):
                raise StoreError(
                    f"{shown(url)} has a ledger of the format {written}, but this gradsweep reads {FORMAT}"
                )
            if written:
                unused.pop_all()
        return ledger if written else None

    @classmethod
    def create(cls, url: str) -> Ledger:
        """The ledger of a database, made if it has none. Raises StoreError."""
        if (ledger := cls.open(url)) is not None:
            return ledger
        ledger = cls(url)
        with ExitStack() as unused:
            unused.callback(ledger.close)
            with unusable("can't write", url), _alone(url), ledger._engine.begin() as db:
                _lock_tables(db)
                _tables.create_all(db)
                if db.scalar(sa.select(_ledger.c.format)) is None:
                    db.execute(sa.insert(_ledger), {"format": FORMAT})
            unused.pop_all()
        return ledger

    def sweeps(self) -> list[Sweep]:
        """All sweeps, oldest first."""
        return [_read_as(Sweep, row) for row in self._rows(sa.select(_sweeps).order_by(_sweeps.c.id))]

    def sweep(self, name: str) -> Sweep:
        """One sweep. Raises SearchError if there is none of this name."""
        rows = self._rows(sa.select(_sweeps).where(_sweeps.c.name == name))
        if not rows:
            raise SearchError(f"there is no sweep named {name!r}")
        return _read_as(Sweep, rows[0])

    def begin(self, sweep: Sweep) -> Sweep:
        """The sweep starts or continues: what is recorded of it is kept, and its status is running again."""
        first = {
            "mark": uuid.uuid4().hex,
            "begun": sweep.begun or _now(),
            "revision": 1,
            "status": "running",
            "note": "",
        }
        row = asdict(sweep) | first
        del row["id"]

        def write(db: sa.Connection, again: bool) -> None:
            if db.scalar(sa.select(_sweeps.c.id).where(_sweeps.c.name == sweep.name)) is None:
                db.execute(sa.insert(_sweeps), row)
            elif not again:
                _change(db, _sweeps.c.name == sweep.name, status="running", note="")

        self._write(write)
        return self.sweep(sweep.name)

    def respecify(self, sweep: Sweep, asked: Sweep) -> Sweep:
        """What is asked of a sweep by now; its first spec is kept as well once configurations have ended."""

        def write(db: sa.Connection, again: bool) -> None:
            row = db.execute(sa.select(_sweeps).where(_sweeps.c.id == sweep.id)).one()
            ends = _configurations.c.sweep == sweep.id, _configurations.c.ended.is_not(None)
            late = row.first_spec is None and db.scalar(sa.select(sa.exists().where(*ends)))
            if row.spec != asked.spec:
                new = {name: getattr(asked, name) for name in ("spec", "question", "settings", "space")}
                new |= {"digests": {**row.digests, **asked.digests}, "first_spec": row.spec if late else row.first_spec}
                _change(db, _sweeps.c.id == sweep.id, **new)

        self._write(write)
        return self.sweep(sweep.name)

    def finish(self, sweep: Sweep, status: str, note: str, *, trained: bool) -> None:
        """The sweep ends: finished | failed | killed, with a note in Markdown; the last call wins.

        If nothing was `trained` since it was resumed, the time of its end stays what it was.
        """
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, but got {status!r}")
        ended = _now() if trained else sa.func.coalesce(_sweeps.c.ended, _now())
        self._write(lambda db, again: _change(db, _sweeps.c.id == sweep.id, status=status, note=note, ended=ended))

    def describe(self, sweep: Sweep, *, remark: str | None = None, tags: Sequence[str] | None = None) -> None:
        """What its users say of a sweep: a remark, tags, each replaced where it is given."""
        said = {"remark": remark, "tags": None if tags is None else tuple(tags)}
        values = {name: value for name, value in said.items() if value is not None}
        self._write(lambda db, again: _change(db, _sweeps.c.id == sweep.id, **values))

    def delete(self, sweep: Sweep) -> None:
        """Delete the sweep with all that is recorded of it; its name is free."""
        tables = [table for table in reversed(_tables.sorted_tables) if "sweep" in table.c]

        def write(db: sa.Connection, again: bool) -> None:
            for table in tables:
                db.execute(sa.delete(table).where(table.c.sweep == sweep.id))
            db.execute(sa.delete(_sweeps).where(_sweeps.c.id == sweep.id))

        self._write(write)

    def add(self, sweep: Sweep, configurations: Sequence[Configuration]) -> None:
        """New configurations, all of them or none."""
        if not configurations:
            return
        now = _now()
        rows = [asdict(c) | {"sweep": sweep.id, "started": c.started or now} for c in configurations]
        first = _configurations.c.sweep == sweep.id, _configurations.c.number == rows[0]["number"]

        def write(db: sa.Connection, again: bool) -> None:
            if not again or not db.scalar(sa.select(sa.exists().where(*first))):
                db.execute(sa.insert(_configurations), rows)

        self._write(write)

    def record(self, sweep: Sweep, epochs: Mapping[int, Epoch], ended: Sequence[Configuration]) -> None:
        """A report: epochs by their configurations' numbers, and configurations as they ended, in one transaction.

        Raises ValueError for an end that is none.
        """
        for c in ended:
            if c.state not in ENDS:
                raise ValueError(f"state must be one of {', '.join(ENDS)}, but got {c.state!r}")
        now = _now()
        rows = {
            (number, e.epoch): {
                "sweep": sweep.id,
                "configuration": number,
                "epoch": e.epoch,
                "at": e.at or now,
                "engine": e.engine,
                "metrics": self._metrics_id(e.names),
                "values": e.values.tobytes(),
                "objective": None if math.isnan(e.objective) else e.objective,
            }
            for number, e in epochs.items()
        }
        pair = _epochs.c.configuration, _epochs.c.epoch
        there = _epochs.c.sweep == sweep.id, sa.tuple_(*pair).in_(list(rows))
        own, numbers = sa.update(_configurations).where(_configurations.c.sweep == sweep.id), _configurations.c.number

        def write(db: sa.Connection, again: bool) -> None:
            known = {tuple(row) for row in db.execute(sa.select(*pair).where(*there))}
            if known and not again:
                db.execute(sa.update(_epochs).where(*there).values(again=_epochs.c.again + 1))
            if fresh := [row for place, row in rows.items() if place not in known]:
                db.execute(sa.insert(_epochs), fresh)
                last = {row["configuration"]: row["epoch"] for row in fresh}
                db.execute(own.where(numbers.in_(last)).values(epoch=sa.case(last, value=numbers)))
            for c in ended:
                end = {name: getattr(c, name) for name in _END_FIELDS} | {"ended": c.ended or now}
                db.execute(own.where(numbers == c.number, _configurations.c.ended.is_(None)).values(end))

        self._write(write)

    def configurations(self, sweep: Sweep, numbers: Sequence[int] | None = None, since: int = 0) -> list[Configuration]:
        """The configurations of a sweep, or some of them, or those from a number on, in the order of their numbers."""
        c = _configurations.c
        which = c.sweep == sweep.id, c.number >= since, _among(c.number, numbers)
        query = sa.select(_configurations).where(*which).order_by(c.number)
        return [_read_as(Configuration, row) for row in self._rows(query)]

    def objectives(self, sweep: Sweep, numbers: Sequence[int] | None = None) -> dict[int, dict[int, float]]:
        """The first objective after each epoch: configuration -> epoch -> value."""
        values: dict[int, dict[int, float]] = {}
        for number, epoch, value in self._by_epoch(
            sweep, _epochs.c.objective, _among(_epochs.c.configuration, numbers)
        ):
            values.setdefault(number, {})[epoch] = math.nan if value is None else value
        return values

    def epochs(
        self, sweep: Sweep, numbers: Sequence[int] | None = None, after: int = -1
    ) -> Iterator[tuple[int, Epoch]]:
        """(configuration, epoch) of a sweep, or of some of its configurations, in this order; those after an epoch."""
        which = _epochs.c.sweep == sweep.id, _epochs.c.epoch > after, _among(_epochs.c.configuration, numbers)
        query = sa.select(_epochs).where(*which).order_by(_epochs.c.configuration, _epochs.c.epoch)
        rows = self._rows(query)
        if {row.metrics for row in rows} - set(self._metrics.values()):
            self._read_metrics()
        lists = {number: names for names, number in self._metrics.items()}
        for row in rows:
            names = lists[row.metrics]
            values = np.frombuffer(row.values, dtype=np.float64).reshape(-1, len(names))
            objective = math.nan if row.objective is None else row.objective
            yield row.configuration, Epoch(row.epoch, row.engine, names, values, objective, row.at)

    def trained_again(self, sweep: Sweep) -> dict[tuple[int, int], int]:
        """How often a recorded epoch was trained again, by (configuration, epoch)."""
        rows = self._by_epoch(sweep, _epochs.c.again, _epochs.c.again > 0)
        return {(number, epoch): times for number, epoch, times in rows}

    def last_recorded(self, sweep: Sweep) -> int | None:
        """When the newest epoch was recorded; None where there is none."""
        (row,) = self._rows(sa.select(sa.func.max(_epochs.c.at)).where(_epochs.c.sweep == sweep.id))
        return None if row[0] is None else int(row[0])

    def _by_epoch(self, sweep: Sweep, column: sa.Column[Any], which: sa.ColumnElement[bool]) -> Sequence[Any]:
        places = _epochs.c.configuration, _epochs.c.epoch
        return self._rows(sa.select(*places, column).where(_epochs.c.sweep == sweep.id, which).order_by(*places))

    def taken(self, sweep: Sweep, mirror: str, numbers: Sequence[int] | None = None) -> dict[int, Taken]:
        """What a mirror has taken, by configuration (SWEEP: the sweep itself)."""
        m = _mirrors.c
        query = sa.select(_mirrors).where(m.sweep == sweep.id, m.mirror == mirror, _among(m.number, numbers))
        return {row.number: _read_as(Taken, row) for row in self._rows(query)}

    def take(self, sweep: Sweep, mirror: str, taken: Sequence[Taken]) -> None:
        """A mirror has taken these, all of them or none."""
        own = _mirrors.c.sweep == sweep.id, _mirrors.c.mirror == mirror

        def write(db: sa.Connection, again: bool) -> None:
            db.execute(sa.delete(_mirrors).where(*own, _mirrors.c.number.in_([t.number for t in taken])))
            db.execute(sa.insert(_mirrors), [asdict(t) | {"sweep": sweep.id, "mirror": mirror} for t in taken])

        if taken:
            self._write(write)

    def forget(self, sweep: Sweep, mirror: str) -> None:
        """Forget what a mirror has taken: it is made again."""
        own = _mirrors.c.sweep == sweep.id, _mirrors.c.mirror == mirror
        self._write(lambda db, again: db.execute(sa.delete(_mirrors).where(*own)))

    def pending(self, sweep: Sweep, mirror: str, *, problems: bool = False) -> list[tuple[int, bool]]:
        """(number, whether it has ended) of each configuration of which a mirror lacks something; the ended ones first.

        One with a problem is passed over, but for `problems`.
        """
        c, m = _configurations.c, _mirrors.c
        joined = sa.and_(m.sweep == c.sweep, m.number == c.number, m.mirror == mirror)
        lacks = sa.or_(m.number.is_(None), c.epoch > m.epoch, sa.and_(c.ended.is_not(None), sa.not_(m.ended)))
        query = (
            sa.select(c.number, c.ended.is_not(None))
            .select_from(_configurations.outerjoin(_mirrors, joined))
            .where(c.sweep == sweep.id, lacks, sa.or_(sa.literal(problems), sa.func.coalesce(m.problem, "") == ""))
            .order_by(c.ended.is_(None), c.number)
        )
        return [(number, bool(ended)) for number, ended in self._rows(query)]

    def undelivered(self) -> list[str]:
        """The names of the sweeps of which a mirror lacks something, oldest first, by one query.

        Optuna takes a configuration once it and all with lower numbers have ended.
        """
        s, c, m = _sweeps.c, _configurations.c, _mirrors.c
        until = _configurations.alias().c
        waits = sa.exists().where(until.sweep == c.sweep, until.number <= c.number, until.ended.is_(None))
        whole = m.sweep == c.sweep, m.number == c.number, m.epoch >= c.epoch, sa.or_(c.ended.is_(None), m.ended)
        mlflow, optuna = (sa.exists().where(*whole, m.mirror == mirror) for mirror in ("mlflow", "optuna"))
        lacking = sa.exists().where(c.sweep == s.id, sa.or_(~mlflow, ~sa.or_(waits, optuna)))
        told = m.epoch >= s.revision, sa.or_(s.status == "running", m.ended)
        itself = sa.exists().where(m.sweep == s.id, m.mirror == "mlflow", m.number == SWEEP, *told)
        which = sa.or_(lacking, ~itself)
        return [row.name for row in self._rows(sa.select(s.name).where(which).order_by(s.id))]

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _metrics_id(self, names: tuple[str, ...]) -> int:
        """The id of a list of metrics; a new one is added in a transaction of its own, before that which needs it."""
        if names not in self._metrics:
            # The driver of another sweep may add it at the same moment.
            add = sa.text(f"INSERT INTO {_metrics.name} (names) VALUES (:names) ON CONFLICT DO NOTHING")
            self._write(lambda db, again: db.execute(add, {"names": json.dumps(names)}))
            self._read_metrics()
        return self._metrics[names]

    def _read_metrics(self) -> None:
        self._metrics = {tuple(json.loads(names)): number for number, names in self._rows(sa.select(_metrics))}

    def _rows(self, query: sa.Select[Any]) -> Sequence[Any]:
        return self._transaction(lambda db, again: db.execute(query).all(), writing=False)

    def _write(self, work: Callable[[sa.Connection, bool], object]) -> None:
        """One transaction; `work` is told whether it is made again: the first attempt may have been committed."""
        self._transaction(work, writing=True)

    def _transaction(self, work: Callable[[sa.Connection, bool], T], writing: bool) -> T:
        retrying = Retrying(
            retry=retry_if_exception(database.connection_lost),
            wait=wait_random_exponential(multiplier=0.25, max=10),
            stop=stop_after_delay(PATIENCE_SECONDS),
            before_sleep=_note,
            reraise=True,
        )
        with unusable("can't use the ledger", self.url, LedgerError):
            for attempt in retrying:
                with attempt:
                    if again := attempt.retry_state.attempt_number > 1:
                        self.reconnected()
                    with self._engine.connect().execution_options(**{WRITING: writing}) as db:
                        with db.begin() if writing else nullcontext():
                            answer = work(db, again)
        if again:
            log.info("sweep database reachable again")
        return answer


def _alone(url: str) -> AbstractContextManager[object]:
    """Two processes that make a file's tables at the same moment get into each other's way."""
    return locked(Path(url.removeprefix(SQLITE)).parent) if url.startswith(SQLITE) else nullcontext()


def _lock_tables(db: sa.Connection) -> None:
    if db.dialect.name == "postgresql":
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(database.advisory_key("tables"))))


def _add_columns(db: sa.Connection) -> int:
    """Bring the tables of the older format up to date; the format that there is now."""
    _lock_tables(db)
    if db.scalar(sa.select(_ledger.c.format)) == OLDER:
        for table, columns in _ADDED.items():
            for name, value in columns.items():
                kind = table.c[name].type.compile(db.dialect)
                never = "" if table.c[name].nullable else " NOT NULL"
                db.execute(sa.text(f"ALTER TABLE {table.name} ADD COLUMN {name} {kind} DEFAULT {value}{never}"))
        db.execute(sa.update(_ledger).values(format=FORMAT))
    return FORMAT


def _note(state: RetryCallState) -> None:
    if state.attempt_number == 1:
        log.warning("sweep database unreachable; retrying")


def _change(db: sa.Connection, which: sa.ColumnElement[bool], **values: Any) -> None:
    db.execute(sa.update(_sweeps).where(which).values(revision=_sweeps.c.revision + 1, **values))


def _among(column: sa.Column[Any], numbers: Sequence[int] | None) -> sa.ColumnElement[bool]:
    return sa.true() if numbers is None else column.in_(numbers)


def _read_as(kind: type[T], row: Any) -> T:
    return kind(**{name: getattr(row, name) for name in kind.__annotations__})


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def opened(name: str, store: Store) -> Iterator[tuple[Ledger, Sweep]]:
    """A sweep of a store, to read it. Raises SearchError, which says where it looked and what is there."""
    with ExitStack() as held:
        if ledger := Ledger.open(store.ledger_url):
            held.callback(ledger.close)
        there = {sweep.name: sweep for sweep in ledger.sweeps()} if ledger else {}
        if ledger is None or name not in there:
            raise SearchError(f"there is no sweep named {name!r} in {store.where}: {_hint(list(there), store)}")
        yield ledger, there[name]


def _hint(there: list[str], store: Store) -> str:
    if len(there) > FEW:
        return f"gradsweep list --store {shlex.quote(str(store.where))} shows the {len(there)} that there are"
    if there:
        return f"there {'is' if len(there) == 1 else 'are'} {', '.join(there)}"
    return "there is none yet" if store.folder.is_dir() else "there is no such folder"
