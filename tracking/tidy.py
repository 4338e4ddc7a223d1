"""The shape of the tidy tables, in NumPy alone.

`records` has one row per member and epoch, `layers` one per member, epoch and layer, whatever the networks. Both are
columns by name, the same in a configuration's Parquet files, an export and `tracking.load`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracking.types import Configuration, Epoch
from trainers.layers import places
from trainers.members import FIELDS
from trainers.metrics import always, layer_metrics
from trainers.regimes import NETWORK, REGIMES, network

KEYS = ("sweep", "configuration", "arm", "phase", "state", "seed", "epoch")
MEMBER = tuple(name for name in FIELDS if name != "seed")
LAYER = "layer."  # begins the name of a layer's metric in a record, as layer.conv1.gradient.data.rms
STEP = "step"
LAYER_KEYS = ("layer", "depth", "kind")
_TEXTS = ("sweep", "arm", "phase", "state", "layer", "kind")
Parts = Sequence[tuple[Configuration, Sequence[Epoch]]]
Columns = dict[str, NDArray[Any] | list[Any]]


def records(sweep: str, parts: Parts, layers: bool = False) -> Columns:
    """One row per member and epoch: KEYS, the fields of the member (`engine` is the one that trained it), its metrics.

    With `layers` every layer's metrics are columns as well, as `layer.conv1.gradient.data.rms`; NaN if a row's network
    has no such layer. What is recorded of every network is NaN in a record of before it was.
    """
    rows = [(c, e) for c, epochs in parts for e in epochs]
    columns = _keys(sweep, rows)
    seeds = [len(c.seeds) for c, _ in rows]
    for name in MEMBER:
        values = [e.engine if name == "engine" else _field(c.member, name) for c, e in rows]
        columns[name] = _column(name, _repeated(values, seeds))
    names = dict.fromkeys(n for _, e in rows for n in e.names if layers or not n.startswith(LAYER))
    if rows:
        of_layer = dict.fromkeys(n.split(".")[1] for n in names if n.startswith(LAYER))
        names |= dict.fromkeys(always(layer for layer in of_layer if not layer.startswith(STEP)))
    return columns | _metrics(rows, [{name: name for name in names}])


def layers(sweep: str, parts: Parts) -> Columns:
    """One row per member, epoch and layer with parameters: KEYS, LAYER_KEYS, then the layer's metrics.

    What is measured by step of a recurrent network has rows of its own, of the kind `step`.
    """
    rows, of_layer = [], []
    for c, epochs in parts:
        shapes = layers_of(c.member)
        for e in epochs:
            for layer in dict.fromkeys(n.split(".")[1] for n in e.names if n.startswith(LAYER)):
                rows.append((c, e))
                of_layer.append((layer, *(shapes.get(layer) or step_of(layer))))
    columns = _keys(sweep, rows)
    seeds = [len(c.seeds) for c, _ in rows]
    for i, name in enumerate(LAYER_KEYS):
        columns[name] = _column(name, _repeated([of[i] for of in of_layer], seeds))
    recorded = dict.fromkeys(n for _, e in rows for n in e.names)  # what is learned, what packages have measured
    names = {}
    for layer in {layer for layer, _, _ in of_layer}:
        own = f"{LAYER}{layer}."
        every = (*layer_metrics(layer, ()), *(n for n in recorded if n.startswith(own)))
        names[layer] = {metric.removeprefix(own): metric for metric in every}
    return columns | _metrics(rows, [names[layer] for layer, _, _ in of_layer])


def layers_of(member: Any) -> dict[str, tuple[int, str]]:
    """(depth, kind) of each layer with parameters, by its name; depth 1 is the first. `member` has fields by name."""
    layers = network(str(member["regime"]), **{name: member[name] for name in NETWORK if name in member})
    return {place.name: (place.depth, place.kind) for place in places(layers)}


def step_of(row: str) -> tuple[int, str]:
    """(depth, kind) of a row `stepK` of a recurrent network: its depth is K, how many steps before the last it is."""
    return int(row.removeprefix(STEP)), STEP


def _field(member: Mapping[str, Any], name: str) -> Any:
    """A record of before a field was added lacks it: then it had its default, or its regime's."""
    regime = REGIMES.get(str(member.get("regime")))
    return member.get(name, getattr(regime, name) if regime and name in NETWORK else FIELDS[name].default)


def _keys(sweep: str, rows: Sequence[tuple[Configuration, Epoch]]) -> Columns:
    own = [(sweep, c.number, c.arm, c.phase, c.state, seed, e.epoch) for c, e in rows for seed in c.seeds]
    return {name: _column(name, [row[i] for row in own]) for i, name in enumerate(KEYS)}


def _metrics(
    rows: Sequence[tuple[Configuration, Epoch]], names: Sequence[Mapping[str, str]]
) -> dict[str, NDArray[np.float64]]:
    """The columns of metrics: `names` is column -> metric, one for all rows or one per row; NaN where there is none."""
    columns = dict.fromkeys(column for of_row in names for column in of_row)
    starts = np.cumsum([0, *(len(c.seeds) for c, _ in rows)])
    table = np.full((int(starts[-1]), len(columns)), np.nan)
    places: dict[tuple[tuple[str, ...], int], list[int]] = {}
    for i, (_, e) in enumerate(rows):
        wanted = names[i if len(names) > 1 else 0]
        key = (e.names, id(wanted))
        if key not in places:
            at = {name: place for place, name in enumerate(e.names)}
            places[key] = [at.get(wanted.get(column, ""), -1) for column in columns]
        where = places[key]
        values = np.concatenate([e.values, np.full((len(e.values), 1), np.nan)], axis=1)
        table[starts[i] : starts[i + 1]] = values[:, where]
    return {column: table[:, place] for place, column in enumerate(columns)}


def _repeated(values: Iterable[Any], times: Sequence[int]) -> list[Any]:
    return [value for value, count in zip(values, times, strict=True) for _ in range(count)]


def _column(name: str, values: list[Any]) -> NDArray[Any] | list[Any]:
    """Its type is that of its field, a metric's float, and depends on no value: alpha = 2 is 2.0."""
    if name in (*KEYS, *LAYER_KEYS):
        kind = "str" if name in _TEXTS else "int"
    else:
        kind = str(FIELDS[name].type).removesuffix(" | None") if name in FIELDS else "float"
    if kind == "float":
        return np.array(values, dtype=np.float64)
    if kind.startswith("tuple"):
        return [", ".join(map(str, value or ())) for value in values]
    return np.array(values, dtype=np.int64) if kind == "int" else values
