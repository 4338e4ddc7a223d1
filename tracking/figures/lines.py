"""Which configurations a figure shows, and how each is called and coloured: the same in every figure of a sweep."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from tracking.figures.data import FigureData, last_epoch, within
from tracking.figures.style import BEST_COLOUR, BEST_DASHES, DASHES, PALETTE, NotDrawn
from tracking.tidy import MEMBER, layers_of

# How a label puts a field; the others as `name = value`.
_SHAPES = {"activation": "{}", "regime": "{}", "penalty": "{} penalty", "scaling": "{} scaling", "alpha": "α = {}"}
_LEFT_OUT = {"engine", "epochs"}


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
        """`mean`, `q25`, `q75` by epoch; NaN from where a seed has no finite value: survivors would look too good."""
        by_epoch = within(self.rows[metric]).groupby(self.rows["epoch"])
        table = {"mean": by_epoch.mean(), "q25": by_epoch.quantile(0.25), "q75": by_epoch.quantile(0.75)}
        return pd.DataFrame(table).where(by_epoch.count() == by_epoch.size())

    def layers(self, statistic: str) -> dict[str, str]:
        """The columns of a statistic of its layers, by layer, from the input to the output."""
        columns = {layer: f"layer.{layer}.{statistic}" for layer in layers_of(self.rows.iloc[0])}
        return {layer: column for layer, column in columns.items() if column in self.rows}


def lines(data: FigureData) -> list[Line]:
    """The arms in their order, then the best searched configuration where there is a search. Raises NotDrawn."""
    if not len(data.own):
        raise NotDrawn("nothing has been recorded yet")
    firsts = data.own.drop_duplicates("configuration").set_index("configuration").sort_index()
    best = data.tried.index[-1:].tolist()
    shown = firsts.loc[[*firsts.index[firsts["arm"] != ""], *best]]
    if not len(shown):
        raise NotDrawn("there is no arm, and no searched configuration is complete yet")
    fields = [f for f in MEMBER if f in shown and f not in _LEFT_OUT and shown[f].nunique(dropna=False) > 1]
    chosen = []
    for place, number in enumerate(shown.index.tolist()):
        name = shown["arm"][number] or "best searched"
        what = described({field: shown[field][number] for field in fields})
        state = data.outcomes[number].state
        label = f"{name}{f': {what}' if what else ''}{'' if state == 'complete' else f' ({state})'}"
        colour, dashes = PALETTE[place % len(PALETTE)], DASHES[place % len(DASHES)]
        style = (BEST_COLOUR, BEST_DASHES) if number in best else (colour, dashes)
        chosen.append(Line(data.rows(number), name, label, *style))
    return chosen


def described(fields: dict[str, object]) -> str:
    """Fields of a member as a label has them: `relu, α = 2, r = 0.01`; nothing for the paper's own scaling."""
    parts = []
    for field, value in fields.items():
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        if (field, value) != ("scaling", "rescaled"):
            parts.append(_SHAPES.get(field, field.replace("_", " ") + " = {}").format(text))
    return ", ".join(parts)


def symbol(field: str) -> str:
    """The name of a field on an axis."""
    return "α" if field == "alpha" else field.replace("_", " ")
