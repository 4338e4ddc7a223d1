"""A sweep to look at while it runs: live on a terminal, a plain line every ten seconds elsewhere.

`display` shows one that this process runs, on standard error; `watch` one that runs anywhere, whose status it is given.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from sweeps.commands.text import duration, lasting, table
from sweeps.driver.progress import Progress as State
from sweeps.driver.progress import Standing
from sweeps.targets.target import READY_LINE, RESUME_COMMAND, UNDER_WAY, SweepStatus

T = TypeVar("T")

LINE_SECONDS = 10.0
WATCH_SECONDS = 1.0
SHARE, WATCH_SHARE = 0.02, 0.1  # of the time for looking, in the sweep's process and beside it: it is not slowed
BLOCKS = "▁▂▃▄▅▆▇█"
CELLS = 16  # of a sparkline
ROWS = 20  # configurations where there is no terminal to fill
ABOVE = 9  # lines of a terminal that are no rows: title, bars, best, the head of the table, the rest, the prompt


@contextmanager
def display(name: str, state: Callable[[], State], console: Console | None = None) -> Iterator[None]:
    """Shows `state()` from a thread (of rich's, or its own) while the block runs, and at its end in a line.

    At first it tells whoever has submitted the sweep that it is running.
    """
    if RESUME_COMMAND in os.environ:
        print(READY_LINE, file=sys.stderr, flush=True)
    # Soft: what is logged meanwhile keeps its lines, as a link must.
    console = console or Console(stderr=True, soft_wrap=True)
    view, seen, ended = View(name), seldom(state), threading.Event()

    def print_line() -> None:
        console.print(view.line(state()), markup=False, highlight=False, soft_wrap=True)

    def print_lines() -> None:
        view.pace.left(state())
        while not ended.wait(LINE_SECONDS):
            print_line()

    with ExitStack() as finally_:
        finally_.callback(print_line)
        if console.is_terminal:
            live = Live(
                get_renderable=lambda: view.live(seen(), console), console=console, refresh_per_second=4, transient=True
            )
            finally_.callback(live.stop)
            # At once: until it has been drawn, what other threads log would be written into the midst of it.
            live.start(refresh=True)
        else:
            thread = threading.Thread(target=print_lines, name="display", daemon=True)
            thread.start()
            finally_.callback(thread.join)
            finally_.callback(ended.set)
        yield


def watch(name: str, look: Callable[[], SweepStatus], console: Console) -> SweepStatus:
    """Show a sweep again and again until it is no longer under way; its last status."""
    view, began = View(name), float("-inf")
    with ExitStack() as finally_:
        live = None
        if console.is_terminal:
            live = finally_.enter_context(Live(console=console, auto_refresh=False, transient=True))
        while True:
            asked = time.monotonic()
            status = look()
            took = time.monotonic() - asked
            if status.state not in UNDER_WAY:
                return status
            state = status.recorded["progress"] if status.recorded else None
            if live:
                live.update(view.live(state, console, status) if state else _plain(status), refresh=True)
            elif state:
                view.pace.left(state)
            if not live and asked - began >= LINE_SECONDS:
                began = asked
                line = view.line(state, status.recorded["seconds"]) if state and status.recorded else _plain(status)
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            time.sleep(max(WATCH_SECONDS, took / WATCH_SHARE))


def _plain(status: SweepStatus) -> Text:
    """A sweep of which only its target is heard."""
    parts = [f"{status.name}: {status.state}", status.detail, status.last_line]
    return Text("\n".join(filter(None, parts)))


class View:
    """One sweep on a terminal, or in a line; it remembers how fast the sweep is."""

    def __init__(self, name: str) -> None:
        self.pace = Pace()
        self._name, self._began = name, time.monotonic()
        self._bars = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._tasks = [self._bars.add_task(text) for text in ("configurations", "epochs")]

    def line(self, now: State, seconds: float | None = None) -> str:
        """How far it is, the best so far, what is left, and the seconds that it has run: else those since the start."""
        left = self.pace.left(now)
        parts = [
            f"{self._name}: {now.counts.ended}/{now.counts.total} configurations ({ends(now)})",
            *([f"{now.epochs}/{now.epochs_in_all} epochs"] if now.epochs_in_all else []),
            f"best {best(now)}",
            *([f"{duration(left)} left"] if left is not None else []),
            f"{self._passed if seconds is None else seconds:.0f} s",
        ]
        return ", ".join(parts)

    def live(self, now: State, console: Console, status: SweepStatus | None = None) -> Group:
        """The same as lines, and a table of as many configurations as the terminal has room for."""
        both = (now.counts.ended, now.counts.total), (now.epochs, now.epochs_in_all)
        for task, (done, total) in zip(self._tasks, both, strict=True):
            self._bars.update(task, completed=done, total=max(total, 1), visible=total > 0)
        left = self.pace.left(now)
        passed = lasting(status.recorded["seconds"] if status and status.recorded else self._passed)
        lines = [
            Text.assemble((self._name, "bold"), f"  {status.state}, " if status else "  ", ends(now)),
            Text(", ".join([passed, *([f"{duration(left)} left"] if left is not None else [])])),
            Text(f"best {best(now)}{f', {now.objective}' if now.best else ''}"),
        ]
        for line in lines[:2]:
            line.no_wrap, line.overflow = True, "ellipsis"
        lines[2].no_wrap, lines[2].overflow = False, "fold"
        rows = max(1, console.height - ABOVE)
        return Group(lines[0], self._bars, *lines[1:], *configurations(now, rows, console))

    @property
    def _passed(self) -> float:
        return time.monotonic() - self._began


class Pace:
    """How fast records come: those since the first that came while somebody looked."""

    def __init__(self) -> None:
        self._seen: int | None = None
        self._first = self._last = (0.0, 0)

    def left(self, now: State) -> float | None:
        """How many seconds the rest takes at that pace; None where that is not known, or nothing is left."""
        at = time.monotonic()
        if self._seen not in (None, now.records):
            self._last = at, now.records
            self._first = self._first if self._first[0] else self._last
        self._seen = now.records
        (began, before), (ended, records) = self._first, self._last
        if records <= before or not now.records_left:
            return None
        return max(0.0, now.records_left * (ended - began) / (records - before) - (at - ended))


def seldom(look: Callable[[], T]) -> Callable[[], T]:
    """The same, but what was seen last where to look again so soon would take more than SHARE of the time."""
    kept: list[T] = []
    due = 0.0

    def seen() -> T:
        nonlocal due
        if (began := time.monotonic()) >= due:
            kept[:] = [look()]
            due = began + (time.monotonic() - began) / SHARE
        return kept[0]

    return seen


def configurations(now: State, rows: int, console: Console) -> list[Text]:
    """The table of the first `rows` configurations, and how many there are besides."""
    if not now.configurations:
        return []
    drawn = table(COLUMNS, table_rows(now.configurations[:rows], console.encoding), width=console.width)
    return [Text.from_ansi(text, no_wrap=True) for text in (drawn, others(now, rows)) if text]


COLUMNS = ("no.#", "configuration…", "state", "epoch#", "value#", "by epoch")


def table_rows(standings: Sequence[Standing], encoding: str = "utf-8") -> list[list[object]]:
    """The rows of COLUMNS."""
    return [
        [
            s.number,
            f"confirm {s.name}" if s.phase == "confirm" else s.name,
            s.state,
            f"{max(0, s.epoch)}/{s.epochs}",
            "" if s.value is None else s.value,
            sparkline(s.course, s.epochs) if encoding.lower().startswith("utf") else "",
        ]
        for s in standings
    ]


def others(now: State, rows: int) -> str:
    """How many configurations are not among the first `rows`; "" where none is."""
    more = max(0, len(now.configurations) - rows) + now.besides
    return f"… and {more} more" if more > 0 else ""


def sparkline(course: Sequence[float | None], epochs: int) -> str:
    """The objective by epoch, from its smallest value to its largest; as long as it has come of so many epochs."""
    whole = max(epochs + 1, len(course))
    cells = min(CELLS, whole)
    # Each shows the last epoch of its part.
    ends = [min(len(course), math.ceil((i + 1) * whole / cells)) for i in range(math.ceil(len(course) * cells / whole))]
    shown = [course[end - 1] for end in ends]
    finite = [value for value in shown if value is not None]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    step = (len(BLOCKS) - 1) / (high - low or 1.0)
    return "".join(" " if value is None else BLOCKS[round((value - low) * step)] for value in shown)


def ends(state: State) -> str:
    """How many configurations ended how, in words: only what there is."""
    words = ("complete", "pruned", "diverged", "failed", "running")
    counts = {word: getattr(state.counts, word) for word in words}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none yet"


def best(state: State) -> str:
    """The best so far, in words."""
    if state.best is None or state.best.value is None:
        return "none yet"
    where = [state.best.name, *(["on fresh seeds"] if state.best.phase == "confirm" else [])]
    where += [f"{state.best.state}, epoch {state.best.epoch}"] if state.best.state in ("running", "stopped") else []
    return f"{state.best.value:.4g} ({', '.join(where)})"
