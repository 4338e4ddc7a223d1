"""A sweep as the figures see it: its records, its objective, what was searched, and a line for each that is shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tracking.best import best, copies, dominators
from tracking.figures.style import BEST, DASHES, PALETTE, NotDrawn
from tracking.results import Outcome, last_epoch, per_seed
from tracking.tidy import LAYER, MEMBER, STEP, layers_of
from trainers.objectives import Objective
from trainers.regimes import NETWORK, REGIMES

NOT_SHOWN = ("engine", "epochs", "measure", "measure_at")  # fields of a member that are no part of a label
OF_DEPTH = ("blocks", "convolutions", "dense")  # fields that add layers
# How a label puts a field; the others as `name = value`.
_SHAPES = {"alpha": "α = {}", "learn_alpha": "α learned by {}", "initialization": "{}"}
_SHAPES |= {"depthwise_fans": "{}'s depthwise fans", "recurrent_initialization": "{} recurrent weights"}
_SHAPES |= dict.fromkeys(("activation", "regime", "optimizer", "convolution", "cell"), "{}")
_SHAPES |= {name: f"{{}} {name}" for name in ("penalty", "scaling", "normalization", "loss", "schedule", "input")}
# What a label needs not say.
_USUAL: Mapping[str, tuple[object, ...]] = {
    **dict.fromkeys(("normalization", "learn_alpha", "cell"), ("none",)),
    **dict.fromkeys(("slope", "bias_scale"), (None,)),
    "scaling": ("rescaled",),
    "scaled_gates": (False,),
    "depthwise_fans": (None, "own"),
    "recurrent_initialization": ("same",),
    "forget_bias": (None, 1.0),
    "holdout": (None, 0.1),
}
BEFORE, AFTER = "before the first step", "after the last epoch"
LARGEST = float(np.finfo(np.float32).max)
QUARTILES = np.array([0.25, 0.5, 0.75])
MEDIANS = "Lines are medians over the seeds, shaded areas the interquartile range"  # of every figure, for its caption


@dataclass(frozen=True)
class Line:
    """One configuration in a figure, by its records; `name` is short, `label` says what it is."""

    rows: pd.DataFrame
    name: str
    label: str
    colour: str
    dashes: str

    @property
    def start(self) -> pd.DataFrame:
        """Its records before the first step."""
        return self.rows[self.rows["epoch"] == 0]

    @property
    def end(self) -> pd.DataFrame:
        """Its records after its last epoch."""
        return last_epoch(self.rows)

    def band(self, metric: str) -> pd.DataFrame:
        """`over_seeds` by epoch."""
        return over_seeds(self.rows[metric], self.rows["epoch"])

    def layers(self, statistic: str) -> dict[str, str]:
        """The columns of a statistic of its layers, by layer, from the input to the output."""
        columns = {layer: f"{LAYER}{layer}.{statistic}" for layer in layers_of(self.rows.iloc[0])}
        return {layer: column for layer, column in columns.items() if column in self.rows}

    def by_depth(self, statistic: str) -> dict[int, str]:
        """The same columns by how deep the layer is; 1 is the first."""
        return dict(enumerate(self.layers(statistic).values(), 1))

    def by_lag(self, statistic: str) -> dict[int, str]:
        """The columns of a statistic of a recurrent network's steps, by how many steps before the last they are."""
        begin, end = f"{LAYER}{STEP}", f".{statistic}"
        names = [c for c in map(str, self.rows) if c.startswith(begin)]
        lags = {c: c.removeprefix(begin).removesuffix(end) for c in names}
        columns = {int(lag): c for c, lag in lags.items() if lag.isdecimal() and self.rows[c].notna().any()}
        return dict(sorted(columns.items()))

    def quartiles(self, columns: Mapping[int, str], epoch: int) -> pd.DataFrame:
        """`over_seeds` at an epoch: a row per column, by its key."""
        return of_columns(self.rows[self.rows["epoch"] == epoch], columns)

    def course(self, metric: str) -> pd.DataFrame:
        """`over_seeds` by epoch, of those at which the metric was measured."""
        known = self.rows["epoch"][self.rows[metric].notna()]
        return self.band(metric).loc[sorted(known.unique())]

    def measured(self, columns: Collection[str]) -> list[int]:
        """The first and the last epoch at which one of these was measured, or the only one, or none."""
        known = self.rows["epoch"][self.rows.filter(items=[*columns]).notna().any(axis=1)]
        return sorted({int(known.min()), int(known.max())}) if len(known) else []


def over_seeds(values: pd.Series[float], by: Any) -> pd.DataFrame:
    """A line and its band: a row per group with its median, `q50`, and its quartiles, `q25` and `q75`.

    So no line leaves its band, on any scale: the mean of sizes may, where one seed's is far above the others'. All are
    NaN where a seed has no finite value: survivors would look too good.
    """
    groups = within(values).groupby(by)
    quartiles = groups.quantile(QUARTILES).unstack().set_axis(["q25", "q50", "q75"], axis=1)
    return quartiles.where(groups.count() == groups.size(), axis=0)


def of_columns(rows: pd.DataFrame, columns: Mapping[int, str]) -> pd.DataFrame:
    """`over_seeds` of each of these columns, by its key; a seed has one of the rows."""
    values = rows[[*columns.values()]].set_axis([*columns], axis=1).melt(var_name="key")
    return over_seeds(values["value"], values["key"].to_numpy(dtype=np.int64))


def moments(lines: Sequence[Line], columns: Callable[[Line], Collection[str]]) -> dict[str, list[tuple[Line, int]]]:
    """When -> the lines of which something was measured then, each with the epoch: the first time and the last."""
    ends = [(line, epochs) for line in lines if (epochs := line.measured(columns(line)))]
    if not ends:
        return {}
    first = BEFORE if all(epochs[0] == 0 for _, epochs in ends) else "at the first measured epoch"
    when = {first: [(line, epochs[0]) for line, epochs in ends]}
    later = [(line, epochs[1]) for line, epochs in ends if len(epochs) > 1]
    last = AFTER if all(epoch == line.rows["epoch"].max() for line, epoch in later) else "at the last measured epoch"
    return when | ({last: later} if later else {})


@dataclass(frozen=True)
class Depths:
    """Configurations that differ in one field alone, which adds layers, as one line: their numbers by depth."""

    by_depth: Mapping[int, int]
    label: str
    colour: str
    dashes: str


@dataclass(frozen=True)
class Axis:
    """One searched field: from `low` to `high`, on a log scale where `log`, whole where `integer`; or of `choices`.

    `idle` are the configurations in which it has no effect: alpha beside relu, or where its condition does not hold.
    Plain data that the service fills in from the sweep's spec: this room knows no search spaces.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str | float, ...] = ()
    idle: frozenset[int] = frozenset()
    integer: bool = False


@dataclass(frozen=True)
class FigureData:
    """The tidy table, how its configurations stand, the objective, and what was searched.

    `importance` is field -> share (they sum to 1) by the objective's name, empty if unknown; `objectives` are all of
    the sweep's.
    """

    frame: pd.DataFrame
    outcomes: Mapping[int, Outcome]
    objective: Objective = Objective()
    axes: Sequence[Axis] = ()
    importance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    objectives: Sequence[Objective] = ()

    @cached_property
    def own(self) -> pd.DataFrame:
        """The records without those of the confirming stage, which are of other seeds."""
        return self.frame[~self.frame["configuration"].isin([o.number for o in self.outcomes.values() if o.confirms])]

    @cached_property
    def firsts(self) -> pd.DataFrame:
        """The first record of each of these configurations but copies, by number: its fields."""
        firsts = self.own.drop_duplicates("configuration").set_index("configuration").sort_index()
        return firsts.drop(index=[n for n in copies(self.frame, self.outcomes) if n in firsts.index])

    @cached_property
    def ends(self) -> dict[str, str]:
        """`start` and `end` in words; the start alone where nothing is trained."""
        return {"start": BEFORE, "end": AFTER} if (self.frame["epoch"] > 0).any() else {"start": BEFORE}

    def rows(self, configuration: int) -> pd.DataFrame:
        """One configuration's records."""
        return self.frame[self.frame["configuration"] == configuration]

    @cached_property
    def values(self) -> pd.Series[float]:
        """The objective's mean over the seeds by complete configuration, of the confirming stage too.

        Without those of which a seed has no finite value.
        """
        if not len(self.frame) or self.objective.metric not in self.frame:
            return pd.Series(dtype=np.float64)
        complete = [o.number for o in self.outcomes.values() if o.state == "complete"]
        rows = self.frame[self.frame["configuration"].isin(complete)]
        return within(per_seed(rows, self.objective)).groupby("configuration").mean(skipna=False).dropna()

    @cached_property
    def results(self) -> pd.DataFrame:
        """A row per complete configuration, by number: its fields, and `value`; without the confirming stage."""
        frame = self.own
        if not len(frame) or not len(self.values):
            return frame.iloc[:0].assign(value=[])
        return self.firsts.assign(value=self.values).dropna(subset="value")

    @cached_property
    def again(self) -> dict[int, int]:
        """What was trained again on fresh seeds, and is complete there: the confirmation's number -> its own."""
        numbers = {self.outcomes[n].name: n for n in reversed(self.firsts.index.tolist())}
        of = {n: numbers.get(o.confirms or "") for n, o in self.outcomes.items() if n in self.values.index}
        return {n: own for n, own in of.items() if own is not None}

    def best(self, numbers: Sequence[int]) -> int | None:
        """The best of these results, as the verdict has it: on fresh seeds where some were trained on them."""
        again = {n: own for n, own in self.again.items() if own in numbers}
        values = {n: float(self.values[n]) for n in (*numbers, *again)}
        first = best(values, again, self.objective.direction)
        return None if first is None else again.get(first, first)

    def pareto(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(all, front): the means under each objective, by number; the front is that of the verdict.

        All are on the search's own seeds. The front is on fresh seeds where some were trained on them.
        """
        means = pd.DataFrame({o.name: replace(self, objective=o).values for o in self.objectives}).dropna()
        own = means[means.index.isin(self.firsts.index)]
        deciding = means[means.index.isin(list(self.again))].rename(index=self.again) if self.again else own
        dominated = dominators(deciding.to_numpy().tolist(), [o.direction for o in self.objectives])
        return own, deciding[[not by for by in dominated]]

    @property
    def which_best(self) -> str:
        """For a caption: which configuration is called the best, where that is not what the figure shows."""
        return " The best is the one that is best on fresh seeds." if self.again else ""

    @cached_property
    def tried(self) -> pd.DataFrame:
        """The results of the searched configurations, the best last."""
        results = self.results[self.results["arm"] == ""].iloc[::-1]  # of equal ones the first is the best
        results = results.sort_values("value", ascending=self.objective.direction == "maximize", kind="stable")
        first = self.best(results.index.tolist()[::-1])
        return results.loc[[*(n for n in results.index if n != first), *([] if first is None else [first])]]

    @cached_property
    def lines(self) -> list[Line]:
        """The arms in their order, then the best searched configuration where there is a search. Raises NotDrawn."""
        if not len(self.own):
            raise NotDrawn("nothing has been recorded yet")
        firsts, best = self.firsts, self.tried.index[-1:].tolist()
        shown = firsts.loc[[*firsts.index[firsts["arm"] != ""], *best]]
        if not len(shown):
            raise NotDrawn("there is no arm, and no searched configuration is complete yet")
        fields = [f for f in MEMBER if f in shown and f not in NOT_SHOWN and shown[f].nunique(dropna=False) > 1]
        chosen = []
        for place, number in enumerate(shown.index.tolist()):
            name = shown["arm"][number] or "best searched"
            what = described(_own({field: shown[field][number] for field in fields}))
            state = self.outcomes[number].state
            label = f"{name}{f': {what}' if what else ''}{'' if state == 'complete' else f' ({state})'}"
            style = BEST if number in best else (PALETTE[place % len(PALETTE)], DASHES[place % len(DASHES)])
            chosen.append(Line(self.rows(number), name, label, *style))
        return chosen

    @cached_property
    def by_depth(self) -> pd.DataFrame:
        """Each complete configuration's first record, and its network's `depth`. Raises NotDrawn where all agree."""
        complete = [o.number for o in self.outcomes.values() if o.state == "complete"]
        firsts = self.firsts[self.firsts.index.isin(complete)]
        # What was searched may be what an arm is already.
        firsts = firsts.drop_duplicates([f for f in MEMBER if f in firsts and f not in NOT_SHOWN])
        members = firsts[["regime", *(f for f in NETWORK if f in firsts)]].to_dict("records")
        firsts = firsts.assign(depth=[len(layers_of(member)) for member in members])
        if firsts["depth"].nunique() < 2:
            raise NotDrawn("no two complete configurations differ in depth")
        return firsts

    @cached_property
    def depths(self) -> list[Depths]:
        """Of these the lines of two depths or more each."""
        firsts = self.by_depth
        # A regime is but a name for some of the other fields.
        fields = [f for f in MEMBER if f in firsts and f not in (*NOT_SHOWN, "regime")]
        groups = [
            group
            for of_depth in OF_DEPTH
            for _, group in firsts.groupby([f for f in fields if f != of_depth], dropna=False, sort=False)
            if group["depth"].nunique() > 1
        ]
        if not groups:
            return []
        together = pd.concat([group.iloc[:1] for group in groups])
        differ = [f for f in fields if together[f].nunique(dropna=False) > 1]
        differ = [f for f in differ if all(group[f].nunique(dropna=False) == 1 for group in groups)]
        chosen = []
        for place, group in enumerate(groups):
            by_depth = dict(sorted(zip(group["depth"].tolist(), group.index.tolist(), strict=True)))
            label = described({field: group[field].iloc[0] for field in differ}) or "all"
            style = PALETTE[place % len(PALETTE)], DASHES[place % len(DASHES)]
            chosen.append(Depths(by_depth, label, *style))
        return chosen


def described(fields: Mapping[str, object]) -> str:
    """Fields of a member as a label has them: `relu, α = 2, r = 0.01`; nothing for the paper's own scaling."""
    parts = []
    for name, value in fields.items():
        value = None if value != value else value
        if value in _USUAL.get(name, ()):
            continue
        what = name.replace("_", " ")
        if isinstance(value, bool | np.bool_):
            parts.append(what if value else f"no {what}")
        else:
            parts.append(_SHAPES.get(name, what + " = {}").format(text_of(value)))
    return ", ".join(parts)


def text_of(value: object) -> str:
    """A value of a field as it would be written: `true`, not `True`."""
    if value is None or value != value:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower() if value in (True, False) else str(value)


def _own(fields: dict[str, object]) -> dict[str, object]:
    """Without what the regime stands for, where that is among the fields: its name says it."""
    regime = REGIMES.get(str(fields.get("regime")))
    named = (*NETWORK, "initialization", "init_scale") if regime else ()
    return {name: value for name, value in fields.items() if name not in named or value != getattr(regime, name)}


def symbol(field: str) -> str:
    """The name of a field on an axis."""
    return "α" if field == "alpha" else field.replace("_", " ")


def within(values: pd.Series[float]) -> pd.Series[float]:
    """NaN in the place of what the engines' float32 can't hold: infinities, and sizes that would break an axis."""
    return values.astype(np.float64).where(values.abs() <= LARGEST)
