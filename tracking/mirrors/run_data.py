"""What MLflow gets of a sweep and its configurations: the tags, params, metrics and files of their runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

from tracking import tidy
from tracking.mirrors.client import Metric
from tracking.mirrors.metrics import points
from tracking.types import Configuration, Epoch, Sweep

STATUS = {
    "running": "RUNNING",
    "complete": "FINISHED",
    "pruned": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
}
SWEEP_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
MARK, SWEEP_TAG, KIND, NUMBER = "gradsweep.mark", "gradsweep.sweep", "gradsweep.kind", "gradsweep.configuration"
STATE, REASON = "gradsweep.state", "gradsweep.reason"
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
RECORDS, LAYERS = "records.parquet", "layers.parquet"
# What MLflow's database takes.
MOST_IN_TAG, MOST_IN_PARAM, LONGEST_NAME = 8000, 6000, 100


def parent_tags(sweep: Sweep) -> dict[str, str]:
    """The tags of a sweep's run."""
    tags = {
        MARK: sweep.mark,
        SWEEP_TAG: sweep.name,
        KIND: "sweep",
        NOTE: description(sweep),
        "mlflow.source.name": "gradsweep",
        "gradsweep.data.digest": ", ".join(f"{data}={digest}" for data, digest in sweep.digests.items())[:MOST_IN_TAG],
    }
    if sweep.commit:
        tags["mlflow.source.git.commit"] = sweep.commit
    return tags | {f"gradsweep.version.{package}": version for package, version in sweep.versions.items()}


def child_tags(sweep: Sweep, parent: str, c: Configuration) -> dict[str, str]:
    """The tags of a configuration's run."""
    tags = {PARENT: parent, MARK: sweep.mark, NUMBER: str(c.number), STATE: c.state}
    optional = {
        "gradsweep.arm": c.arm,
        "gradsweep.confirms": "" if c.confirms is None else str(c.confirms),
        REASON: c.reason[:MOST_IN_TAG],
    }
    return tags | {key: value for key, value in optional.items() if value}


def chart(
    sweep: Sweep, configurations: Sequence[Configuration], before: tuple[int, float | None] = (0, None)
) -> tuple[list[Metric], tuple[int, float | None]]:
    """The parent's metrics by configuration, in the order of their numbers, up to the first that has not ended.

    `before` is the number of the first, and the best before it; what it will be next comes back as well.
    """
    place, best = before
    metrics = []
    better = max if sweep.objectives[0][1] == "maximize" else min
    for c in takewhile(lambda c: c.state != "running", configurations):
        place = c.number + 1
        if c.state == "complete" and c.phase == "search" and c.values and not math.isnan(c.values[0]):
            best = c.values[0] if best is None else better(best, c.values[0])
            values = {"objective": c.values[0], "best so far": best}
            metrics += [Metric(key, value, c.ended or 0, c.number) for key, value in values.items()]
    return metrics, (place, best)


def metrics_of(epochs: Sequence[Epoch]) -> list[Metric]:
    """The metrics of a configuration's run."""
    return [Metric(key, value, e.at, e.epoch) for e in epochs for key, value in points(e)]


def params_of(c: Configuration) -> dict[str, str]:
    """The fields of a configuration's members, and their seeds."""
    params = {name: str(value) for name, value in c.member.items()} | {"seeds": ", ".join(map(str, c.seeds))}
    return {name: value[:MOST_IN_PARAM] for name, value in params.items()}


def run_name(c: Configuration) -> str:
    """Short, and not the same as another's in its first 20 characters."""
    return f"#{c.number} {'confirm ' if c.confirms is not None else ''}{c.name}"[:LONGEST_NAME]


def description(sweep: Sweep) -> str:
    """The description of a sweep's run: the verdict, or the question until there is one."""
    return (sweep.note or sweep.question)[:MOST_IN_TAG]


def tables(sweep: Sweep, c: Configuration, epochs: Sequence[Epoch]) -> dict[str, tidy.Columns]:
    """The Parquet files of a configuration that has ended, as columns; NaN is NaN there, not null."""
    return {RECORDS: tidy.records(sweep.name, [(c, epochs)]), LAYERS: tidy.layers(sweep.name, [(c, epochs)])}
