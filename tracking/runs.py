"""What MLflow is told of a run: plain data, made from the spool, for whichever way it is sent.

A configuration's metrics are `<metric>/mean`, `/q25` and `/q75` over its seeds, a step an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tracking.outbox import SweepState
from tracking.spool import SpooledConfiguration, SpooledEpoch, SweepRun
from tracking.tidy import MEMBER

# What MLflow's database takes.
MOST_IN_TAG = 8000
MOST_IN_PARAM = 6000
STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "diverged": "FAILED", "failed": "FAILED"}
SPOOL_TAG = "gradsweep.spool"
CONFIGURATION_TAG = "gradsweep.configuration"
SWEEP_TAG = "gradsweep.sweep"
KIND_TAG = "gradsweep.kind"
SWEEP, CONFIGURATION = "sweep", "configuration"
INDEX = "configurations.json"  # an artifact of the sweep's run, once it has ended
NOTE_TAG = "mlflow.note.content"


@dataclass(frozen=True)
class Series:
    """Metrics at several steps: `values` is float64 (steps, keys), `timestamps` are milliseconds since 1970."""

    keys: tuple[str, ...]
    values: NDArray[np.float64]
    steps: tuple[int, ...]
    timestamps: tuple[int, ...]


@dataclass(frozen=True)
class RunUpdate:
    """What is to be added to a run; `status` None leaves it as it is."""

    run: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    status: str | None = None
    ended: int | None = None


def series(epochs: Sequence[SpooledEpoch]) -> tuple[Series, ...]:
    """The mean and the quartiles over the seeds (a Series for each list of metrics and number of seeds)."""
    alike: dict[tuple[tuple[str, ...], int], list[SpooledEpoch]] = {}
    for e in epochs:
        alike.setdefault((e.names, len(e.values)), []).append(e)
    return tuple(
        Series(
            keys=_keys(names),
            values=_over_seeds(np.stack([e.values for e in found])),
            steps=tuple(e.epoch for e in found),
            timestamps=tuple(e.at for e in found),
        )
        for (names, _), found in alike.items()
    )


def params(configuration: SpooledConfiguration) -> dict[str, str]:
    """A configuration's fields, and its seeds."""
    first = configuration.members[0]
    found = {name: str(first[name]) for name in MEMBER if name in first}
    found["seeds"] = ", ".join(str(m["seed"]) for m in configuration.members)
    return {name: value[:MOST_IN_PARAM] for name, value in found.items()}


def child_tags(sweep: str, spool: str, parent: str, configuration: SpooledConfiguration) -> dict[str, str]:
    """The tags that a configuration's run has from the very first."""
    return {
        "mlflow.parentRunId": parent,
        SWEEP_TAG: sweep,
        SPOOL_TAG: spool,
        KIND_TAG: CONFIGURATION,
        CONFIGURATION_TAG: str(configuration.number),
        "gradsweep.arm": configuration.arm,
        "gradsweep.state": "running",
    }


def final_tags(configuration: SpooledConfiguration) -> dict[str, str]:
    """The tags that say how a configuration ended."""
    return {"gradsweep.state": configuration.state, "gradsweep.reason": configuration.reason[:MOST_IN_TAG]}


def parent_tags(sweep: SweepRun, state: SweepState) -> dict[str, str]:
    """The tags of a sweep's run."""
    tags = {
        SWEEP_TAG: sweep.name,
        SPOOL_TAG: state.id,
        KIND_TAG: SWEEP,
        "mlflow.source.name": "gradsweep",
        NOTE_TAG: (state.note or sweep.description)[:MOST_IN_TAG],
        "gradsweep.data.digest": _digests(sweep.digests)[:MOST_IN_TAG],
    }
    if sweep.commit:
        tags["mlflow.source.git.commit"] = sweep.commit
    return tags | {f"gradsweep.version.{package}": version for package, version in sweep.versions.items()}


def _digests(digests: Mapping[str, str]) -> str:
    """One data set's digest as it is, several each with its name."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    return ", ".join(f"{data}={digest}" for data, digest in digests.items())


@cache
def _keys(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}/{statistic}" for statistic in ("mean", "q25", "q75") for name in names)


def _over_seeds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(epochs, seeds, metrics) -> (epochs, 3 * metrics).

    Quartiles by linear interpolation, as numpy's, but infinities keep their place: between two equal values nothing
    is interpolated.
    """
    ordered = np.sort(values, axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        parts = [values.mean(axis=1)]
        for q in (0.25, 0.75):
            place = q * (values.shape[1] - 1)
            between = place - int(place)
            low, high = ordered[:, int(place)], ordered[:, min(int(place) + 1, values.shape[1] - 1)]
            parts.append(low if between == 0 else np.where(low == high, low, low + (high - low) * between))
    # NaN is sorted last: a quartile of what holds one is NaN like the mean.
    missing = np.isnan(values).any(axis=1)
    return np.concatenate([np.where(missing, np.nan, part) for part in parts], axis=1)
