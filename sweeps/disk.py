"""What a sweep's records take on the disk: ledger, mirrors and artifacts, read off what would run.

The constants are bytes, measured on the SQLite stores of three sweeps: 12, 6 and 6 configurations of 1, 4 and 8 seeds,
recorded 31, 16 and 11 times, of networks of 8 and 10 layers with parameters. The estimate was 5 to 15 % more than the
stores had grown; 8 bytes for each column that came later are counted, not measured. Nothing is taken off for pruning.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from tracking.store import Store
from trainers.layers import places
from trainers.members import MemberConfig, layers_of

SWEEP = 5_000_000  # databases without records 1.2 MB, the report and MLflow's copy of it 1.2 MB, journals
CONFIGURATION = 30_000  # parameters and tags in MLflow 8 kB, what two Parquet files hold besides rows, Optuna's trial
POINT = 290  # of a metric in MLflow; per configuration and epoch there are
NETWORK_POINTS, MOST_LAYER_POINTS = 16, 30  # those of the whole network, and one per layer of at most so many
ROW = 205  # per member and epoch in records.parquet
LAYER = 216 + 160  # per member, epoch and layer in the ledger, and in layers.parquet


def disk_of(stages: Iterable[tuple[Iterable[MemberConfig], int]]) -> int:
    """The bytes of a sweep's records; `stages` are configurations, each as one of its members, and their seeds."""
    total = SWEEP
    for configurations, seeds in stages:
        for member in configurations:
            layers = len(places(layers_of(member, 10)))
            points = NETWORK_POINTS + min(layers, MOST_LAYER_POINTS)
            total += CONFIGURATION + (member.epochs + 1) * (POINT * points + seeds * (ROW + LAYER * layers))
    return total


def shortage(needed: int, store: Store) -> list[str]:
    """A line where the disk of a store has less room than so many bytes; none where a server keeps its records."""
    if store.mlflow is not None:
        return []
    free = shutil.disk_usage(next(f for f in (store.folder, *store.folder.parents) if f.exists())).free
    if free >= needed:
        return []
    return [f"the disk of {store.folder} has {shown(free)} free, and the records may take {shown(needed)}"]


def shown(count: int) -> str:
    """A number of bytes in round words."""
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
