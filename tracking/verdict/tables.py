"""What every output of a verdict is made of: sections of sentences and tables, whose cells are text already.

The terminal, Markdown and the HTML page render these few types. Numbers become text here, with the digits that mean
something, and nowhere else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

NUMBER, WORDS = "number", "words"
VALUE, SPREAD, GAIN, P, SHARE, PERCENT = ".4g", ".2g", "+.3g", ".2g", ".0%", ".1%"  # how numbers are shown


@dataclass(frozen=True)
class Column:
    """A heading; `kind` is NUMBER (set to the right), WORDS (may be broken) or nothing."""

    name: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A title, columns, and rows with one text per column."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Statement:
    """A sentence or more; on a claim, with its `name`, its `answer`, and as `lead` the words in which it was stated."""

    text: str
    name: str = ""
    answer: str = ""
    lead: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a verdict: statements, then tables; the opening one has no title."""

    title: str
    statements: tuple[Statement, ...]
    tables: tuple[Table, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The statements, one per line: a list where the section has a title."""
        return [f"{'- ' * bool(self.title)}{s.lead}{': ' * bool(s.lead)}{s.text}" for s in self.statements]


def columns(*names: str) -> tuple[Column, ...]:
    """Columns by name: a trailing `#` means numbers, a trailing `~` words that may be broken."""
    kinds = {"#": NUMBER, "~": WORDS}
    return tuple(Column(name.rstrip("#~"), kinds.get(name[-1:], "")) for name in names)


def number(value: float | None, shape: str = VALUE) -> str:
    """A number as text; nothing for None. Powers of ten only where they are needed: 113, not 1.1e+02."""
    if value is None or not math.isfinite(value):
        return "" if value is None else "not finite"
    text = format(value, shape)
    return format(value, f"{'+' * shape.startswith('+')}.0f") if "e+" in text and abs(value) < 1e6 else text


def span(low: float | None, high: float | None, shape: str = VALUE) -> str:
    """`low to high`; nothing where one is None."""
    return "" if low is None or high is None else f"{number(low, shape)} to {number(high, shape)}"


def code(name: str) -> str:
    """A name as it stands in a sentence."""
    return f"`{name}`"


def count(amount: int, word: str) -> str:
    """`1 seed`, `8 seeds`."""
    return f"{amount} {word}" if amount == 1 else f"{amount} {word}s"


def ordinal(place: int) -> str:
    """`1st`, `2nd`, `11th`."""
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def plain(sections: tuple[Section, ...]) -> str:
    """The sentences alone."""
    parts = [section for section in sections if section.statements]
    return "\n".join(line for part in parts for line in (part.title, *part.lines) if line)
