"""What the gradients of the compared configurations show: their numbers, and what these suggest as a cause.

Means over seeds; saturation and dead units over the layers that have an activation. No more is said than what was
recorded: where it suggests a cause, the sentence says which number does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from tracking.tidy import MEMBER
from tracking.verdict.tables import SHARE, P, code, number
from tracking.verdict.types import Moment

REMEDIES = ("alpha", "scaling", "r", "penalty", "penalized")
FEW = 0.01  # fewer saturated units than this leave rescaling nothing to act on
MOST = 0.5
LOSSES = ("train.loss", "validation.loss")
MOMENT = ("gradient.data.rms", "gradient.data.vanished", "saturated", "dead")
APART = 2.0  # times: gradients of less different size are called about the same


class _Course:
    """One configuration from its first epoch to its last, or to the last one before a seed diverged.

    Of a network that is no longer finite no unit is counted as saturated, and no coordinate as vanished. `means` are
    over the seeds, a row per epoch; `saturated` and `dead` in it over the layers.
    """

    def __init__(self, rows: pd.DataFrame, name: str) -> None:
        broken = rows["epoch"][~np.isfinite(rows.filter(items=LOSSES).to_numpy()).all(axis=1)]
        whole = rows[~rows["epoch"].isin(broken)]
        rows = whole if len(whole) else rows
        # The output has no activation: it would only dilute the mean.
        layers = {
            what: rows.filter(regex=rf"^layer\..*\.{what}$").drop(columns=f"layer.output.{what}", errors="ignore")
            for what in ("saturated", "dead")
        }
        # A ratio that some seeds do not have (0 by 0) has no mean.
        self.means = rows.select_dtypes("number").groupby(rows["epoch"]).mean(skipna=False)
        self.means = self.means.assign(**{what: self.means[of.columns].mean(axis=1) for what, of in layers.items()})
        self.most_saturated = float(layers["saturated"].max().max())
        self.name, self.fields = name, rows.iloc[0]

    def start(self, metric: str) -> float:
        """A mean at the first epoch; NaN for what was not recorded."""
        return float(self.means[metric].iloc[0]) if metric in self.means else math.nan

    def moments(self) -> list[Moment]:
        """At the first and the last epoch, once where these are one."""
        ends = self.means.reindex(columns=MOMENT).iloc[sorted({0, len(self.means) - 1})]
        return [
            Moment(self.name, int(str(epoch)), *(x if math.isfinite(x) else None for x in row))
            for epoch, row in zip(ends.index, ends.to_numpy().tolist(), strict=True)
        ]


def causes(
    frame: pd.DataFrame, pairs: Iterable[tuple[int, int]], names: Mapping[int, str]
) -> tuple[tuple[Moment, ...], tuple[str, ...]]:
    """The numbers of each configuration, and sentences on each pair: the plainer one first.

    A pair without records is left out.
    """
    moments: dict[int, list[Moment]] = {}
    sentences: dict[str, None] = {}
    for pair in pairs:
        rows = [frame[frame["configuration"] == number] for number in pair]
        if not all(map(len, rows)):
            continue
        plain, changed = (_Course(own, names[number]) for own, number in zip(rows, pair, strict=True))
        moments |= {pair[0]: plain.moments(), pair[1]: changed.moments()}
        sentences |= dict.fromkeys(_sentences(plain, changed))
    return tuple(m for own in moments.values() for m in own), tuple(sentences)


def _sentences(plain: _Course, changed: _Course) -> Iterator[str]:
    a, b, name = plain.fields, changed.fields, code(plain.name)
    if plain.start("gradient.data.vanished") >= MOST:
        yield f"Most of the gradient of {name} had vanished before the first step."
    depth = [c.start("gradient.first_to_last") for c in (plain, changed)]
    if all(d > 0 for d in depth) and min(depth) < 1 / APART:
        yield (
            f"Before the first step, the first layer's gradient was {number(depth[0], P)} times the last layer's in "
            f"{name} and {number(depth[1], P)} times in {code(changed.name)}."
        )
    # The rest only where the paper's remedies are all that tells them apart.
    others = [field for field in MEMBER if field in a and field not in REMEDIES]
    if not a[others].equals(b[others]):
        return
    if a["alpha"] == 1 and b["alpha"] != 1 and b["scaling"] == "rescaled":
        most, start = plain.most_saturated, plain.start("saturated")
        if most == 0:
            yield f"No unit of {name} was ever saturated, so rescaling by alpha had nothing to act on."
        elif most < FEW:
            yield (
                f"At most {number(most, '.2%')} of the units in any layer of {name} were saturated, so rescaling by "
                "alpha had almost nothing to act on."
            )
        elif start >= MOST:
            yield (
                f"Most units of {name} ({number(start, SHARE)}) were saturated at the start; with rescaling by alpha, "
                f"{number(changed.start('saturated'), SHARE)} were."
            )
    data, total = changed.start("gradient.data.rms"), changed.start("gradient.total.rms")
    if b["r"] and not a["r"] and data > 0 and total / data >= APART:
        times = number(total / data, P)
        yield f"Before the first step, the penalty made the gradient of {code(changed.name)} {times} times as large."
