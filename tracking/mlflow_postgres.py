"""MLflow's own PostgreSQL database, written fast: all that is known of many runs in one transaction of few statements.

Each table's rows go as one array a column, which `unnest` makes rows again: a statement costs a round trip to the
server, however many rows it brings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, NullPool, create_engine, text

from tracking import mlflow_tables
from tracking.runs import RunUpdate

_METRIC = {
    "key": "text",
    "timestamp": "bigint",
    "step": "bigint",
    "run_uuid": "text",
    "value": "float8",
    "is_nan": "bool",
}
_PAIR = {"key": "text", "value": "text", "run_uuid": "text"}
_END = {"status": "text", "end_time": "bigint", "run_uuid": "text"}


class PostgresWriter:
    """Writes into the database's tables; one thread. Raises SQLAlchemyError, and then nothing is written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def opened(cls, uri: str) -> PostgresWriter | None:
        """The writer of an MLflow database; None where its tables are not as known here."""
        # A connection a transaction: none is left open, and none is stale when the server was restarted.
        engine = create_engine(uri, poolclass=NullPool)
        found = sqlalchemy.inspect(engine)
        for table, columns in mlflow_tables.COLUMNS.items():
            if not found.has_table(table) or not columns <= {c["name"] for c in found.get_columns(table)}:
                return None
        return cls(engine)

    def write(self, updates: Sequence[RunUpdate]) -> dict[str, str]:
        """Write all of it in one transaction; run -> what is wrong with it, for runs that are no more."""
        with self._engine.begin() as db:
            alive = _alive(db, [u.run for u in updates])
            kept = [u for u in updates if u.run in alive]
            rows = mlflow_tables.rows(kept)
            _insert(db, "metrics", _METRIC, rows, "ON CONFLICT DO NOTHING")
            _insert(
                db,
                "latest_metrics AS former",
                _METRIC,
                mlflow_tables.latest(rows),
                "ON CONFLICT (key, run_uuid) DO UPDATE SET timestamp = excluded.timestamp, step = excluded.step,"
                " value = excluded.value, is_nan = excluded.is_nan WHERE (excluded.step, excluded.timestamp,"
                " excluded.value) > (former.step, former.timestamp, former.value)",
            )
            params = [(key, value, u.run) for u in kept for key, value in u.params.items()]
            _insert(db, "params", _PAIR, params, "ON CONFLICT DO NOTHING")
            tags = [(key, value, u.run) for u in kept for key, value in u.tags.items()]
            _insert(db, "tags", _PAIR, tags, "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value")
            if ends := [(u.status, u.ended, u.run) for u in kept if u.status is not None]:
                db.execute(
                    text(
                        "UPDATE runs SET status = ended.status, end_time = ended.end_time"
                        f" FROM {_unnested(_END)} AS ended ({', '.join(_END)}) WHERE runs.run_uuid = ended.run_uuid"
                    ),
                    _columns(_END, ends),
                )
        return {u.run: mlflow_tables.DELETED for u in updates if u.run not in alive}


def _alive(db: Connection, runs: Collection[str]) -> set[str]:
    """Those of the runs that are there and not deleted: they stay so until the transaction's end."""
    found = db.execute(
        text(
            "SELECT run_uuid FROM runs WHERE run_uuid = ANY(CAST(:runs AS text[])) AND lifecycle_stage = 'active'"
            " ORDER BY run_uuid FOR NO KEY UPDATE"
        ),
        {"runs": list(runs)},
    )
    return set(found.scalars())


def _insert(
    db: Connection, table: str, types: Mapping[str, str], rows: Sequence[tuple[Any, ...]], in_conflict: str
) -> None:
    if rows:
        names = ", ".join(types)
        statement = (
            f"INSERT INTO {table} ({names}) SELECT {names} FROM {_unnested(types)} AS new ({names}) {in_conflict}"
        )
        db.execute(text(statement), _columns(types, rows))


def _unnested(types: Mapping[str, str]) -> str:
    return f"unnest({', '.join(f'CAST(:{name} AS {kind}[])' for name, kind in types.items())})"


def _columns(types: Iterable[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: list(values) for name, values in zip(types, zip(*rows, strict=True), strict=True)}
