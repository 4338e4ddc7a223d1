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

import hashlib
import json
import logging
import math
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from tracking.types import ENDS, Configuration, Epoch, Sweep, Taken
from trainers.errors import LedgerError, SearchError, StoreError
from trainers.files import locked

log = logging.getLogger("gradsweep")
T = TypeVar("T")

FORMAT = 2
STATUSES = ("finished", "failed", "killed")
PATIENCE_SECONDS = 600.0  # a server may be unreachable for that long
CONNECT_SECONDS = 10
BUSY_SECONDS = 60  # another connection may hold a SQLite file for that long
_SQLITE = "sqlite:///"
_WRITING = "gradsweep_writing"


class _Json(sa.types.TypeDecorator[Any]):
    """Plain data as text, the same on every database; NaN and infinities survive."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        return None if value is None else json.loads(value)


_tables = sa.MetaData()


def _table(name: str, *columns: sa.schema.SchemaItem) -> sa.Table:
    # The prefix is our mark: a team's database holds other tables, too.
    return sa.Table(f"gradsweep_{name}", _tables, *columns)


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, **{"nullable": False} | options)


def _columns(of: type, key: str = "") -> list[sa.Column[Any]]:
    """A column per field of a dataclass."""
    kinds = {"str": sa.Text, "int": sa.Integer, "bool": sa.Boolean}
    columns = []
    for f in fields(of):
        declared = str(f.type).removesuffix(" | None")
        time_of = declared == "int" and f.name in ("begun", "started", "ended")
        kind = sa.BigInteger if time_of else kinds.get(declared, _Json)
        more: dict[str, Any] = {"primary_key": True, "autoincrement": False} if f.name == key else {}
        columns.append(_column(f.name, kind, nullable=declared != f.type, **more))
    return columns


_ledger = _table("ledger", _column("format", sa.Integer, primary_key=True))
_sweeps = _table("sweeps", *_columns(Sweep), sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("name"))


def _key(*more: sa.schema.SchemaItem) -> tuple[sa.schema.SchemaItem, ...]:
    return _column("sweep", sa.ForeignKey(_sweeps.c.id), primary_key=True, autoincrement=False), *more


_configurations = _table("configurations", *_key(*_columns(Configuration, key="number")))
_metrics = _table("metrics", _column("id", sa.Integer, primary_key=True), _column("names", sa.Text, unique=True))
_epochs = _table(
    "epochs",
    *_key(_column("configuration", sa.Integer, primary_key=True, autoincrement=False)),
    _column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    _column("at", sa.BigInteger),
    _column("engine", sa.Text),
    _column("metrics", sa.ForeignKey(_metrics.c.id)),
    _column("values", sa.LargeBinary),
    _column("objective", sa.Double, nullable=True),  # NaN is NULL
    _column("again", sa.Integer, default=0),
)
_mirrors = _table("mirrors", *_key(_column("mirror", sa.Text, primary_key=True)), *_columns(Taken, key="number"))
_SWEEP_FIELDS = [f.name for f in fields(Sweep)]
_END_FIELDS = ("ended", "state", "values", "reason", "traceback", "order", "pruner_attributes")


class Ledger:
    """See the module. May be used by several threads; methods raise LedgerError.

    `reconnected` is called when a server answers again, before a transaction is repeated: a driver retakes its lock.
    """

    def __init__(self, url: str) -> None:
        """Use `open` or `create`."""
        self.url = with_driver(url)
        self.reconnected: Callable[[], None] = lambda: None
        self._names: dict[int, tuple[str, ...]] = {}
        self._ids: dict[tuple[str, ...], int] = {}
        try:
            self._engine = _engine(self.url)
        except (ArgumentError, ImportError) as error:
            raise StoreError(f"can't open {shown(url)}: {cause(error)}") from None

    @classmethod
    def open(cls, url: str) -> Ledger | None:
        """The ledger of a database, None if it has none; nothing is written. Raises StoreError."""
        if url.startswith(_SQLITE) and not os.path.lexists(url.removeprefix(_SQLITE)):
            return None
        if url.startswith(_SQLITE) and not os.path.isfile(url.removeprefix(_SQLITE)):
            raise StoreError(f"can't open {shown(url)}: it is not a file")
        ledger = cls(url)
        try:
            with ledger._engine.connect() as connection:
                there = sa.inspect(connection).has_table(_ledger.name)
                formats = connection.scalars(sa.select(_ledger.c.format)).all() if there else []
        except (SQLAlchemyError, OSError) as error:
            ledger.close()
            raise StoreError(f"can't open {shown(url)}: {cause(error)}") from None
        if formats == [FORMAT]:
            return ledger
        ledger.close()
        if formats:
            raise StoreError(f"{shown(url)} has a ledger of the format {formats[0]}, but this gradsweep reads {FORMAT}")
        return None

    @classmethod
    def create(cls, url: str) -> Ledger:
        """The ledger of a database, made if it has none. Raises StoreError."""
        if (ledger := cls.open(url)) is not None:
            return ledger
        ledger, file = cls(url), Path(url.removeprefix(_SQLITE))
        try:
            # Two processes that make the tables at the same moment get into each other's way.
            with (
                locked(file.parent) if url.startswith(_SQLITE) else nullcontext(),
                ledger._engine.begin() as connection,
            ):
                if connection.dialect.name == "postgresql":
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(advisory_key("tables"))))
                _tables.create_all(connection)
                if connection.scalar(sa.select(_ledger.c.format)) is None:
                    connection.execute(sa.insert(_ledger), {"format": FORMAT})
        except (SQLAlchemyError, OSError) as error:
            ledger.close()
            raise StoreError(f"can't write {shown(url)}: {cause(error)}") from None
        return ledger

    def sweeps(self) -> list[Sweep]:
        """All sweeps, oldest first."""
        return self._read(lambda db: [_sweep(row) for row in db.execute(sa.select(_sweeps).order_by(_sweeps.c.id))])

    def sweep(self, name: str) -> Sweep:
        """One sweep. Raises SearchError if there is none of this name."""
        row = self._read(lambda db: db.execute(sa.select(_sweeps).where(_sweeps.c.name == name)).first())
        if row is None:
            raise SearchError(f"there is no sweep named {name!r}")
        return _sweep(row)

    def begin(self, sweep: Sweep) -> Sweep:
        """The sweep starts or continues: what is recorded of it is kept, and its status is running again."""
        row = {name: getattr(sweep, name) for name in _SWEEP_FIELDS if name not in ("id", "mark", "begun", "revision")}
        row |= {"mark": uuid.uuid4().hex, "begun": _now(), "revision": 1, "status": "running", "note": ""}

        def write(db: sa.Connection, again: bool) -> None:
            if db.scalar(sa.select(_sweeps.c.id).where(_sweeps.c.name == sweep.name)) is None:
                db.execute(sa.insert(_sweeps), row)
            elif not again:
                _change(db, _sweeps.c.name == sweep.name, status="running", note="")

        self._write(write)
        return self.sweep(sweep.name)

    def respecify(self, sweep: Sweep, spec: str) -> None:
        """Replace the spec (other claims); the first one is kept as well once configurations have ended."""

        def write(db: sa.Connection, again: bool) -> None:
            row = db.execute(sa.select(_sweeps).where(_sweeps.c.id == sweep.id)).one()
            ends = _configurations.c.sweep == sweep.id, _configurations.c.ended.is_not(None)
            late = row.first_spec is None and db.scalar(sa.select(sa.exists().where(*ends)))
            if row.spec != spec:
                first = row.spec if late else row.first_spec
                _change(db, _sweeps.c.id == sweep.id, spec=spec, first_spec=first)

        self._write(write)

    def finish(self, sweep: Sweep, status: str, note: str, *, trained: bool) -> None:
        """The sweep ends: finished | failed | killed, with a note in Markdown; the last call wins.

        If nothing was `trained` since it was resumed, the time of its end stays what it was.
        """
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, but got {status!r}")
        ended = _now() if trained else sa.func.coalesce(_sweeps.c.ended, _now())
        self._write(lambda db, again: _change(db, _sweeps.c.id == sweep.id, status=status, note=note, ended=ended))

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

    def configurations(self, sweep: Sweep, numbers: Sequence[int] | None = None) -> list[Configuration]:
        """The configurations of a sweep, or some of them, by number."""
        c = _configurations.c
        query = sa.select(_configurations).where(c.sweep == sweep.id, _among(c.number, numbers)).order_by(c.number)
        rows = self._read(lambda db: db.execute(query).all())
        return [_configuration(row) for row in rows]

    def objectives(self, sweep: Sweep, numbers: Sequence[int] | None = None) -> dict[int, dict[int, float]]:
        """The mean of the first objective over the seeds: configuration -> epoch -> value."""
        columns = _epochs.c.configuration, _epochs.c.epoch, _epochs.c.objective
        which = _epochs.c.sweep == sweep.id, _among(_epochs.c.configuration, numbers)
        query = sa.select(*columns).where(*which).order_by(*columns[:2])
        values: dict[int, dict[int, float]] = {}
        for number, epoch, value in self._read(lambda db: db.execute(query).all()):
            values.setdefault(number, {})[epoch] = math.nan if value is None else value
        return values

    def epochs(
        self, sweep: Sweep, numbers: Sequence[int] | None = None, after: int = -1
    ) -> Iterator[tuple[int, Epoch]]:
        """(configuration, epoch) of a sweep, or of some of its configurations, in this order; those after an epoch."""
        which = _epochs.c.sweep == sweep.id, _epochs.c.epoch > after, _among(_epochs.c.configuration, numbers)
        query = sa.select(_epochs).where(*which).order_by(_epochs.c.configuration, _epochs.c.epoch)
        rows = self._read(lambda db: db.execute(query).all())
        missing = {row.metrics for row in rows} - self._names.keys()
        if missing:
            of = sa.select(_metrics).where(_metrics.c.id.in_(missing))
            self._names |= {i: tuple(json.loads(names)) for i, names in self._read(lambda db: db.execute(of).all())}
        for row in rows:
            names = self._names[row.metrics]
            values = np.frombuffer(row.values, dtype=np.float64).reshape(-1, len(names))
            objective = math.nan if row.objective is None else row.objective
            yield row.configuration, Epoch(row.epoch, row.engine, names, values, objective, row.at)

    def trained_again(self, sweep: Sweep) -> dict[tuple[int, int], int]:
        """How often a recorded epoch was trained again, by (configuration, epoch)."""
        columns = _epochs.c.configuration, _epochs.c.epoch, _epochs.c.again
        query = sa.select(*columns).where(_epochs.c.sweep == sweep.id, _epochs.c.again > 0)
        return {(number, epoch): times for number, epoch, times in self._read(lambda db: db.execute(query).all())}

    def taken(self, sweep: Sweep, mirror: str, numbers: Sequence[int] | None = None) -> dict[int, Taken]:
        """What a mirror has taken, by configuration (SWEEP: the sweep itself)."""
        m = _mirrors.c
        query = sa.select(_mirrors).where(m.sweep == sweep.id, m.mirror == mirror, _among(m.number, numbers))
        names = [f.name for f in fields(Taken)]
        rows = self._read(lambda db: db.execute(query).all())
        return {row.number: Taken(**{name: getattr(row, name) for name in names}) for row in rows}

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
        return [(number, bool(ended)) for number, ended in self._read(lambda db: db.execute(query).all())]

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _metrics_id(self, names: tuple[str, ...]) -> int:
        """The id of a list of metrics; a new one is added in a transaction of its own, before that which needs it."""
        if names not in self._ids:
            text = json.dumps(names)
            which = sa.select(_metrics.c.id).where(_metrics.c.names == text)
            if self._read(lambda db: db.scalar(which)) is None:
                # The driver of another sweep may add it at the same moment.
                add = sa.text(f"INSERT INTO {_metrics.name} (names) VALUES (:names) ON CONFLICT DO NOTHING")
                self._write(lambda db, again: db.execute(add, {"names": text}))
            self._ids[names] = self._read(lambda db: db.scalars(which).one())
        return self._ids[names]

    def _read(self, query: Callable[[sa.Connection], T]) -> T:
        return self._transaction(lambda db, again: query(db), writing=False)

    def _write(self, work: Callable[[sa.Connection, bool], object]) -> None:
        """One transaction; `work` is told whether it is made again: the first attempt may have been committed."""
        self._transaction(work, writing=True)

    def _transaction(self, work: Callable[[sa.Connection, bool], T], writing: bool) -> T:
        retrying = Retrying(
            retry=retry_if_exception(_connection_lost),
            wait=wait_random_exponential(multiplier=0.25, max=10),
            stop=stop_after_delay(PATIENCE_SECONDS),
            before_sleep=_note,
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    if again := attempt.retry_state.attempt_number > 1:
                        self.reconnected()
                    with self._engine.connect().execution_options(**{_WRITING: writing}) as db:
                        with db.begin() if writing else nullcontext():
                            answer = work(db, again)
        except (SQLAlchemyError, OSError) as error:
            raise LedgerError(f"can't use the ledger {shown(self.url)}: {cause(error)}") from error
        if again:
            log.info("sweep database reachable again")
        return answer


def _note(state: RetryCallState) -> None:
    if state.attempt_number == 1:
        log.warning("sweep database unreachable; retrying")


def _change(db: sa.Connection, which: sa.ColumnElement[bool], **values: Any) -> None:
    db.execute(sa.update(_sweeps).where(which).values(revision=_sweeps.c.revision + 1, **values))


def _among(column: sa.Column[Any], numbers: Sequence[int] | None) -> sa.ColumnElement[bool]:
    return sa.true() if numbers is None else column.in_(numbers)


def with_driver(url: str) -> str:
    """The URL with the PostgreSQL driver that we install."""
    return re.sub("^postgres(ql)?://", "postgresql+psycopg://", url)


def shown(url: str) -> str:
    """A database's URL without its password."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True).removeprefix(_SQLITE)
    except ArgumentError:
        return "the database"


def cause(error: BaseException) -> str:
    """What the database said, in a line, without SQLAlchemy's words around it."""
    return " ".join(str(getattr(error, "orig", None) or error.__cause__ or error).split())[:300]


def _engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite:"):
        return sa.create_engine(url, connect_args={"connect_timeout": CONNECT_SECONDS})
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    def begun(connection: sa.Connection) -> None:
        # A transaction that reads first and writes then would fail at once where another connection has written.
        kind = "IMMEDIATE" if connection.get_execution_options().get(_WRITING) else "DEFERRED"
        connection.exec_driver_sql(f"BEGIN {kind}")

    sa.event.listen(engine, "connect", connected)
    sa.event.listen(engine, "begin", begun)
    return engine


def advisory_key(what: str) -> int:
    """PostgreSQL's number for a lock of ours."""
    return int.from_bytes(hashlib.sha256(f"gradsweep: {what}".encode()).digest()[:8], signed=True)


def _connection_lost(error: BaseException) -> bool:
    """Whether a server was not there, rather than there and of another opinion."""
    if not isinstance(error, DBAPIError):
        return False
    # psycopg's error for a connection that can't be made, or is gone, has no code of the server's own; class 57P is
    # the server's: it is shutting down, has crashed, or is starting up.
    state = getattr(error.orig, "sqlstate", None)
    of_server = type(error.orig).__module__.startswith("psycopg") and type(error.orig).__name__ != "ProgrammingError"
    return error.connection_invalidated or (
        of_server and isinstance(error, OperationalError) and (state is None or state.startswith(("57P", "08")))
    )


def _sweep(row: Any) -> Sweep:
    values = {name: getattr(row, name) for name in _SWEEP_FIELDS}
    return Sweep(**values | {"objectives": tuple(map(tuple, values["objectives"]))})


def _configuration(row: Any) -> Configuration:
    values = {f.name: getattr(row, f.name) for f in fields(Configuration)}
    whole = Configuration(**values)
    return replace(whole, seeds=tuple(whole.seeds), values=None if whole.values is None else tuple(whole.values))


def _now() -> int:
    return time.time_ns() // 1_000_000
