"""A line of a figure: a configuration's records, and how it is called and coloured in every figure of a sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tracking.tidy import layers_of

# How a label puts a field; the others as `name = value`.
_SHAPES = {"activation": "{}", "regime": "{}", "penalty": "{} penalty", "scaling": "{} scaling", "alpha": "α = {}"}
LARGEST = float(np.finfo(np.float32).max)


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


def last_epoch(rows: pd.DataFrame) -> pd.DataFrame:
    """The records of each configuration after its last epoch."""
    return rows[rows["epoch"] == rows.groupby("configuration")["epoch"].transform("max")]


def within(values: pd.Series[float]) -> pd.Series[float]:
    """NaN in the place of what the engines' float32 can't hold: infinities, and sizes that would break an axis."""
    return values.astype(np.float64).where(values.abs() <= LARGEST)
