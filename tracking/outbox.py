"""What the spool still has to tell MLflow, and what it knows of MLflow: which run is whose.

An event stays in the outbox until MLflow has it. Before a run is created that is noted, and its id after it: where the
first is there without the second, a run may exist, and is looked for before another is created.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tracking.spool import SWEEP, Spool


@dataclass(frozen=True)
class Waiting:
    """What waits of one configuration: since when (milliseconds since 1970), and whether it has ended."""

    number: int
    since: int
    ended: bool


@dataclass(frozen=True)
class Event:
    """One event of the outbox: start | epoch | end of a configuration; `at` tells a renewed one from the former."""

    number: int
    kind: str
    epoch: int
    at: int


@dataclass(frozen=True)
class RunId:
    """MLflow's id of a run and the place of its artifacts; None before it is known."""

    attempted: bool
    run: str | None
    artifacts: str | None


@dataclass(frozen=True)
class SweepState:
    """The sweep's own row: `id` is unique to this spool; times are milliseconds since 1970."""

    id: str
    begun: int
    ended: int | None
    status: str | None
    note: str | None


class Outbox:
    """See the module."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def waiting(self) -> list[Waiting]:
        """The configurations of which something waits, the longest waiting first."""
        with self._spool.reading() as db:
            rows = db.execute(
                "SELECT configuration, MIN(at) AS since, MAX(kind='end') FROM outbox WHERE configuration != ?"
                " GROUP BY configuration ORDER BY since, configuration",
                (SWEEP,),
            ).fetchall()
        return [Waiting(number, since, bool(ended)) for number, since, ended in rows]

    def events(self, number: int = SWEEP) -> list[Event]:
        """What waits of a configuration, or of the sweep itself (begin, finish)."""
        with self._spool.reading() as db:
            rows = db.execute(
                "SELECT configuration, kind, epoch, at FROM outbox WHERE configuration=? ORDER BY epoch, kind",
                (number,),
            ).fetchall()
        return [Event(*row) for row in rows]

    def delivered(self, events: Iterable[Event]) -> None:
        """MLflow has these; one that came anew meanwhile stays."""
        with self._spool.writing() as db:
            db.executemany(
                "DELETE FROM outbox WHERE configuration=? AND kind=? AND epoch=? AND at=?",
                [(e.number, e.kind, e.epoch, e.at) for e in events],
            )

    def state(self) -> SweepState | None:
        """The sweep's row; None before it began."""
        with self._spool.reading() as db:
            row = db.execute("SELECT id, begun, ended, status, note FROM sweep").fetchone()
        return SweepState(*row) if row else None

    def parent(self) -> RunId:
        """The parent run."""
        with self._spool.reading() as db:
            attempted, run, artifacts = db.execute("SELECT attempted, mlflow, artifacts FROM sweep").fetchone()
        return RunId(bool(attempted), run, artifacts)

    def runs(self) -> dict[int, RunId]:
        """The runs of all configurations."""
        with self._spool.reading() as db:
            rows = db.execute("SELECT number, attempted, mlflow, artifacts FROM configurations").fetchall()
        return {number: RunId(bool(attempted), run, place) for number, attempted, run, place in rows}

    def attempt(self, numbers: Collection[int]) -> None:
        """The runs of these (SWEEP: the parent) are about to be created."""
        with self._spool.writing() as db:
            for number in numbers:
                table, where = _row(number)
                db.execute(f"UPDATE {table} SET attempted=1 WHERE {where}")

    def created(self, runs: Sequence[tuple[int, str, str]]) -> None:
        """(configuration or SWEEP, run id, place of its artifacts) of runs that exist now."""
        with self._spool.writing() as db:
            for number, run, artifacts in runs:
                table, where = _row(number)
                db.execute(f"UPDATE {table} SET mlflow=?, artifacts=? WHERE {where}", (run, artifacts))


def _row(number: int) -> tuple[str, str]:
    return ("sweep", "1") if number == SWEEP else ("configurations", f"number={int(number)}")
