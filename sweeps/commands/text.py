"""Tables and durations as plain text, as wide as they need to be and with colour only on a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence

WIDE = 100_000  # without a terminal: lines in a file may be as long as they are


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """A table; a column whose name ends in `#` holds numbers and is set to the right, in `~` words that may be folded.

    The other cells lose no character: on a terminal too narrow for them its own lines break.
    """
    from rich.cells import cell_len
    from rich.console import Console, ConsoleDimensions, JustifyMethod
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=terminal, width=None if terminal else WIDE, highlight=False, markup=False
    )
    cells = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row] for row in rows]
    grid = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        name, folded = column.rstrip("#~"), column.endswith("~")
        least = max(map(cell_len, (name, *(row[i] for row in cells if not folded))))
        justify: JustifyMethod = "right" if column.endswith("#") else "left"
        grid.add_column(name, justify=justify, min_width=least, no_wrap=not folded, overflow="fold")
    for row in cells:
        grid.add_row(*map(Text, row))
    least = Measurement.get(console, console.options.update(width=WIDE), grid).minimum
    console.size = ConsoleDimensions(max(console.width, least), 25)  # whatever TERM says
    console.print(grid)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


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
