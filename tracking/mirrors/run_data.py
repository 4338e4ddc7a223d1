"""What MLflow gets of a sweep and its configurations: the tags, params, metrics and files of their runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from tracking import tidy
from tracking.mirrors.client import Metric
from tracking.tidy import LAYER
from tracking.types import Configuration, Epoch, Sweep
from trainers.measurements import MEASUREMENTS
from trainers.metrics import on_log_scale
from trainers.plugins import among

STATUS = {"running": "RUNNING", "complete": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
SWEEP_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
MARK, SWEEP_TAG, KIND, NUMBER = "gradsweep.mark", "gradsweep.sweep", "gradsweep.kind", "gradsweep.configuration"
STATE, REASON = "gradsweep.state", "gradsweep.reason"
REMARKS = ("gradsweep.note", "gradsweep.tags")
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
RECORDS, LAYERS = "records.parquet", "layers.parquet"
METRICS = {
    "accuracy/validation": "validation.accuracy",
    "accuracy/test": "test.accuracy",
    "accuracy/train": "train.accuracy",
    "gradient/data.mean_abs": "gradient.data.mean_abs",
    "gradient/data.rms": "gradient.data.rms",
    "gradient/data.vanished": "gradient.data.vanished",
    "gradient/first_to_last": "gradient.first_to_last",
    "gradient/total.rms": "gradient.total.rms",
    "learned/alpha": "learned.alpha",
    "learned/slope": "learned.slope",
    "loss/train": "train.loss",
    "loss/validation": "validation.loss",
    "units/dead": "dead",
    "units/saturated": "saturated",
}
# And of what a spec asks for whatever is of the network: jacobian.largest is "jacobian/largest".
METRICS |= {name.replace(".", "/", 1): name for entry in MEASUREMENTS.values() for name in entry.network}
MOST = 60  # metrics of a run
QUARTILES = "accuracy/validation"  # whose quartiles are metrics, too
BY_LAYER = "gradient.data.rms"
MOST_LAYERS = 30  # of a deeper network so many, evenly spaced
# What MLflow's database takes.
MOST_IN_TAG, MOST_IN_PARAM, LONGEST_NAME = 8000, 6000, 100


def parent_tags(sweep: Sweep) -> dict[str, str]:
    """The tags of a sweep's run."""
    packages = among(sweep.digests)
    data = {name: digest for name, digest in sweep.digests.items() if name not in packages}
    tags = {
        MARK: sweep.mark,
        SWEEP_TAG: sweep.name,
        KIND: "sweep",
        NOTE: description(sweep),
        "mlflow.source.name": "gradsweep",
        "gradsweep.data.digest": ", ".join(f"{data}={digest}" for data, digest in data.items())[:MOST_IN_TAG],
        **remarks(sweep),
    }
    for package, digest in packages.items():
        name, _, version = package.partition("==")
        tags[f"gradsweep.package.{name}"] = f"{version}, sha256 {digest}"
    if sweep.commit:
        tags["mlflow.source.git.commit"] = sweep.commit
    return tags | {f"gradsweep.version.{package}": version for package, version in sweep.versions.items()}


def remarks(sweep: Sweep) -> dict[str, str]:
    """What its users say of a sweep, as tags of its run."""
    texts = (sweep.remark, ", ".join(sweep.tags))
    return {key: text[:MOST_IN_TAG] for key, text in zip(REMARKS, texts, strict=True) if text}


def child_tags(sweep: Sweep, parent: str, c: Configuration) -> dict[str, str]:
    """The tags of a configuration's run."""
    tags = {PARENT: parent, MARK: sweep.mark, NUMBER: str(c.number), STATE: c.state}
    optional = {
        "gradsweep.arm": c.arm,
        "gradsweep.confirms": "" if c.confirms is None else str(c.confirms),
        "gradsweep.extends": "" if c.extends is None else str(c.extends),
        "gradsweep.same_as": "" if c.same_as is None else str(c.same_as),
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
        if (
            c.state == "complete"
            and c.phase == "search"
            and c.extends is None
            and c.values
            and not math.isnan(c.values[0])
        ):
            best = c.values[0] if best is None else better(best, c.values[0])
            values = {"objective": c.values[0], "best so far": best}
            metrics += [Metric(key, value, c.ended or 0, c.number) for key, value in values.items()]
    return metrics, (place, best)


def metrics_of(epochs: Sequence[Epoch]) -> list[Metric]:
    """The metrics of a configuration's run."""
    return [Metric(key, value, e.at, e.epoch) for e in epochs for key, value in points(e)]


def points(epoch: Epoch) -> list[tuple[str, float]]:
    """(key, value) of one epoch: at most MOST means over the seeds and quartiles, named to be sorted as one reads them.

    Of sizes and ratios the medians: one seed can be nearly all of their mean. Nothing for what is not measured at this
    epoch. Everything else is in the Parquet files.
    """
    columns = _columns(epoch.names)
    with np.errstate(invalid="ignore", over="ignore"):
        means = epoch.values[:, list(columns.values())].mean(axis=0)
        values = dict(zip(columns, means.tolist(), strict=True))
        values |= {key: quantile(epoch.values[:, columns[key]], 0.5) for key in _sizes(epoch.names)}
        for percent in (25, 75) if QUARTILES in columns else ():
            values[f"{QUARTILES}.q{percent}"] = quantile(epoch.values[:, columns[QUARTILES]], percent / 100)
    return sorted(values.items())


def quantile(values: NDArray[np.float64], q: float) -> float:
    """By linear interpolation, as NumPy's, but infinities keep their place, and of what holds a NaN it is NaN."""
    ordered, place = np.sort(values), q * (len(values) - 1)
    low, high = ordered[int(place)], ordered[min(int(place) + 1, len(values) - 1)]
    if np.isnan(ordered[-1]):  # which is sorted last
        return math.nan
    # Between two equal values nothing is interpolated: they may be infinite.
    return float(low if place == int(place) or low == high else low + (high - low) * (place - int(place)))


@cache
def _columns(names: tuple[str, ...]) -> dict[str, int]:
    """The columns of the means, by key."""
    at = {name: place for place, name in enumerate(names)}
    means = {key: at[name] for key, name in METRICS.items() if name in at}
    layers = [name for name in names if name.startswith(LAYER) and name.endswith(f".{BY_LAYER}")]
    most = min(len(layers), MOST_LAYERS, MOST - len(means) - 2)  # two quartiles
    chosen = np.unique(np.linspace(0, len(layers) - 1, most).round().astype(int))
    for i in chosen.tolist():
        layer = layers[i].removeprefix(LAYER).removesuffix(f".{BY_LAYER}")
        means[f"gradient by layer/{i + 1:0{max(2, len(str(len(layers))))}d} {layer}"] = at[layers[i]]
    return means


@cache
def _sizes(names: tuple[str, ...]) -> list[str]:
    """The keys of sizes and ratios."""
    return [key for key, column in _columns(names).items() if on_log_scale(names[column])]


def params_of(c: Configuration) -> dict[str, str]:
    """The fields of a configuration's members, and their seeds."""
    lists = {name: value for name, value in c.member.items() if isinstance(value, list | tuple)} | {"seeds": c.seeds}
    params = {name: str(value) for name, value in c.member.items()}
    params |= {name: ", ".join(map(str, value)) for name, value in lists.items()}
    return {name: value[:MOST_IN_PARAM] for name, value in params.items()}


def run_name(c: Configuration) -> str:
    """Short, and not the same as another's in its first 20 characters."""
    return f"#{c.number} {'confirm ' if c.confirms is not None else ''}{c.name}"[:LONGEST_NAME]


def description(sweep: Sweep) -> str:
    """The description of a sweep's run: the verdict, or the question until there is one, and its users' remark."""
    return "\n\n".join(filter(None, (sweep.note or sweep.question, sweep.remark)))[:MOST_IN_TAG]


def tables(sweep: Sweep, c: Configuration, epochs: Sequence[Epoch]) -> dict[str, tidy.Columns]:
    """The Parquet files of a configuration that has ended, as columns; NaN is NaN there, not null."""
    return {RECORDS: tidy.records(sweep.name, [(c, epochs)]), LAYERS: tidy.layers(sweep.name, [(c, epochs)])}
