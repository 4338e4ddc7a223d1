"""The shape of the tidy table, in numpy alone: a row a member and epoch.

Columns: `sweep`, `configuration`, `arm`, `seed`, `epoch`, every other field of MemberConfig (`engine` is the one that
did train it), then every metric by its name. The same for one configuration's records.parquet and for an export.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracking.spool import SpooledConfiguration, SpooledEpoch
from trainers.members import FIELDS

KEYS = ("sweep", "configuration", "arm", "seed", "epoch")
MEMBER = tuple(name for name in FIELDS if name != "seed")


@dataclass(frozen=True)
class Block:
    """Rows with the same metrics: `labels` holds KEYS and MEMBER, `metrics` is float64 (rows, names)."""

    labels: dict[str, NDArray[Any] | list[Any]]
    names: tuple[str, ...]
    metrics: NDArray[np.float64]


def blocks(sweep: str, parts: Sequence[tuple[SpooledConfiguration, Sequence[SpooledEpoch]]]) -> list[Block]:
    """The rows of configurations, a block for each list of metrics (a regime's network has its own)."""
    rows: dict[tuple[str, ...], list[tuple[SpooledConfiguration, SpooledEpoch]]] = {}
    for configuration, epochs in parts:
        for epoch in epochs:
            rows.setdefault(epoch.names, []).append((configuration, epoch))
    return [_block(sweep, names, found) for names, found in rows.items()]


def _block(sweep: str, names: tuple[str, ...], rows: list[tuple[SpooledConfiguration, SpooledEpoch]]) -> Block:
    members = [(c, e, m) for c, e in rows for m in c.members]
    labels: dict[str, NDArray[Any] | list[Any]] = {
        "sweep": [sweep] * len(members),
        "configuration": np.array([c.number for c, _, _ in members], dtype=np.int64),
        "arm": [c.arm for c, _, _ in members],
        "seed": np.array([m["seed"] for _, _, m in members], dtype=np.int64),
        "epoch": np.array([e.epoch for _, e, _ in members], dtype=np.int64),
    }
    for name in MEMBER:
        # A spool of before a field was added lacks it: then it had its default.
        default = FIELDS[name].default
        labels[name] = _column(name, [e.engine if name == "engine" else m.get(name, default) for _, e, m in members])
    return Block(labels, names, np.concatenate([e.values for _, e in rows]))


def column_kind(name: str) -> str:
    """float | int | bool | str: what a column holds, by its field's declared type; a metric is a float."""
    if name in KEYS:
        return "str" if name in ("sweep", "arm") else "int"
    return str(FIELDS[name].type).split(" ")[0] if name in FIELDS else "float"


def _column(name: str, values: list[Any]) -> NDArray[Any] | list[Any]:
    """Its type depends on no value: alpha = 2 is 2.0."""
    kind = column_kind(name)
    if kind == "float":
        return np.array(values, dtype=np.float64)
    return np.array(values, dtype=np.int64) if kind == "int" else values
