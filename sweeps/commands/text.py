"""Tables and durations as plain text, as wide as they need to be and with colour only on a terminal."""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

GAP = 2  # between columns
LEAST_CUT = 8  # so much of a text is left
WIDE = 100_000  # without a terminal: lines in a file may be as long as they are


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """A table as text, as wide as the terminal or as it needs to be; see `grid` for its columns.

    Cells that are neither folded nor cut lose no character: on a terminal too narrow for them its own lines break.
    """
    from rich.console import Console, ConsoleDimensions
    from rich.measure import Measurement

    terminal = sys.stdout.isatty()
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=terminal, width=None if terminal else WIDE, highlight=False, markup=False
    )
    drawn = grid(columns, rows, console.width, title)
    least = Measurement.get(console, console.options.update(width=WIDE), drawn).minimum
    console.size = ConsoleDimensions(max(console.width, least), 25)  # whatever TERM says
    console.print(drawn)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]], width: int, title: str = "") -> Table:
    """A table to be shown so many characters wide.

    A column whose name ends in `#` holds numbers and is set to the right, in `~` words that may be folded, in `…` text
    that is cut where there is no room for it.
    """
    from rich.cells import cell_len
    from rich.console import JustifyMethod
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(f"{value:.4g}" if isinstance(value, float) else str(value)) for value in row] for row in rows]
    names = [column.rstrip("#~…") for column in columns]
    widths = [
        cell_len(name) if column.endswith("~") else max(cell_len(name), *(row[i].cell_len for row in cells), 0)
        for i, (name, column) in enumerate(zip(names, columns, strict=True))
    ]
    for i in (i for i, column in enumerate(columns) if column.endswith("…")):
        room = max(LEAST_CUT, width - sum(widths) + widths[i] - GAP * (len(columns) - 1))
        for row in cells:
            row[i].truncate(room, overflow="ellipsis")
        widths[i] = min(widths[i], room)
    drawn = Table(
        title=title or None, title_justify="left", box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold"
    )
    for name, column, least in zip(names, columns, widths, strict=True):
        justify: JustifyMethod = "right" if column.endswith("#") else "left"
        folded = column.endswith("~")
        drawn.add_column(name, justify=justify, min_width=least, no_wrap=not folded, overflow="fold")
    for row in cells:
        drawn.add_row(*row)
    return drawn


def facts(lines: Iterable[tuple[str, object]]) -> str:
    """One line per fact: its name, and what it is; on a terminal it goes on below itself."""
    written = [f"{name:<15} {value}" for name, value in lines]
    if sys.stdout.isatty():
        width, below = shutil.get_terminal_size().columns, " " * 16
        wrap = partial(textwrap.fill, width=width, subsequent_indent=below, break_on_hyphens=False)
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
