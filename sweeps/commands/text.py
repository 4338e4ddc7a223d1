"""Tables and durations as plain text, as wide as they need to be and with colour only on a terminal."""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Iterable, Sequence

WIDE = 100_000  # without a terminal: lines in a file may be as long as they are
LEAST = 20  # columns of a terminal
_JOINED = re.compile(r"(?<=[^\W\d][-._])(?=[^\W\d])")


def terminal_width() -> int:
    """That of the terminal, or what COLUMNS says; 80 where there is neither."""
    return max(LEAST, shutil.get_terminal_size().columns)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", width: int | None = None) -> str:
    """A table; a column whose name ends in `#` holds numbers and is set to the right, in `~` words that may be folded.

    It fits `width` (None: the terminal's): first those columns are folded, at spaces and between the parts of a name,
    then headings, then the other cells at spaces. No cell is cut: on a terminal too narrow its own lines break.
    """
    from rich.console import Console, JustifyMethod
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    width = width or (terminal_width() if terminal else WIDE)
    heads = [column.rstrip("#~") for column in columns]
    cells = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row] for row in rows]
    widths = _widths(columns, heads, cells, width - 2 * (len(columns) - 1))
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
    """One line per fact: its name, and what it is."""
    return "\n".join(f"{name:<15} {value}" for name, value in lines)


def duration(seconds: float) -> str:
    """Seconds in round words: `about 40 s`, `about 3 min`, `about 2.5 h`."""
    if seconds < 90:
        return f"about {max(1, round(seconds)):d} s" if seconds < 10 else f"about {round(seconds, -1):.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    if seconds < 2 * 86400:
        return f"about {seconds / 3600:.1f} h"
    return f"about {seconds / 86400:.1f} days"
