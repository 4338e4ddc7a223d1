"""What the pages about sweeps have in common: how their sweeps are run and found, and how their numbers are put."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from sweeps.driver.status import look_at
from tracking.store import Store
from tracking.types import Sweep
from tracking.verdict.tables import GAIN, RATIO, Table, markdown_table, number, rounded, span
from tracking.verdict.types import ClaimVerdict
from trainers.errors import SearchError

MEANS = {"confirmed": "confirmed", "refuted": "**refuted**", "undecided": "undecided"}
POINTS = 100  # of an accuracy


def run(study: str, name: str, settings: Sequence[str], store: Path, seconds: float | None = None) -> bool:
    """Run a study under a name until it is finished; one that is there goes on. Raises typer.Exit if it can't.

    After so many `seconds` it is interrupted, and False is returned: the next call goes on.
    """
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "sweeps.cli", "run", study, "--name", name, "--store", str(store), "--resume"]
    print(f"{name}:", file=sys.stderr, flush=True)
    with subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL) as process:
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
            return False
        except KeyboardInterrupt:  # the terminal has told the sweep too: it leaves a store that can be resumed
            status = process.wait()
    if status:
        raise typer.Exit(status)
    return True


def finished(name: str, store: Store) -> bool:
    """Whether a sweep is in the store and has ended."""
    try:
        return bool(look_at(name, store)["state"] == "finished")
    except SearchError:
        return False


def answer(claim: ClaimVerdict | None) -> str:
    """The answer to a claim and, where there is one, the difference in the metric itself."""
    if claim is None:
        return "not run"
    size = gain(claim)
    return MEANS[claim.answer] + (f" ({size})" if size else "")


def gain(claim: ClaimVerdict, *, interval: bool = False) -> str:
    """The difference in the metric itself, as `+15.9 points` or `2.3 times`; with its interval, if asked for."""
    c = claim.comparison
    if c is None or c.gain is None:
        return ""
    if c.scale == "log":
        between = f" ({span(c.low, c.high, RATIO)})" if interval and c.low is not None else ""
        return f"{number(c.gain, RATIO)} times{between}"
    accuracy = claim.metric.endswith(".accuracy") and claim.goal == "maximize"
    # The question is about the metric itself: what is lower has a minus, whether that is good or not.
    factor = (POINTS if accuracy else 1) * (1 if claim.goal == "maximize" else -1)
    size, *ends = (factor * rounded(value, c) for value in (c.gain, c.low, c.high) if value is not None)
    between = f" ({span(min(ends), max(ends), GAIN)})" if interval and ends else ""
    return f"{number(size, GAIN)}{' points' * accuracy}{between}"


def minutes(sweep: Sweep) -> str:
    """How long a sweep took."""
    return "" if sweep.ended is None else f"{(sweep.ended - sweep.begun) / 60_000:.0f}"


def seeds(every: Sequence[int]) -> str:
    """How many, and which where they are neighbours."""
    neighbours = list(every) == list(range(every[0], every[0] + len(every)))
    return f"{len(every)} ({every[0]} to {every[-1]})" if neighbours else str(len(every))


def versions(sweep: Sweep) -> str:
    """What a sweep was run with."""
    return ", ".join(f"{name} {version}" for name, version in sweep.versions.items())


def note(folder: Path, name: str) -> str:
    """What people have to say about it, where they have."""
    file = folder / f"{name}.md"
    return file.read_text().strip() if file.is_file() else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown."""
    return markdown_table(Table("", tuple(head), tuple(map(tuple, rows))))
