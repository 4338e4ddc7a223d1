"""Tables and durations as plain text, as wide as they need to be and with colour only on a terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.table import Table


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """A table; columns whose name ends in `#` hold numbers and are set to the right."""
    found = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        found.add_column(column.rstrip("#"), justify="right" if column.endswith("#") else "left", no_wrap=True)
    for row in rows:
        found.add_row(*(_cell(value) for value in row))
    return rendered(found)


def rendered(what: RenderableType) -> str:
    """What rich would print, without trailing spaces; wide, so that nothing is cut off in a pipe."""
    terminal = sys.stdout.isatty()
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=terminal, width=None if terminal else 200, highlight=False, markup=False
    )
    console.print(what)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Seconds in words that are no more exact than the number: `about 40 s`, `about 3 min`, `about 2.5 h`."""
    if seconds < 90:
        return f"about {max(1, round(seconds)):d} s" if seconds < 10 else f"about {round(seconds, -1):.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    if seconds < 2 * 86400:
        return f"about {seconds / 3600:.1f} h"
    return f"about {seconds / 86400:.1f} days"
