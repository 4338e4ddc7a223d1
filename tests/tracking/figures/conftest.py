"""Sweeps that look like real ones, written into a real ledger without any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeps.driver.driver import epoch_of
from tracking.charts.chart import ChartData
from tracking.figures.data import Axis, FigureData
from tracking.ledger import Ledger
from tracking.results import CONFIRM, Outcome, load_wide, outcomes
from tracking.store import Store
from tracking.types import Configuration, Sweep
from trainers.layers import places
from trainers.measurements.histogram import BINS
from trainers.members import EpochRecord, MemberConfig, layers_of
from trainers.metrics import names
from trainers.objectives import Objective


@dataclass(frozen=True)
class Made:
    """One configuration to be written: its fields, how it ends, and after which epoch.

    `change` may put another value in the place of one: metric, epoch, seed, value -> value. `also` is what is recorded
    besides: member, epoch -> metrics.
    """

    arm: str
    fields: Mapping[str, Any]
    state: str = "complete"
    epochs: int = 4
    seeds: Sequence[int] = (0, 1, 2, 3)
    name: str = ""
    change: Callable[[str, int, int, float], float] = field(default=lambda metric, epoch, seed, value: value)
    also: Callable[[MemberConfig, int], Mapping[str, float]] = field(default=lambda member, epoch: {})


class Maker:
    """Writes sweeps.

    >>> frame, ended = make(make.arms() + make.search(20))
    """

    axes = (Axis("alpha", 0.5, 8.0, log=True), Axis("r", 1e-5, 1.0, log=True))
    searched = (axes, {"validation.accuracy": {"r": 0.75, "alpha": 0.25}})

    def __init__(self, store: Store) -> None:
        self.store = store

    def __call__(self, made: Sequence[Made], name: str = "made", **keywords: Any) -> tuple[pd.DataFrame, Any]:
        """Write a sweep as a driver does, and read it."""
        self.write(made, name, **keywords)
        return self.read(name)

    def one(self, arm: str, *, state: str = "complete", **fields: Any) -> Made:
        own = {key: fields.pop(key) for key in ("epochs", "seeds", "name", "change", "also") if key in fields}
        return Made(arm, fields, state, **own)

    def arms(self, **keywords: Any) -> list[Made]:
        return [
            self.one("plain", alpha=1.0, r=0.0, **keywords),
            self.one("paper", alpha=2.0, r=0.01, **keywords),
            self.one("relu", activation="relu", **keywords),
        ]

    def search(self, count: int, **keywords: Any) -> list[Made]:
        """Points of the plane, as a search would have them."""
        drawn = np.random.default_rng(0)
        points = [(float(2 ** drawn.uniform(-1, 3)), float(10 ** drawn.uniform(-5, 0))) for _ in range(count)]
        return [self.one("", alpha=alpha, r=r, **keywords) for alpha, r in points]

    def measured(self, member: MemberConfig, epoch: int) -> dict[str, float]:
        """Numbers that all measurements might have, with a recurrent network's of four steps, at epochs 0 and 3 alone.

        For `also`. They depend on the depth, the seed and the epoch.
        """
        if epoch not in (0, 3):
            return {}
        by = 1 + (member.seed + epoch) / 10
        layers = [place.name for place in places(layers_of(member, 10))]
        values = {"jacobian.largest": by * len(layers), "jacobian.smallest": by / 2 ** len(layers)}
        values |= {"sharpness.largest": by * 10, "sharpness.edge": 2000.0, "sharpness.noise_scale": by * 100}
        values |= {f"layer.step{k}.gradient.hidden.rms": by / 10.0**k for k in range(4)}
        for name in layers:
            for of, exponent in (("gradient", -3 - epoch), ("activation", -1)):
                shares = dict.fromkeys(BINS, 0.0) | {"zero": 0.25, f"e{exponent}": 0.75}
                values |= {f"layer.{name}.histogram.{of}.{which}": share for which, share in shares.items()}
        for depth, name in enumerate(layers[:-1], 1):  # the output has no activation
            of_layer = {"variance": by / depth, "correlation": 1 - by / 2 / depth, "slope": by / 4, "zero": 0.5}
            values |= {f"layer.{name}.signal.{metric}": value for metric, value in of_layer.items()}
        return values

    def by_depth(self, **keywords: Any) -> list[Made]:
        """Two lines over depth, an arm that is a point of one, and a network by itself."""
        fields: dict[str, Any] = {"regime": "deep", "units": 4, "epochs": 1, "seeds": (0, 1, 2)} | keywords
        searched = [self.one("", activation=f, dense=dense, **fields) for f in ("tanh", "relu") for dense in (1, 4, 24)]
        return [self.one("shallow", dense=1, **fields), *searched, self.one("", dense=9, alpha=4.0, **fields)]

    def read(self, name: str = "made") -> tuple[pd.DataFrame, dict[int, Outcome]]:
        return load_wide(name, self.store), outcomes(name, self.store)

    def seen(
        self, name: str = "made", objectives: Sequence[Objective] = (Objective(),), searched: bool = False
    ) -> ChartData:
        """A sweep that was written as the charts see it."""
        with closing(Ledger.create(self.store.ledger_url)) as ledger:
            configurations = {c.number: c for c in ledger.configurations(ledger.sweep(name))}
        axes, importance = self.searched if searched else ((), {})
        records = FigureData(*self.read(name), objectives[0], axes, importance, objectives)
        return ChartData(records, configurations)

    def sweep(self, name: str = "made") -> Sweep:
        with closing(Ledger.create(self.store.ledger_url)) as ledger:
            return ledger.sweep(name)

    def write(self, made: Sequence[Made], name: str = "made", status: str | None = "finished") -> None:
        with closing(Ledger.create(self.store.ledger_url)) as ledger:
            versions = {"python": "3.11.7", "torch": "2.15.0"}
            digests = {"digits": "abc123"}
            sweep = ledger.begin(Sweep(name, f"name: {name}\n", versions=versions, digests=digests, commit="f00ba7"))
            numbers = {written.name or written.arm: number for number, written in enumerate(made)}
            for number, written in enumerate(made):
                members = [MemberConfig(**{"epochs": 4, **written.fields, "seed": seed}) for seed in written.seeds]
                called = written.name or written.arm or f"alpha={members[0].alpha:.4g} r={members[0].r:.4g}"
                again = called.removeprefix(CONFIRM)
                confirms = numbers.get(again, 0) if called != again else None
                fields = {k: v for k, v in vars(members[0]).items() if k != "seed"}
                added = Configuration(number, again, fields, tuple(written.seeds), arm=written.arm, confirms=confirms)
                ledger.add(sweep, [added])
                for epoch in range(written.epochs + 1):
                    records = [_record(written, m, epoch) for m in members]
                    objective = fmean(r.metrics["validation.accuracy"] for r in records)
                    ledger.record(sweep, {number: epoch_of(records, objective)}, [])
                if written.state != "running":
                    values = (0.5,) if written.state == "complete" else None
                    end = replace(added, state=written.state, values=values, reason=written.state, order=number)
                    ledger.record(sweep, {}, [end])
            if status:
                ledger.finish(sweep, status, "done", trained=True)


def _record(written: Made, member: MemberConfig, epoch: int) -> EpochRecord:
    known = layers_of(member, 10)
    layers = [layer.name for layer in known]
    result = {k: written.change(k, epoch, member.seed, _value(k, member, epoch, layers)) for k in names(known)}
    return EpochRecord(member, epoch, "lanes", result | dict(written.also(member, epoch)))


def _value(metric: str, member: MemberConfig, epoch: int, layers: Sequence[str]) -> float:
    """A number that such a metric might have: accuracies rise, gradients fade towards the input."""
    noise = ((member.seed * 7 + epoch * 3 + len(metric)) % 11 - 5) / 250
    near = math.exp(-(math.log10(max(member.r, 1e-6) / 0.01) ** 2) / 4 - math.log2(member.alpha / 2) ** 2 / 8)
    if metric.endswith("accuracy"):
        return min(1.0, max(0.0, 0.1 + 0.6 * near * (1 - math.exp(-epoch / 3)) + noise))
    if metric.endswith("loss"):
        return 2.3 - near * (1 - math.exp(-epoch / 3)) + abs(noise)
    if metric.startswith("layer."):
        depth = len(layers) - layers.index(metric.split(".")[1])
        if metric.endswith((".saturated", ".dead")):
            return 0.0 if depth == 1 else min(1.0, 0.9 / member.alpha + abs(noise))
        return float(10.0 ** (-depth / member.alpha)) * (1 + abs(noise))
    if metric.endswith("vanished"):
        return 0.3
    return 1e-3 * near * (1 + abs(noise)) if "gradient" in metric else 0.1


@pytest.fixture(scope="session")
def maker() -> type[Maker]:
    return Maker


@pytest.fixture
def make(store: Store) -> Maker:
    return Maker(store)
