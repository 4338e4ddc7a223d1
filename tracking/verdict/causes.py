"""What the gradients of the compared configurations show: their numbers, and what these suggest as a cause.

Means over seeds; saturation and dead units over the layers that have an activation. No more is said than what was
recorded: where it suggests a cause, the sentence says which number does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from tracking.verdict.tables import SHARE, P, code, number
from tracking.verdict.types import Moment

FEW = 0.01  # fewer saturated units than this leave rescaling nothing to act on
MOST = 0.5
LOSSES = ("train.loss", "validation.loss")
APART = 2.0  # times: gradients of less different size are called about the same


class _Course:
    """One configuration from its first epoch to its last, or to the last one before a seed diverged.

    Of a network that is no longer finite no unit is counted as saturated, and no coordinate as vanished.
    """

    def __init__(self, rows: pd.DataFrame, name: str) -> None:
        broken = ~np.isfinite(rows[[loss for loss in LOSSES if loss in rows]].to_numpy()).all(axis=1)
        whole = rows[~rows["epoch"].isin(rows["epoch"].to_numpy()[broken])]
        rows = whole if len(whole) else rows
        numbers = rows.select_dtypes("number")
        # A ratio that some seeds do not have (0 by 0) has no mean.
        self.means = numbers.groupby(rows["epoch"]).mean(skipna=False)
        self.largest = numbers.max()
        self.name = name
        self.fields = rows.iloc[0]
        self.epochs = int(self.means.index.min()), int(self.means.index.max())

    def at(self, metric: str, epoch: int | None = None) -> float:
        """A mean at an epoch, the first where none is given; of a layer's statistic over the layers. NaN without it."""
        chosen = self.layers(metric) if metric in ("saturated", "dead") else [m for m in (metric,) if m in self.means]
        row = self.epochs[0] if epoch is None else epoch
        return float(self.means.loc[self.means.index == row, chosen].mean(axis=1).iloc[0]) if chosen else math.nan

    def layers(self, statistic: str) -> list[str]:
        """A statistic's columns. The output has no activation: it would only dilute the mean."""
        own = [c for c in self.means.columns if c.startswith("layer.") and c.endswith(f".{statistic}")]
        return [c for c in own if c != f"layer.output.{statistic}"]

    def most_of_a_layer(self, statistic: str) -> float:
        """The most of any layer, epoch and seed."""
        return float(self.largest[self.layers(statistic)].max())

    def moments(self) -> list[Moment]:
        """At the first and the last epoch, once where these are one."""
        metrics = ("gradient.data.rms", "gradient.data.vanished", "saturated", "dead")
        table = {epoch: [self.at(metric, epoch) for metric in metrics] for epoch in self.epochs}
        return [Moment(self.name, e, *(x if math.isfinite(x) else None for x in row)) for e, row in table.items()]


def causes(
    frame: pd.DataFrame, pairs: Iterable[tuple[tuple[int, str], tuple[int, str]]]
) -> tuple[tuple[Moment, ...], tuple[str, ...]]:
    """The numbers of each configuration, and sentences on each pair: (number, name) of the plainer one first.

    A pair without records is left out.
    """
    moments: dict[int, list[Moment]] = {}
    sentences: dict[str, None] = {}
    for pair in pairs:
        rows = [frame[frame["configuration"] == number] for number, _ in pair]
        if not all(map(len, rows)):
            continue
        plain, changed = (_Course(own, name) for own, (_, name) in zip(rows, pair, strict=True))
        moments |= {number: c.moments() for (number, _), c in zip(pair, (plain, changed), strict=True)}
        sentences |= dict.fromkeys(
            [*_vanishing(plain, changed), *_rescaling(plain, changed), *_penalty(plain, changed)]
        )
    return tuple(m for own in moments.values() for m in own), tuple(sentences)


def _vanishing(plain: _Course, changed: _Course) -> list[str]:
    sentences = []
    if plain.at("gradient.data.vanished") >= MOST:
        sentences.append(f"Most of the gradient of {code(plain.name)} had vanished before the first step.")
    depth = [c.at("gradient.first_to_last") for c in (plain, changed)]
    if all(d > 0 for d in depth) and min(depth) < 1 / APART:
        sentences.append(
            f"Before the first step, the first layer's gradient was {number(depth[0], P)} times the last layer's in "
            f"{code(plain.name)} and {number(depth[1], P)} times in {code(changed.name)}."
        )
    return sentences


def _rescaling(plain: _Course, changed: _Course) -> list[str]:
    a, b = plain.fields, changed.fields
    if a["alpha"] != 1 or b["alpha"] == 1 or b["scaling"] != "rescaled" or not _alike(plain, changed):
        return []
    most, start, name = plain.most_of_a_layer("saturated"), plain.at("saturated"), code(plain.name)
    if most == 0:
        return [f"No unit of {name} was ever saturated, so rescaling by alpha had nothing to act on."]
    if most < FEW:
        return [
            f"At most {number(most, '.2%')} of the units in any layer of {name} were saturated, so rescaling by alpha "
            "had almost nothing to act on."
        ]
    if start >= MOST:
        return [
            f"Most units of {name} ({number(start, SHARE)}) were saturated at the start; with rescaling by alpha, "
            f"{number(changed.at('saturated'), SHARE)} were."
        ]
    return []


def _penalty(plain: _Course, changed: _Course) -> list[str]:
    if plain.fields["r"] or not changed.fields["r"] or not _alike(plain, changed):
        return []
    data, total = changed.at("gradient.data.rms"), changed.at("gradient.total.rms")
    if not (data > 0 and total / data >= APART):
        return []
    times = number(total / data, P)
    return [f"Before the first step, the penalty made the gradient of {code(changed.name)} {times} times as large."]


def _alike(plain: _Course, changed: _Course) -> bool:
    """Whether a remedy is what tells them apart, not another activation or other initial values."""
    return all(plain.fields[name] == changed.fields[name] for name in ("activation", "initialization", "init_scale"))
