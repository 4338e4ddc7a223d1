"""What a chart is, and what charts see of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from tracking.charts.style import plain
from tracking.figures.data import FigureData, symbol, text_of, within
from tracking.results import per_seed
from tracking.types import Configuration
from tracking.verdict.tables import count, number
from trainers.objectives import Objective

Trace = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One chart for plotly.js: its traces and layout as JSON would have them, with a caption and alternative text.

    Whatever a user has written is escaped in them by `plain`: plotly.js reads some markup.
    """

    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    caption: str
    alt: str
    title: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of chart. `draw` raises NotDrawn where it does not apply.

    With `each_objective` there is one for each of a sweep's objectives, else one for the first.
    """

    title: str
    draw: Callable[[ChartData], Chart]
    each_objective: bool = False


@dataclass(frozen=True)
class ChartData:
    """A sweep as the charts see it: as the figures do, with its configurations by number."""

    records: FigureData
    configurations: Mapping[int, Configuration]

    @cached_property
    def values(self) -> pd.Series[float]:
        """The objective so far of each of the search's own configurations but copies: the mean over its seeds.

        Of a pruned one that is after its last epoch. NaN where a seed has no finite value.
        """
        own, objective = self.records.own, self.records.objective
        if not len(own) or objective.metric not in own:
            return pd.Series(dtype=float)
        values = within(per_seed(own, objective)).groupby("configuration").mean(skipna=False)
        return values.reindex(self.records.firsts.index)

    @property
    def objectives(self) -> Sequence[Objective]:
        """All of the sweep's."""
        return self.records.objectives or (self.records.objective,)

    def state(self, configuration: int) -> str:
        """complete | pruned | diverged | failed | running."""
        return self.records.outcomes[configuration].state

    def label(self, configuration: int) -> str:
        """Which it is, in one line: `7: alpha=2.1 r=0.01 (pruned)`, escaped."""
        state = self.state(configuration)
        return plain(
            f"{configuration}: {self.records.outcomes[configuration].name}{f' ({state})' * (state != 'complete')}"
        )

    @cached_property
    def told(self) -> dict[int, str]:
        """All there is to say of each configuration: which it is, what was searched, its results; escaped."""
        values = {o.name: replace(self, records=replace(self.records, objective=o)).values for o in self.objectives}
        texts = {}
        firsts = self.records.firsts[[axis.name for axis in self.records.axes]]
        for configuration, first in zip(firsts.index.tolist(), firsts.to_dict("records"), strict=True):
            searched = [axis.name for axis in self.records.axes if configuration not in axis.idle]
            parts = [f"{symbol(name)} = {text_of(first[name])}" for name in searched]
            parts += [f"{name} = {number(of.get(configuration))}" for name, of in values.items()]
            row = self.configurations[configuration]
            parts.append(f"{self.state(configuration)} after epoch {row.epoch}, {count(len(row.seeds), 'seed')}")
            texts[configuration] = "<br>".join([f"<b>{self.label(configuration)}</b>", *map(plain, parts)])
        return texts


def pointed(configurations: Iterable[int]) -> Trace:
    """What of a trace makes the pointer tell of these configurations, a point each.

    Their texts are in many charts and once in the page, whose script puts them in the place of `told`.
    """
    return {"told": list(configurations), "hovertemplate": "%{text}<extra></extra>"}
