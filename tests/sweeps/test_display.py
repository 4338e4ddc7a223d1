"""What a running sweep shows on a terminal, and elsewhere; tests/end_to_end/test_look.py has a real one."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import Counts
from sweeps import display
from sweeps.driver.progress import SHOWN, Progress, Standing, progress_of
from sweeps.targets.target import SweepStatus

BEST = Standing(1, "paper", "search", "running", 12, 30, 0.88123, (0.1, 0.5, 0.88123))
STATE = Progress(
    Counts(62, 20, 3, 1, 0, 16),
    epochs=400,
    epochs_in_all=1800,
    records=2000,
    records_left=7000,
    objective="validation.accuracy",
    best=BEST,
    configurations=tuple(
        replace(BEST, number=n, name=f"alpha=2.{n} r=0.01 activation=softsign dense=3") for n in range(40)
    ),
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time is what is in the list."""
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    return now


def shown(terminal: bool) -> str:
    file = io.StringIO()
    with display.display("alpha-r", lambda: STATE, Console(file=file, force_terminal=terminal, width=100)):
        pass
    return file.getvalue()


def test_a_line_elsewhere() -> None:
    assert shown(terminal=False) == (
        "alpha-r: 24/62 configurations (20 complete, 3 pruned, 1 diverged, 16 running), "
        "400/1800 epochs, best 0.8812 (paper, running, epoch 12), 0 s\n"
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
    assert "best 0.8812 (paper, running, epoch 12), validation.accuracy" in text
    assert "alpha-r: 24/62 configurations" in text.splitlines()[-1]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (80, 60), (120, 24)])
def test_the_table_has_as_many_rows_as_the_terminal_and_the_rest_is_counted(columns: int, rows: int) -> None:
    console = Console(file=io.StringIO(), width=columns, height=rows, record=True)
    console.print(display.View("alpha-r").live(STATE, console))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert len(lines) <= rows and max(map(len, lines)) <= columns
    listed = [line for line in lines if line.endswith("  ▁█")]
    assert len(listed) == min(40, rows - display.ABOVE)
    assert lines[-1] == (f"… and {40 - len(listed)} more" if len(listed) < 40 else listed[-1])
    assert all(("…" in line) == (columns == 80) for line in listed)


def test_nothing_yet() -> None:
    nothing = Progress(Counts(62, 0, 0, 0, 0, 0), 0, 1800, 0, 9000, "validation.accuracy", None, ())
    assert (display.ends(nothing), display.best(nothing)) == ("none yet", "none yet")
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(display.View("new").live(nothing, console))
    assert "best none yet" in console.export_text()


def test_what_is_left_is_reckoned_from_what_came_while_somebody_looked(clock: list[float]) -> None:
    pace = display.Pace()
    state = replace(STATE, records=1000, records_left=500)  # of a former driver

    def later(seconds: float, records: int) -> float | None:
        nonlocal state
        clock[0] += seconds
        state = replace(state, records=state.records + records, records_left=state.records_left - records)
        return pace.left(state)

    assert later(0, 0) is None
    assert later(50, 10) is None  # what came before somebody looked is in these
    assert later(1, 0) is None
    assert later(9, 10) == 480.0  # one a second
    assert later(5, 0) == 475.0  # it passes
    assert later(5, 20) == pytest.approx(460 * 20 / 30)
    assert later(10, 460) is None  # nothing is left


@pytest.mark.parametrize(
    ("course", "epochs", "line"),
    [
        ((), 30, ""),
        ((0.5,), 30, "▁"),
        ((0.0, 1.0), 1, "▁█"),
        ((0.0, 0.5, 1.0), 3, "▁▅█"),
        ((0.0, None, 1.0), 2, "▁ █"),
        ((0.3, 0.3, 0.3), 9, "▁▁▁"),
        (tuple(map(float, range(8))), 7, "▁▂▃▄▅▆▇█"),
        (tuple(map(float, range(51))), 100, "▁▂▃▃▄▅▆▇█"),
        (tuple(map(float, range(1001))), 1000, "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██"),
        (tuple(map(float, range(40))), 20, "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██"),  # extended
    ],
)
def test_a_sparkline_is_as_long_as_the_course_has_come(course: Any, epochs: int, line: str) -> None:
    drawn = display.sparkline(course, epochs)
    assert len(drawn) == len(line) and drawn[:1] == line[:1] and drawn[-1:] == line[-1:]
    if len(course) <= display.CELLS:
        assert drawn == line


def test_a_large_sweep_is_looked_at_seldom(clock: list[float]) -> None:
    looks = []

    def look() -> int:
        looks.append(clock[0])
        clock[0] += 0.01
        return len(looks)

    seen = display.seldom(look)
    for _ in range(100):
        seen()
        clock[0] += 0.25
    assert len(looks) == 50  # every half second: two percent of the time
    assert seen() == 50 or len(looks) == 51


def test_watching_ends_with_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display.time, "sleep", lambda seconds: None)
    states = iter(["starting", "running", "running", "stopped"])
    file = io.StringIO()
    last = display.watch(
        "far", lambda: SweepStatus("far", next(states), "2 of 3 Pods run", last_line="epoch 3"), Console(file=file)
    )
    assert last.state == "stopped"
    assert file.getvalue() == "far: starting\n2 of 3 Pods run\nepoch 3\n"


PLAN = SearchPlan(arms={"plain": {}, "paper": {"r": 0.01}}, configurations=4, epochs=10, confirm=1)


def standing(rows: list[Row], courses: dict[int, list[float]], plan: SearchPlan = PLAN) -> Progress:
    """Progress of rows with these objectives from epoch 0 on, of 2 seeds each, and 5 to confirm."""
    by_epoch = {number: dict(enumerate(course)) for number, course in courses.items()}
    reached = {number: len(course) - 1 for number, course in courses.items()}
    return progress_of(
        plan, "accuracy", (2, 5), rows, reached, lambda numbers: {n: by_epoch.get(n, {}) for n in numbers}
    )


def test_the_best_counts_from_the_first_epoch_on() -> None:
    rows = [Row(0, "plain"), Row(1, "paper", {"r": 0.01})]
    assert standing(rows, {0: [0.9], 1: [0.1]}).best is None  # before the first step
    first = standing(rows, {0: [0.9], 1: [0.1, 0.2]})
    assert first.best is not None and (first.best.name, first.best.value, first.best.state) == ("paper", 0.2, "running")
    assert first.stopped.best is not None and first.stopped.best.state == "stopped"
    rows[0] = replace(rows[0], state="complete", values=(0.4,), order=0)
    ended = standing(rows, {0: [0.9, 0.4], 1: [0.1, 0.2]})
    assert ended.best is not None and (ended.best.number, ended.best.value) == (0, 0.4)
    minimized = standing(rows, {0: [0.9, 0.4], 1: [0.1, 0.2]}, replace(PLAN, goals=("minimize",)))
    assert minimized.best is not None and minimized.best.number == 1


@pytest.mark.parametrize("state", ["pruned", "diverged", "failed"])
def test_what_ended_early_is_not_the_best(state: str) -> None:
    rows = [Row(0, "plain", state=state, values=(0.99,), order=0), Row(1, "paper")]
    best = standing(rows, {0: [0.1, 0.99], 1: [0.1, 0.2]}).best
    assert best is not None and best.number == 1


def test_once_one_is_confirmed_the_best_is_one_of_them() -> None:
    """As in the verdict."""
    rows = [Row(n, state="complete", values=(n / 10,), order=n) for n in range(6)]
    again = Row(6, confirms=5)
    best = standing([*rows, again], {6: [0.1, 0.9]}).best
    assert best is not None and (best.number, best.phase) == (5, "search")
    best = standing([*rows, replace(again, state="complete", values=(0.45,), order=6)], {6: [0.1, 0.45]}).best
    assert best is not None and (best.number, best.phase, best.value) == (6, "confirm", 0.45)


def test_what_is_left_counts_confirmations_and_what_pruning_saves() -> None:
    rows = [Row(0, "plain"), Row(1, "paper")]
    now = standing(rows, {0: [0.1, 0.2], 1: [0.1]})
    assert (now.epochs, now.epochs_in_all) == (1, 9 * 10)
    assert (now.records, now.records_left) == (2 * 3, 2 * (9 + 10) + 4 * 2 * 11 + 3 * 5 * 11)
    assert now.records + now.records_left == 6 * 2 * 11 + 3 * 5 * 11
    pruned = [*rows, *(Row(n, state="pruned", order=n) for n in (2, 3))]
    pruning = replace(PLAN, pruner={"name": "asha"})
    now = standing(pruned, {0: [0.1, 0.2], 1: [0.1], 2: [0.1] * 4, 3: [0.1] * 4}, pruning)
    assert now.records_left == 2 * (9 + 10) + 2 * 2 * 4 + 3 * 5 * 11


def test_the_running_come_first_and_then_what_ended_last() -> None:
    ended = [Row(n, f"arm{n}", state="complete", values=(0.1,), order=10_000 - n) for n in range(3000)]
    now = standing([*ended, Row(3000, "a"), Row(3001, "b")], {3000: [0.5]}, SearchPlan(epochs=10, configurations=3002))
    assert [c.number for c in now.configurations] == [3001, 3000, *range(SHOWN - 2)]
    assert now.configurations[1].course == (0.5,) and now.configurations[0].epoch == -1
    assert (now.configurations[2].value, now.configurations[2].course) == (0.1, ())
