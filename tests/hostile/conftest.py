"""The command in a folder of its own, and a line for docs/reliability.md of each kind of input."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.hostile.command import Gradsweep
from tests.reliability.notes import Note, write

VARIABLES = ("GRADSWEEP_STORE", "GRADSWEEP_CACHE", "GRADSWEEP_DEBUG", "XDG_CACHE_HOME", "RAY_ADDRESS")
MOST_NAMED = 12
OUTCOMES: dict[str, str] = {}


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """What takes memory once and for all."""
    import sklearn.datasets  # noqa: F401

    import sweeps.driver.sweep  # noqa: F401
    import tracking.mirrors.client  # noqa: F401
    import trainers.reference  # noqa: F401


@pytest.fixture
def gradsweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gradsweep:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    made = Gradsweep(tmp_path, capsys)
    monkeypatch.setenv("GRADSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(made.here)
    return made


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "inputs(what, cases=(), outcome='all refused'): the kind of input, a line of docs/reliability.md"
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """How each case ended: a failure wherever it was, a skip only of what can't be tried here."""
    if report.when == "call" or report.outcome != "passed":
        OUTCOMES.setdefault(report.nodeid, report.outcome)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under --reliability: a line for each kind of input, of all of its cases together."""
    folder = session.config.getoption("--reliability")
    kinds: dict[str, list[pytest.Item]] = {}
    for item in session.items if folder else ():
        if mark := item.get_closest_marker("inputs"):
            kinds.setdefault(mark.args[0], []).append(item)
    for what, items in kinds.items():
        outcomes = Counter(OUTCOMES.get(item.nodeid, "skipped") for item in items)
        mark = items[0].get_closest_marker("inputs")
        assert mark is not None
        cases = [
            str(case) for case in mark.kwargs.get("cases", [items[0].name.removeprefix("test_").replace("_", " ")])
        ]
        shown = [case for case in cases if case.isascii() and case.isprintable() and len(case) <= 50][:MOST_NAMED]
        more = ["..."] if len(cases) > MOST_NAMED else []
        tried = f"{len(cases)} case{'s' if len(cases) > 1 else ''}: {', '.join(shown + more)}"
        outcome = mark.kwargs.get("outcome", "all refused")
        if failed := outcomes["failed"]:
            outcome = f"FAILED: {failed} of {len(items)} tests"
        elif skipped := outcomes["skipped"]:
            outcome = f"{outcome}; {skipped} of {len(items)} tests could not be tried here"
        write(folder, Note("inputs", what, tried, outcome, date=datetime.now(UTC).date().isoformat()))
