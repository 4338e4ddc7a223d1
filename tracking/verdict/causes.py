"""What the gradients of two configurations show beside each other, as sentences with the numbers in them.

Means over seeds; saturation and dead units over the layers that have an activation. No more is said than what was
recorded: where it suggests a cause, the sentence says which number does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

FEW = 0.01  # fewer saturated units than this leave rescaling nothing to act on
MOST = 0.5
LOSSES = ("train.loss", "validation.loss")
APART = 2.0  # times: gradients of less different size are called about the same


@dataclass(frozen=True)
class _Moment:
    epoch: int
    rms: float
    vanished: float
    saturated: float
    dead: float


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
        self.first, self.last = self._moment(int(self.means.index.min())), self._moment(int(self.means.index.max()))

    def of_layers(self, statistic: str) -> pd.DataFrame:
        return self.means[self._layers(statistic)]

    def most_of_a_layer(self, statistic: str) -> float:
        """The most of any layer, epoch and seed."""
        return float(self.largest[self._layers(statistic)].max())

    def _layers(self, statistic: str) -> list[str]:
        # The output has no activation: it would only dilute the mean.
        own = [c for c in self.means.columns if c.startswith("layer.") and c.endswith(f".{statistic}")]
        return [c for c in own if c != f"layer.output.{statistic}"]

    def at(self, metric: str, epoch: int) -> float:
        return float(self.means[metric].to_dict()[epoch]) if metric in self.means else float("nan")

    def at_start(self, metric: str) -> float:
        return self.at(metric, self.first.epoch)

    def _moment(self, epoch: int) -> _Moment:
        return _Moment(
            epoch=epoch,
            rms=self.at("gradient.data.rms", epoch),
            vanished=self.at("gradient.data.vanished", epoch),
            saturated=float(self.of_layers("saturated").mean(axis=1).to_dict()[epoch]),
            dead=float(self.of_layers("dead").mean(axis=1).to_dict()[epoch]),
        )


def causes(frame: pd.DataFrame, other: int, one: int, names: tuple[str, str]) -> tuple[str, ...]:
    """Sentences on the configurations `other` and `one`, called `names` in this order; none without their records."""
    rows = [frame[frame["configuration"] == number] for number in (other, one)]
    if any(not len(found) for found in rows):
        return ()
    a, b = (_Course(found, name) for found, name in zip(rows, names, strict=True))
    said = [_beside(a.first, b.first, a, b)]
    if a.last.epoch > 0 and b.last.epoch > 0:
        said.append(_beside(a.last, b.last, a, b))
    return (*said, *_vanishing(a, b), *_rescaling(a, b), *_penalty(a, b))


def _beside(of_a: _Moment, of_b: _Moment, a: _Course, b: _Course) -> str:
    when = f"epoch {of_a.epoch}" if of_a.epoch == of_b.epoch else f"epochs {of_a.epoch} and {of_b.epoch}"
    return (
        f"At {when}, {a.name} and {b.name}: rms of the data gradient {of_a.rms:.2g} and {of_b.rms:.2g}; vanished "
        f"coordinates {of_a.vanished:.0%} and {of_b.vanished:.0%}; saturated units {of_a.saturated:.0%} and "
        f"{of_b.saturated:.0%}; dead units {of_a.dead:.0%} and {of_b.dead:.0%}."
    )


def _vanishing(a: _Course, b: _Course) -> list[str]:
    said = []
    if a.first.vanished >= MOST:
        said.append(f"Most of {a.name}'s gradient had vanished before the first step.")
    depth = a.at_start("gradient.first_to_last"), b.at_start("gradient.first_to_last")
    if all(d > 0 for d in depth) and min(depth) < 1 / APART:
        said.append(
            f"Before the first step the first layer's gradient was {depth[0]:.2g} of the last layer's in {a.name}, "
            f"{depth[1]:.2g} in {b.name}."
        )
    return said


def _rescaling(a: _Course, b: _Course) -> list[str]:
    if a.fields["alpha"] != 1 or b.fields["alpha"] == 1 or b.fields["scaling"] != "rescaled" or not _alike(a, b):
        return []
    most = a.most_of_a_layer("saturated")
    if most == 0:
        return [f"No unit of {a.name} was ever saturated, so that rescaling by alpha had nothing to act on."]
    if most < FEW:
        return [
            f"Never more than {most:.2%} of {a.name}'s units in a layer were saturated, so that rescaling by alpha had "
            "next to nothing to act on."
        ]
    if a.first.saturated >= MOST:
        return [
            f"Most units of {a.name} were saturated at the start ({a.first.saturated:.0%}); with rescaling by alpha "
            f"{b.first.saturated:.0%} were."
        ]
    return []


def _alike(a: _Course, b: _Course) -> bool:
    """Whether a remedy is what tells them apart, not another activation or other initial values."""
    return all(a.fields[name] == b.fields[name] for name in ("activation", "initialization", "init_scale"))


def _penalty(a: _Course, b: _Course) -> list[str]:
    if a.fields["r"] or not b.fields["r"] or not _alike(a, b):
        return []
    said = []
    data, total = b.at_start("gradient.data.rms"), b.at_start("gradient.total.rms")
    if data > 0 and total / data >= APART:
        said.append(
            f"Before the first step the penalty made {b.name}'s gradient {total / data:.2g} times that of the data."
        )
    if a.first.saturated >= FEW and a.last.epoch > 0 and b.last.epoch > 0:
        said.append(
            "From the first epoch to the last, saturated units went from "
            f"{a.first.saturated:.0%} to {a.last.saturated:.0%} in {a.name} and "
            f"from {b.first.saturated:.0%} to {b.last.saturated:.0%} in {b.name}."
        )
    return said
