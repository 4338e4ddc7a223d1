"""Which configurations a figure shows, and how each is called and coloured: the same in every figure of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from tracking.figures.bands import best_searched, own
from tracking.figures.style import BEST_COLOUR, BEST_DASHES, DASHES, PALETTE, NotDrawn
from tracking.results import Outcome
from tracking.tidy import MEMBER

# What a label says; the others as `name = value`.
_PLAIN = {"activation": "{}", "regime": "{}", "penalty": "{} penalty", "scaling": "{} scaling", "alpha": "α = {}"}
_UNSAID = {"engine", "epochs"}


@dataclass(frozen=True)
class Line:
    """One configuration in a figure; `name` is short, `label` says what it is."""

    configuration: int
    name: str
    label: str
    colour: str
    dashes: str


def lines(
    frame: pd.DataFrame,
    outcomes: Mapping[int, Outcome] | None = None,
    objective: tuple[str, str] = ("validation.accuracy", "maximize"),
) -> tuple[Line, ...]:
    """The arms in their order, then the best searched configuration where there is a search. Raises NotDrawn."""
    frame = own(frame, outcomes)
    if not len(frame):
        raise NotDrawn("nothing has been recorded yet")
    firsts = frame.drop_duplicates("configuration").set_index("configuration").sort_index()
    arms = [int(str(number)) for number in firsts.index[firsts["arm"] != ""]]
    best = best_searched(frame, outcomes, *objective)
    shown = arms + ([best] if best is not None else [])
    if not shown:
        raise NotDrawn("there is no arm, and no searched configuration is complete yet")
    differing = _differing(firsts.loc[shown])
    found = []
    for place, number in enumerate(shown):
        fields = firsts.loc[number]
        name = str(fields["arm"]) or "best searched"
        what = ", ".join(filter(None, (said(field, fields[field]) for field in differing)))
        state = outcomes[number].state if outcomes and number in outcomes else "complete"
        colour = BEST_COLOUR if number == best else PALETTE[place % len(PALETTE)]
        dashes = BEST_DASHES if number == best else DASHES[place % len(DASHES)]
        label = (f"{name}: {what}" if what else name) + ("" if state == "complete" else f" ({state})")
        found.append(Line(number, name, label, colour, dashes))
    return tuple(found)


def said(field: str, value: object) -> str:
    """A field of a member as a label has it: `α = 2`, `relu`, `r = 0.01`; nothing for the paper's own scaling."""
    if (field, value) == ("scaling", "rescaled"):
        return ""
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return _PLAIN.get(field, field.replace("_", " ") + " = {}").format(text)


def symbol(field: str) -> str:
    """The name of a field on an axis."""
    return "α" if field == "alpha" else field.replace("_", " ")


def _differing(firsts: pd.DataFrame) -> list[str]:
    """The fields in which these configurations are not all the same."""
    fields = [field for field in MEMBER if field in firsts and field not in _UNSAID]
    return [field for field in fields if firsts[field].nunique(dropna=False) > 1]
