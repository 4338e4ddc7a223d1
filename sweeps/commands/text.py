"""Tables and durations as plain text, as wide as they need to be and with colour only on a terminal."""

from __future__ import annotations

import io
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from functools import partial

LEAST_CUT = 8  # so much of a text that is cut is left
WIDE = 100_000  # without a terminal: lines in a file may be as long as they are
LEAST = 20  # columns of a terminal
_JOINED = re.compile(r"(?<=[^\W\d][-._])(?=[^\W\d])")


def terminal_width() -> int:
    """That of the terminal, or what COLUMNS says; 80 where there is neither."""
    return max(LEAST, shutil.get_terminal_size().columns)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", width: int | None = None) -> str:
    """A table; a column whose name ends in `#` holds numbers and is set to the right, in `~` words that may be folded,
    in `…` text that is cut where there is no room for it.

    It fits `width` (None: the terminal's): first those columns are folded, at spaces and between the parts of a name,
    then headings, then the other cells at spaces. No other cell is cut: on a terminal too narrow its own lines break.
    """
    from rich.console import Console, JustifyMethod
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    width = width or (terminal_width() if terminal else WIDE)
    heads = [column.rstrip("#~…") for column in columns]
    cells = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row] for row in rows]
    room = width - 2 * (len(columns) - 1)
    for i in (i for i, column in enumerate(columns) if column.endswith("…")):
        _cut(i, heads, cells, room)
    widths = _widths(columns, heads, cells, room)
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=WIDE, height=25, highlight=False, markup=False)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column, head, of in zip(columns, heads, widths, strict=True):
        justify: JustifyMethod = "right" if column.endswith("#") else "left"
        grid.add_column(Text(_folded(head, of, names=True)), justify=justify, width=of)
    for row in cells:
        of_row = zip(row, widths, columns, strict=True)
        grid.add_row(*(Text(_folded(cell, of, names=column.endswith("~"))) for cell, of, column in of_row))
    if title:
        # Above the grid: a title of rich's is no wider than the columns.
        console.print(Text(_folded(title, width), style="italic"))
    console.print(grid)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def _cut(column: int, heads: Sequence[str], cells: Sequence[list[str]], room: int) -> None:
    """Shorten the cells of a column to the room that the others leave it."""
    from rich.cells import cell_len
    from rich.text import Text

    needs = [max(map(cell_len, of)) for of in zip(heads, *cells, strict=True)]
    for row in cells:
        text = Text(row[column])
        text.truncate(max(LEAST_CUT, room - sum(needs) + needs[column]), overflow="ellipsis")
        row[column] = text.plain


def _widths(columns: Sequence[str], heads: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """The columns' widths, in cells of the terminal: what they need, or where that is too much, what fits."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, of)) for of in zip(heads, *cells, strict=True)]
    for words, whole in ((True, False), (False, True), (False, False)):
        least = {}
        for i in (i for i, column in enumerate(columns) if column.endswith("~") == words):
            parts = [[row[i]] if whole else _parts(row[i], words) for row in cells]
            least[i] = max(cell_len(part) for some in (_parts(heads[i], True), *parts) for part in some)
        while sum(widths) > room and (wider := [i for i, of in least.items() if widths[i] > of]):
            widths[max(wider, key=widths.__getitem__)] -= 1
    return widths


def _parts(text: str, names: bool) -> list[str]:
    """What no line is broken within: words, or with `names` the parts that hyphens, dots and underscores join."""
    return [part for word in text.split(" ") for part in (_JOINED.split(word) if names else [word])]


def _folded(text: str, width: int, names: bool = False) -> str:
    """In lines, broken at spaces, and within a name only where that is longer than a line."""
    from rich.cells import cell_len

    lines = [""]
    for word in text.split(" "):
        for place, part in enumerate(_parts(word, names) if cell_len(word) > width else [word]):
            longer = f"{lines[-1]}{' ' * (place == 0 and lines[-1] != '')}{part}"
            lines[-1:] = [longer] if cell_len(longer) <= width or not lines[-1] else [lines[-1], part]
    return "\n".join(lines)


def facts(lines: Iterable[tuple[str, object]]) -> str:
    """One line per fact: its name, and what it is; on a terminal it goes on below itself."""
    written = [f"{name:<15} {value}" for name, value in lines]
    if sys.stdout.isatty():
        wrap = partial(textwrap.fill, width=terminal_width(), subsequent_indent=" " * 16, break_on_hyphens=False)
        # A command or an address is there to be copied.
        written = [wrap(line, break_long_words=False) for line in written]
    return "\n".join(written)


def duration(seconds: float) -> str:
    """Seconds in round words: `about 40 s`, `about 3 min`, `about 2.5 h`."""
    if 10 <= seconds < 90:
        seconds = round(seconds, -1)
    return f"about {lasting(max(1.0, seconds))}"


def lasting(seconds: float) -> str:
    """Seconds in the unit that fits: `42 s`, `3 min`, `2.5 h`, `1.2 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
