"""What every output of a verdict is made of: sections of sentences and tables, whose cells are text already.

The terminal, Markdown and the HTML page render these few types. Numbers become text here, with the digits that mean
something, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tracking.verdict.types import ClaimVerdict, Comparison

# How numbers are shown.
VALUE, SPREAD, GAIN, RATIO, P, SHARE, PERCENT = ".4g", ".2g", "+.3g", ".3g", ".2g", ".0%", ".1%"
_ALIKE = 1e-9  # of the largest gain: an end of an interval that is nearer to 0 is 0
MOST = 8000  # characters that MLflow keeps of a description


@dataclass(frozen=True)
class Table:
    """A title, headings, and rows with one text per heading.

    A heading that ends in `#` is that of numbers, set to the right; in `~`, of words that may be broken.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def condensed(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]], words: Mapping[str, str]) -> Table:
    """A table without those columns of `words` that have the same value in all rows: the title says it, in its words.

    >>> condensed("Means", ("arm", "seeds#"), [("plain", "8"), ("paper", "8")], {"seeds#": "seeds: {}"})
    Table("Means; seeds: 8", ("arm",), (("plain",), ("paper",)))
    """
    values = {column: {row[i] for row in rows} for i, column in enumerate(columns) if column in words}
    same = {column: own.pop() for column, own in values.items() if len(own) == 1 and own != {""}}
    kept = [i for i, column in enumerate(columns) if column not in same]
    lead = "; ".join([title, *(words[column].format(value) for column, value in same.items())])
    return Table(lead, tuple(columns[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows))


@dataclass(frozen=True)
class Section:
    """A part of a verdict: sentences, then tables; the opening one has no title. `claims` are what the first say."""

    title: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    claims: tuple[ClaimVerdict, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The sentences, one per line: a list where the section has a title."""
        return [f"{'- ' * bool(self.title)}{sentence}" for sentence in self.sentences]


def number(value: float | None, shape: str = VALUE) -> str:
    """A number as text; nothing for None. Powers of ten only where they are needed: 113, not 1.1e+02."""
    if value is None or not math.isfinite(value):
        return "" if value is None else "not finite"
    text = format(value, shape)
    return format(value, f"{'+' * shape.startswith('+')}.0f") if "e+" in text and abs(value) < 1e6 else text


def span(low: float | None, high: float | None, shape: str = VALUE) -> str:
    """`low to high`; nothing where one is None."""
    return "" if low is None or high is None else f"{number(low, shape)} to {number(high, shape)}"


def times(ratio: float | None) -> str:
    """`2.3x`; nothing for None."""
    return "" if ratio is None else f"{number(ratio, RATIO)}x"


def ends(c: Comparison) -> str:
    """The interval of a comparison: `+0.01 to +0.03`, or of ratios `1.8x to 3x`; nothing where there is none."""
    if c.low is None or c.high is None:
        return ""
    if c.scale == "log":
        return f"{times(c.low)} to {times(c.high)}"
    return span(rounded(c.low, c), rounded(c.high, c), GAIN)


def rounded(value: float, c: Comparison) -> float:
    """A gain or an end of its interval: 0 where it is so but for the last bits of the gains."""
    return 0.0 if abs(value) <= _ALIKE * max(map(abs, c.gains)) else value


def estimate(c: Comparison) -> str:
    """The gain of a comparison: `+0.02`, or as a ratio `2.3x`."""
    return times(c.gain) if c.scale == "log" else number(c.gain, GAIN)


def code(name: str) -> str:
    """A name as it stands in a sentence."""
    return f"`{name}`"


def count(amount: int, word: str) -> str:
    """`1 seed`, `8 seeds`."""
    return f"{amount} {word}" if amount == 1 else f"{amount} {word}s"


def markdown(sections: Iterable[Section]) -> str:
    """Sections one below the other as Markdown; what would be beyond MLflow's limit is left out, from the end."""
    parts = []
    for section in sections:
        parts += [f"**{section.title}**" * bool(section.title), "\n".join(section.lines)]
        parts += [text for table in section.tables for text in (f"{table.title}:", markdown_table(table))]
    text = "\n\n".join(filter(None, parts))
    return text if len(text) <= MOST else text[: text.rindex("\n", 0, MOST)]


def markdown_table(table: Table) -> str:
    """A table as Markdown, without its title."""
    heads = [column.rstrip("#~") for column in table.columns]
    rules = ["---:" if column.endswith("#") else "---" for column in table.columns]
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rules, *rows))
