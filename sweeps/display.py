"""A running sweep on standard error: live bars on a terminal, a plain line every ten seconds elsewhere.

with Display(name, lambda: books.progress):
    run(books, ...)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sweeps.driver.driver import Progress as State

LINE_SECONDS = 10.0


class Display:
    """Shows `state()` from a thread (of rich's, or its own) while the block runs."""

    def __init__(self, name: str, state: Callable[[], State], console: Console | None = None) -> None:
        self._name = name
        self._state = state
        self._console = console or Console(stderr=True)
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._lines, name="display", daemon=True)
        self._bars = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._tasks = [self._bars.add_task(text) for text in ("configurations", "epochs")]
        self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Display:
        (self._live if self._console.is_terminal else self._thread).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._live.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._print_line()

    def _picture(self) -> Table:
        state = self._state()
        self._bars.update(self._tasks[0], completed=state.counts.ended, total=state.counts.total)
        self._bars.update(self._tasks[1], completed=state.epochs, total=max(state.epochs_in_all, 1))
        table = Table.grid()
        table.add_row(f"[bold]{self._name}[/bold]  {ends(state)}")
        table.add_row(self._bars)
        table.add_row(best(state))
        return table

    def _lines(self) -> None:
        while not self._stop.wait(LINE_SECONDS):
            self._print_line()

    def _print_line(self) -> None:
        state = self._state()
        seconds = time.monotonic() - self._started
        line = (
            f"{self._name}: {state.counts.ended}/{state.counts.total} configurations ({ends(state)}), "
            f"{state.epochs}/{state.epochs_in_all} epochs, {best(state)}, {seconds:.0f} s"
        )
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def ends(state: State) -> str:
    """How many configurations ended how, in words: only what there is."""
    words = ("complete", "pruned", "diverged", "failed", "running")
    parts = [f"{getattr(state.counts, word)} {word}" for word in words if getattr(state.counts, word)]
    return ", ".join(parts) or "none yet"


def best(state: State) -> str:
    """The best so far, in words."""
    return f"best {state.best.value:.4g} ({state.best.name})" if state.best else "no best yet"
