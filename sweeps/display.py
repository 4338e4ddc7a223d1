"""A running sweep on standard error: live bars on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sweeps.driver.driver import Progress as State
from sweeps.targets.target import READY_LINE, RESUME_COMMAND

LINE_SECONDS = 10.0


@contextmanager
def display(name: str, state: Callable[[], State], console: Console | None = None) -> Iterator[None]:
    """Shows `state()` from a thread (of rich's, or its own) while the block runs, and at its end in a line.

    At first it tells whoever has submitted the sweep that it is running.
    """
    if RESUME_COMMAND in os.environ:
        print(READY_LINE, file=sys.stderr, flush=True)
    console = console or Console(stderr=True)
    started = time.monotonic()
    ended = threading.Event()

    def print_line() -> None:
        now = state()
        line = (
            f"{name}: {now.counts.ended}/{now.counts.total} configurations ({ends(now)}), "
            f"{now.epochs}/{now.epochs_in_all} epochs, {best(now)}, {time.monotonic() - started:.0f} s"
        )
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def print_lines() -> None:
        while not ended.wait(LINE_SECONDS):
            print_line()

    with ExitStack() as finally_:
        finally_.callback(print_line)
        if console.is_terminal:
            show = _bars(name, state)
            finally_.enter_context(Live(get_renderable=show, console=console, refresh_per_second=4, transient=True))
        else:
            thread = threading.Thread(target=print_lines, name="display", daemon=True)
            thread.start()
            finally_.callback(thread.join)
            finally_.callback(ended.set)
        yield


def _bars(name: str, state: Callable[[], State]) -> Callable[[], Group]:
    bars = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    configurations, epochs = (bars.add_task(text) for text in ("configurations", "epochs"))

    def show() -> Group:
        now = state()
        bars.update(configurations, completed=now.counts.ended, total=now.counts.total)
        bars.update(epochs, completed=now.epochs, total=max(now.epochs_in_all, 1))
        return Group(f"[bold]{name}[/bold]  {ends(now)}", bars, best(now))

    return show


def ends(state: State) -> str:
    """How many configurations ended how, in words: only what there is."""
    words = ("complete", "pruned", "diverged", "failed", "running")
    counts = {word: getattr(state.counts, word) for word in words}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none yet"


def best(state: State) -> str:
    """The best so far, in words."""
    return f"best {state.best.value:.4g} ({state.best.name})" if state.best else "no best yet"
