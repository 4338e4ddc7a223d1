"""Which configurations a figure shows, and how each is called and coloured: the same in every figure of a sweep."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from tracking.figures.data import FigureData
from tracking.figures.style import BEST_COLOUR, BEST_DASHES, DASHES, PALETTE, NotDrawn
from tracking.tidy import MEMBER

# How a label puts a field; the others as `name = value`.
_SHAPES = {"activation": "{}", "regime": "{}", "penalty": "{} penalty", "scaling": "{} scaling", "alpha": "α = {}"}
_LEFT_OUT = {"engine", "epochs"}


@dataclass(frozen=True)
class Line:
    """One configuration in a figure; `name` is short, `label` says what it is."""

    configuration: int
    name: str
    label: str
    colour: str
    dashes: str


def lines(data: FigureData) -> tuple[Line, ...]:
    """The arms in their order, then the best searched configuration where there is a search. Raises NotDrawn."""
    if not len(data.own):
        raise NotDrawn("nothing has been recorded yet")
    firsts = data.own.drop_duplicates("configuration").set_index("configuration").sort_index()
    shown = [int(str(number)) for number in firsts.index[firsts["arm"] != ""]]
    best = int(str(data.tried.index[-1])) if len(data.tried) else None
    shown += [best] if best is not None else []
    if not shown:
        raise NotDrawn("there is no arm, and no searched configuration is complete yet")
    differing = _differing(firsts.loc[shown])
    chosen = []
    for place, number in enumerate(shown):
        fields = firsts.loc[number]
        name = str(fields["arm"]) or "best searched"
        what = described({field: fields[field] for field in differing})
        state = data.outcomes[number].state
        colour = BEST_COLOUR if number == best else PALETTE[place % len(PALETTE)]
        dashes = BEST_DASHES if number == best else DASHES[place % len(DASHES)]
        label = (f"{name}: {what}" if what else name) + ("" if state == "complete" else f" ({state})")
        chosen.append(Line(number, name, label, colour, dashes))
    return tuple(chosen)


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


def _differing(firsts: pd.DataFrame) -> list[str]:
    """The fields in which these configurations are not all the same."""
    fields = [field for field in MEMBER if field in firsts and field not in _LEFT_OUT]
    return [field for field in fields if firsts[field].nunique(dropna=False) > 1]
