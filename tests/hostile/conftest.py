"""The command in a folder of its own, and a line for docs/reliability.md of each kind of input."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.command import Gradsweep

VARIABLES = ("GRADSWEEP_STORE", "GRADSWEEP_CACHE", "GRADSWEEP_DEBUG", "XDG_CACHE_HOME", "RAY_ADDRESS")


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """What takes memory once and for all."""
    import sklearn.datasets  # noqa: F401

    import sweeps.service  # noqa: F401
    import tracking.mlflow_api  # noqa: F401
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
    config.addinivalue_line("markers", "inputs(what, outcome): the kind of input, a line of docs/reliability.md")
