"""What a running sweep shows on a terminal, and elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from search_spaces.search import Counts
from sweeps import display
from sweeps.driver.driver import Best, Progress

STATE = Progress(Counts(62, 20, 3, 1, 0, 16), epochs=400, epochs_in_all=1800, best=Best("paper", 0.88123))


def shown(terminal: bool) -> str:
    file = io.StringIO()
    with display.display("alpha-r", lambda: STATE, Console(file=file, force_terminal=terminal, width=100)):
        pass
    return file.getvalue()


def test_a_line_elsewhere() -> None:
    assert shown(terminal=False) == (
        "alpha-r: 24/62 configurations (20 complete, 3 pruned, 1 diverged, 16 running), "
        "400/1800 epochs, best 0.8812 (paper), 0 s\n"
    )


def test_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "LINE_SECONDS", 0.001)
    file = io.StringIO()
    with display.display("alpha-r", lambda: STATE, Console(file=file, force_terminal=False, width=100)):
        while file.getvalue().count("\n") < 2:
            pass
    assert len(set(file.getvalue().splitlines())) == 1


def test_bars_on_a_terminal_and_the_line_at_the_end() -> None:
    text = shown(terminal=True)
    assert "24/62" in text
    assert "best 0.8812 (paper)" in text
    assert "alpha-r: 24/62 configurations" in text.splitlines()[-1]


def test_nothing_yet() -> None:
    nothing = Progress(Counts(62, 0, 0, 0, 0, 0), 0, 1800, None)
    assert (display.ends(nothing), display.best(nothing)) == ("none yet", "no best yet")
