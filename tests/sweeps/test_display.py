"""What a running sweep shows on a terminal, and elsewhere; tests/end_to_end/test_look.py has a real one."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from search_spaces.plan import SearchPlan
from search_spaces.search import Counts
from sweeps import display
from sweeps.driver.driver import row_of
from sweeps.driver.progress import SHOWN, Progress, Standing, name_of, progress_of
from sweeps.spec.reading import parse
from sweeps.targets.target import SweepStatus
from tracking.types import Configuration

BEST = Standing(1, "paper", None, "running", 12, 30, 0.88123, (0.1, 0.5, 0.88123))
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


SPEC = parse("""\
name: x
base: {epochs: 10}
seeds: 2
arms: {plain: {}, paper: {r: 0.01}}
search: {space: {r: {low: 0.0, high: 1.0}}, sampler: {name: random}, configurations: 4}
confirm: {top: 1, seeds: 5}
""")
PLAN = SPEC.search_plan()


def configuration(number: int, arm: str = "", state: str = "running", **fields: Any) -> Configuration:
    """One of 10 epochs: of seeds 0 and 1, or of five fresh ones."""
    seeds = (0, 1) if fields.get("confirms") is None else (2, 3, 4, 5, 6)
    parameters = {"r": number / 100}
    of = {"seeds": seeds, "arm": arm, "state": state, "parameters": parameters, **fields}
    return Configuration(number, name_of(arm, parameters), {"epochs": 10}, **of)


def progress(
    configurations: list[Configuration], courses: dict[int, list[float]], plan: SearchPlan = PLAN, after: int = -1
) -> Progress:
    """Progress of configurations with these objectives from epoch 0 on, or from the one after `after`."""
    by_epoch = {number: dict(enumerate(course, after + 1)) for number, course in courses.items()}
    reached = {number: max(course) for number, course in by_epoch.items()}
    rows = [row_of(c, {}) for c in configurations]
    return progress_of(
        SPEC, plan, configurations, rows, reached, lambda numbers: {n: by_epoch.get(n, {}) for n in numbers}
    )


def test_the_best_counts_from_the_first_epoch_on() -> None:
    plain, paper = configuration(0, "plain"), configuration(1, "paper")
    assert progress([plain, paper], {0: [0.9], 1: [0.1]}).best is None  # before the first step
    first = progress([plain, paper], {0: [0.9], 1: [0.1, 0.2]})
    assert first.best is not None and (first.best.name, first.best.value, first.best.state) == ("paper", 0.2, "running")
    assert first.stopped.best is not None and first.stopped.best.state == "stopped"
    ended = [replace(plain, state="complete", values=(0.4,), order=0), paper]
    highest = progress(ended, {0: [0.9, 0.4], 1: [0.1, 0.2]})
    assert highest.best is not None and (highest.best.number, highest.best.value) == (0, 0.4)
    lowest = progress(ended, {0: [0.9, 0.4], 1: [0.1, 0.2]}, replace(PLAN, goals=("minimize",)))
    assert lowest.best is not None and lowest.best.number == 1


@pytest.mark.parametrize("state", ["pruned", "diverged", "failed"])
def test_what_ended_early_is_not_the_best(state: str) -> None:
    early = configuration(0, "plain", state, values=(0.99,), order=0)
    best = progress([early, configuration(1, "paper")], {0: [0.1, 0.99], 1: [0.1, 0.2]}).best
    assert best is not None and best.number == 1


def test_once_one_is_confirmed_the_best_is_one_of_them() -> None:
    """As in the verdict."""
    arms = ("plain", "paper", "", "", "", "")
    every = [configuration(n, arm, "complete", values=(n / 10,), order=n) for n, arm in enumerate(arms)]
    again = configuration(6, confirms=5)
    best = progress([*every, again], {6: [0.1, 0.9]}).best
    assert best is not None and (best.number, best.phase) == (5, "search")
    best = progress([*every, replace(again, state="complete", values=(0.45,), order=6)], {6: [0.1, 0.45]}).best
    assert best is not None and (best.number, best.phase, best.value) == (6, "confirm", 0.45)


def test_one_that_is_being_extended_counts_with_what_it_was_worth_and_then_with_all_of_its_seeds() -> None:
    plain = configuration(0, "plain", "complete", values=(0.4,), order=0)
    more = configuration(1, "plain", extends=0, seeds=(2, 3))
    now = progress([plain, more], {0: [0.1, 0.4], 1: [0.1, 0.9]})
    assert now.best is not None and (now.best.number, now.best.value) == (0, 0.4)
    assert [(c.number, c.state) for c in now.configurations] == [(1, "running"), (0, "complete")]
    now = progress([plain, replace(more, state="complete", values=(0.6,), order=1)], {0: [0.1, 0.4], 1: [0.1, 0.6]})
    assert now.best is not None and (now.best.number, now.best.value) == (0, 0.5)


def test_what_is_left_counts_confirmations_and_what_pruning_saves() -> None:
    arms = [configuration(0, "plain"), configuration(1, "paper")]
    now = progress(arms, {0: [0.1, 0.2], 1: [0.1]})
    assert (now.epochs, now.epochs_in_all) == (1, 9 * 10)
    assert (now.records, now.records_left) == (2 * 3, 2 * (9 + 10) + 4 * 2 * 11 + 3 * 5 * 11)
    assert now.records + now.records_left == 6 * 2 * 11 + 3 * 5 * 11
    pruned = [*arms, *(configuration(n, "", "pruned", order=n) for n in (2, 3))]
    pruning = replace(PLAN, pruner={"name": "asha"})
    now = progress(pruned, {0: [0.1, 0.2], 1: [0.1], 2: [0.1] * 4, 3: [0.1] * 4}, pruning)
    assert now.records_left == 2 * (9 + 10) + 2 * 2 * 4 + 3 * 5 * 11


def test_more_epochs_of_a_configuration_are_counted_once() -> None:
    plain = configuration(0, "plain", "complete", values=(0.4,), order=0)
    now = progress([plain, configuration(1, "plain", extends=0, after=6)], {1: [0.5, 0.6]}, after=6)
    assert (now.epochs, now.records) == (2, 2 * 2) and now.configurations[0].epoch == 8


def test_what_takes_over_the_records_of_another_is_not_trained() -> None:
    now = progress([configuration(0, "plain"), configuration(1, "paper", same_as=0)], {0: [0.1]})
    assert now.records_left == 2 * 10 + 4 * 2 * 11 + 3 * 5 * 11


def test_the_running_come_first_and_then_what_ended_last() -> None:
    ended = [configuration(n, "", "complete", values=(0.1,), order=3000 - n) for n in range(3000)]
    now = progress([*ended, configuration(3000), configuration(3001)], {3000: [0.5]}, replace(PLAN, confirm=0))
    assert [c.number for c in now.configurations] == [3001, 3000, *range(SHOWN - 2)]
    assert now.besides == 3002 - SHOWN and display.others(now, 20) == "… and 2982 more"
    assert now.configurations[1].course == (0.5,) and now.configurations[0].epoch == -1
    assert (now.configurations[2].value, now.configurations[2].course) == (0.1, ())
