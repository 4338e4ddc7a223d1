"""The driver's records on disk: one SQLite file a sweep, appended to, from which everything else can be made again.

    >>> spool = Spool.at(store.spool_file("alpha-r"))
    >>> spool.begin(SweepRun(name="alpha-r", spec=text))
    >>> spool.start(0, "plain", "plain", members)          # members: one a seed
    >>> spool.add(0, records)                              # all seeds of one epoch
    >>> spool.end(0, "complete", (0.91,), "")
    >>> spool.finish("FINISHED", "Confirmed.")

What is known already changes nothing: an epoch that is trained again after a crash keeps its first values and its
first timestamp, and is counted. Each call is one transaction, in WAL mode with synchronous=FULL: it is on the disk
before Optuna or MLflow hears of it, and nothing is lost with the process, nor with the machine's power. Every event is
also put into an outbox, from which `tracking.delivery` takes it once MLflow has it (`tracking.outbox`). An epoch of 8
configurations with 5 seeds and 245 metrics is written in 3 ms.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.errors import LedgerError
from trainers.members import EpochRecord, MemberConfig

STATES = ("complete", "pruned", "diverged", "failed")
STATUSES = ("FINISHED", "FAILED", "KILLED")
_VERSION = 2
SWEEP = -1  # in the outbox, for a configuration: the sweep itself
_SCHEMA = """
CREATE TABLE sweep (
    id TEXT NOT NULL, name TEXT NOT NULL, run TEXT NOT NULL, begun INTEGER NOT NULL,
    ended INTEGER, status TEXT, note TEXT, attempted INTEGER NOT NULL DEFAULT 0, mlflow TEXT, artifacts TEXT
);
CREATE TABLE configurations (
    number INTEGER PRIMARY KEY, arm TEXT NOT NULL, name TEXT NOT NULL, members TEXT NOT NULL, started INTEGER NOT NULL,
    ended INTEGER, state TEXT, objectives TEXT, reason TEXT,
    attempted INTEGER NOT NULL DEFAULT 0, mlflow TEXT, artifacts TEXT
);
CREATE TABLE networks (id INTEGER PRIMARY KEY, names TEXT NOT NULL UNIQUE);
CREATE TABLE epochs (
    configuration INTEGER NOT NULL REFERENCES configurations, epoch INTEGER NOT NULL, at INTEGER NOT NULL,
    engine TEXT NOT NULL, network INTEGER NOT NULL REFERENCES networks, metrics BLOB NOT NULL,
    UNIQUE (configuration, epoch)
);
CREATE TABLE outbox (
    configuration INTEGER NOT NULL, kind TEXT NOT NULL, epoch INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (configuration, kind, epoch)
) WITHOUT ROWID;
"""
# Since version 2.
_SINCE_1 = """
CREATE TABLE again (
    configuration INTEGER NOT NULL, epoch INTEGER NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (configuration, epoch)
) WITHOUT ROWID;
"""


class SpoolError(LedgerError):
    """The spool can't be opened, written or read (a full disk, mostly): one line that says which file, and why."""


class NoSpool(SpoolError):
    """It can't be opened in the first place: it is no spool, a newer one, or can't be written."""

    exit_code = 2


@dataclass(frozen=True)
class SweepRun:
    """What MLflow's parent run says of a sweep.

    `description` is Markdown; `spec` is YAML; `parameters` become MLflow params; `versions` are package -> version;
    `digests` are data -> sha256; `commit` is the git commit of the code.
    """

    name: str
    spec: str = ""
    description: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None


@dataclass(frozen=True)
class SpooledConfiguration:
    """A configuration as the spool has it; times are milliseconds since 1970, `state` is "running" until it ended.

    `members` are the fields of each MemberConfig, one a seed.
    """

    number: int
    arm: str
    name: str
    members: tuple[Mapping[str, Any], ...]
    started: int
    ended: int | None
    state: str
    values: tuple[float, ...] | None
    reason: str


@dataclass(frozen=True)
class SpooledEpoch:
    """One epoch of a configuration: `values` is float64 (members, metrics), in the order of members and `names`."""

    epoch: int
    at: int
    engine: str
    names: tuple[str, ...]
    values: NDArray[np.float64]


class Spool:
    """See the module. May be used by several threads; another process may have its own on the same file."""

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self.file = file
        self._connection = connection
        self._lock = threading.RLock()
        self._networks: dict[tuple[str, ...], int] = {}
        self._names: dict[int, tuple[str, ...]] = {}
        self._members: dict[int, tuple[MemberConfig, ...]] = {}

    @classmethod
    def at(cls, file: Path) -> Spool:
        """Open, and make where it is missing. Raises NoSpool."""
        try:
            # Autocommit: transactions are written out below. 60 s: the delivery of a large round holds the lock.
            connection = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise NoSpool(str(_failure(file, "open", error))) from None
        spool = cls(file, connection)
        try:
            with spool.reading("open") as db:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=FULL")
            with spool.writing() as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version > _VERSION:
                    raise SpoolError(f"can't read the spool {file}: its version is {version}, this is {_VERSION}")
                if version < _VERSION:
                    missing = _SINCE_1 if version == 1 else _SCHEMA + _SINCE_1
                    for statement in filter(str.strip, missing.split(";")):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version={_VERSION}")
                db.execute("SELECT 1 FROM sweep, configurations, networks, epochs, outbox, again LIMIT 0")
        except SpoolError as error:
            connection.close()
            raise NoSpool(str(error)) from None
        return spool

    def begin(self, sweep: SweepRun) -> None:
        """The sweep starts, or goes on: what is known of it is kept, an end is taken back."""
        now = _now()
        with self.writing() as db:
            if db.execute("SELECT 1 FROM sweep").fetchone():
                db.execute("UPDATE sweep SET ended=NULL, status=NULL, note=NULL")
                db.execute("DELETE FROM outbox WHERE kind='finish'")
            else:
                run = json.dumps(asdict(sweep))
                columns = "(id, name, run, begun) VALUES (?, ?, ?, ?)"
                db.execute(f"INSERT INTO sweep {columns}", (uuid.uuid4().hex, sweep.name, run, now))
            post(db, SWEEP, "begin", 0, now)

    def start(self, number: int, arm: str, name: str, members: Sequence[MemberConfig]) -> None:
        """A configuration starts: its arm ("" for a searched one), what it is called, its members, one a seed."""
        if not members:
            raise ValueError(f"a configuration has at least one member, but got none for {number}")
        now = _now()
        fields = json.dumps([vars(m) for m in members])
        with self.writing() as db:
            made = db.execute(
                "INSERT OR IGNORE INTO configurations (number, arm, name, members, started) VALUES (?, ?, ?, ?, ?)",
                (number, arm, name, fields, now),
            )
            if made.rowcount:
                post(db, number, "start", 0, now)
        self._members[number] = tuple(members)

    def add(self, number: int, records: Sequence[EpochRecord]) -> None:
        """One epoch of a started configuration: a record of each of its members, in any order.

        Raises ValueError where they are not that.
        """
        self.add_all({number: records})

    def add_all(self, records: Mapping[int, Sequence[EpochRecord]]) -> None:
        """One epoch of several configurations, by their numbers, all of it or nothing; as `add`."""
        now = _now()
        rows = [self._row(number, found, now) for number, found in records.items()]
        with self.writing() as db:
            for row in rows:
                number, epoch = row[:2]
                added = db.execute(
                    "INSERT OR IGNORE INTO epochs (configuration, epoch, at, engine, network, metrics)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )
                if added.rowcount:
                    post(db, number, "epoch", epoch, now)
                else:
                    db.execute(
                        "INSERT INTO again VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times=times+1", (number, epoch)
                    )

    def end(self, number: int, state: str, values: Sequence[float] | None = None, reason: str = "") -> None:
        """A configuration ends: complete | pruned | diverged | failed; one that never started is none of the spool's.

        `values` are its objectives.
        """
        if state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}, but got {state!r}")
        now = _now()
        objectives = None if values is None else json.dumps(list(values))
        with self.writing() as db:
            ended = db.execute(
                "UPDATE configurations SET ended=?, state=?, objectives=?, reason=? WHERE number=? AND ended IS NULL",
                (now, state, objectives, reason, number),
            )
            if ended.rowcount:
                post(db, number, "end", 0, now)
        self._members.pop(number, None)

    def finish(self, status: str, note: str) -> None:
        """The sweep ends: MLflow's FINISHED | FAILED | KILLED, and what its parent run says (Markdown). Last wins."""
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, but got {status!r}")
        now = _now()
        with self.writing() as db:
            db.execute("UPDATE sweep SET ended=?, status=?, note=?", (now, status, note))
            post(db, SWEEP, "finish", 0, now)

    def means(self, number: int, metric: str) -> dict[int, float]:
        """The mean over a configuration's seeds of one metric, by epoch."""
        return {
            e.epoch: math.fsum(e.values[:, e.names.index(metric)].tolist()) / len(e.values) for e in self.epochs(number)
        }

    def last_records(self, number: int) -> tuple[EpochRecord, ...]:
        """The records of a configuration's last epoch, one a member; none where it has no epoch."""
        for e in self.epochs(number)[-1:]:
            rows = (dict(zip(e.names, row, strict=True)) for row in e.values.tolist())
            return tuple(
                EpochRecord(m, e.epoch, e.engine, r) for m, r in zip(self._members_of(number), rows, strict=True)
            )
        return ()

    def sweep(self) -> SweepRun | None:
        """What began; None before."""
        with self.reading() as db:
            row = db.execute("SELECT run FROM sweep").fetchone()
        return SweepRun(**json.loads(row[0])) if row else None

    def configurations(self) -> list[SpooledConfiguration]:
        """All that started, by number."""
        with self.reading() as db:
            return [_configuration(row) for row in db.execute(f"{_SELECT} ORDER BY number")]

    def configuration(self, number: int) -> SpooledConfiguration:
        """One that started. Raises KeyError."""
        with self.reading() as db:
            row = db.execute(f"{_SELECT} WHERE number=?", (number,)).fetchone()
        if row is None:
            raise KeyError(number)
        return _configuration(row)

    def epochs(self, number: int) -> list[SpooledEpoch]:
        """A configuration's epochs, in their order."""
        return [epoch for _, epoch in self._epochs("WHERE configuration=?", (number,))]

    def all_epochs(self) -> list[tuple[int, SpooledEpoch]]:
        """(configuration, epoch) of everything there is, in this order."""
        return self._epochs("", ())

    def waiting(self) -> int:
        """How many events MLflow does not have yet."""
        with self.reading() as db:
            return int(db.execute("SELECT COUNT(*) FROM outbox").fetchone()[0])

    def trained_again(self) -> dict[tuple[int, int], int]:
        """How often an epoch that was recorded already was trained again, by (configuration, epoch)."""
        with self.reading() as db:
            return {(c, e): times for c, e, times in db.execute("SELECT configuration, epoch, times FROM again")}

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction. Raises SpoolError, and nothing of it is written."""
        with self._lock, _reported(self.file, "write"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk has rolled it back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read in this block is of one moment, whatever another process writes meanwhile."""
        with self.reading() as db:
            db.execute("BEGIN")
            try:
                yield
            finally:
                db.execute("COMMIT")

    @contextmanager
    def reading(self, verb: str = "read") -> Iterator[sqlite3.Connection]:
        """The connection, for no other thread meanwhile. Raises SpoolError."""
        with self._lock, _reported(self.file, verb):
            yield self._connection

    def _epochs(self, where: str, arguments: tuple[int, ...]) -> list[tuple[int, SpooledEpoch]]:
        with self.reading() as db:
            rows = db.execute(
                f"SELECT configuration, epoch, at, engine, network, metrics FROM epochs {where}"
                " ORDER BY configuration, epoch",
                arguments,
            ).fetchall()
            names = {network: self._network_names(db, network) for network in {row[4] for row in rows}}
        return [
            (number, SpooledEpoch(epoch, at, engine, names[network], _matrix(blob, len(names[network]))))
            for number, epoch, at, engine, network, blob in rows
        ]

    def _row(self, number: int, records: Sequence[EpochRecord], now: int) -> tuple[int, int, int, str, int, bytes]:
        """A row of the table `epochs`."""
        with self._lock:
            members = self._members_of(number)
        of = {r.member: r for r in records}
        if len({(r.epoch, r.engine) for r in records}) != 1 or set(of) != set(members):
            raise ValueError(f"one epoch of each member of configuration {number} is expected, but got {records!r}")
        ordered = [of[m] for m in members]
        names = tuple(ordered[0].metrics)
        if any(len(r.metrics) != len(names) for r in ordered):
            raise ValueError(f"the members of configuration {number} must have the same metrics")
        values = np.array([[r.metrics[name] for name in names] for r in ordered], dtype=np.float64)
        return number, ordered[0].epoch, now, ordered[0].engine, self._network(names), values.tobytes()

    def _members_of(self, number: int) -> tuple[MemberConfig, ...]:
        if number not in self._members:
            self._members[number] = tuple(MemberConfig(**m) for m in self.configuration(number).members)
        return self._members[number]

    def _network(self, names: tuple[str, ...]) -> int:
        if names not in self._networks:
            text = json.dumps(names)
            with self.writing() as db:
                db.execute("INSERT OR IGNORE INTO networks (names) VALUES (?)", (text,))
                (found,) = db.execute("SELECT id FROM networks WHERE names=?", (text,)).fetchone()
            self._networks[names] = int(found)
        return self._networks[names]

    def _network_names(self, db: sqlite3.Connection, network: int) -> tuple[str, ...]:
        if network not in self._names:
            (text,) = db.execute("SELECT names FROM networks WHERE id=?", (network,)).fetchone()
            self._names[network] = tuple(json.loads(text))
        return self._names[network]


_SELECT = "SELECT number, arm, name, members, started, ended, state, objectives, reason FROM configurations"


def post(db: sqlite3.Connection, configuration: int, kind: str, epoch: int, at: int) -> None:
    """Put an event into the outbox: MLflow is to hear of it."""
    db.execute("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?)", (configuration, kind, epoch, at))


def _configuration(row: tuple[Any, ...]) -> SpooledConfiguration:
    number, arm, name, members, started, ended, state, objectives, reason = row
    return SpooledConfiguration(
        number=number,
        arm=arm,
        name=name,
        members=tuple(json.loads(members)),
        started=started,
        ended=ended,
        state=state or "running",
        values=None if objectives is None else tuple(json.loads(objectives)),
        reason=reason or "",
    )


def _matrix(blob: bytes, metrics: int) -> NDArray[np.float64]:
    return np.frombuffer(blob, dtype=np.float64).reshape(-1, metrics)


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _reported(file: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _failure(file, verb, error) from None


def _failure(file: Path, verb: str, error: sqlite3.Error) -> SpoolError:
    return SpoolError(f"can't {verb} the spool {file}: {error}")
