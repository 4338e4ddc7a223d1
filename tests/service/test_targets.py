"""Adding a target: a class and its line, and every command knows it, as does its help and its errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sweeps.targets
from sweeps.cli import _status
from sweeps.targets import target
from sweeps.targets.target import Kind  # noqa: F401 (in the line that is added)

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


@pytest.fixture
def to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The options that name the target of "How to add a target" in docs/architecture.md, followed literally."""
    file, line = re.findall(r"```python\n(.*?)```", PAGE.read_text().partition("## How to add a target")[2], re.S)
    (tmp_path / "note.py").write_text(file)
    monkeypatch.setattr(sweeps.targets, "__path__", [*sweeps.targets.__path__, str(tmp_path)])
    (kind,) = eval(f"({line.strip()})")
    monkeypatch.setattr(target, "TARGETS", (*target.TARGETS, kind))
    yield ["--to", f"note://{tmp_path / 'names'}"]
    sys.modules.pop("sweeps.targets.note", None)


def test_every_command_knows_a_target_that_is_added(to: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def gradsweep(*words: str, status: int = 0) -> str:
        assert _status([*words, *to]) == status
        printed = capsys.readouterr()
        return printed.out + printed.err

    assert f"gradsweep logs quickstart -f --to {to[1]}" in gradsweep("submit", "quickstart")
    assert "already exists" in gradsweep("submit", "quickstart", status=2)
    assert "queued" in gradsweep("list")
    assert "queued: noted" in gradsweep("status", "quickstart")
    assert gradsweep("logs", "quickstart") == "quickstart was noted\n"
    assert "stopped" in gradsweep("stop", "quickstart")
    assert "gradsweep status quickstart" in gradsweep("resume", "quickstart")
    assert "deleted the note" in gradsweep("delete", "quickstart", "--yes")
    assert "no sweeps at" in gradsweep("list")
    assert "--pool: only for a Kubernetes namespace" in gradsweep("submit", "quickstart", "--pool", "x", status=2)


def test_an_address_that_is_none_names_all_that_there_are(to: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(["list", "--to", "ftp://x"]) == 2
    assert "k8s://NAMESPACE (a Kubernetes namespace) or note://FILE (a list of names)" in capsys.readouterr().err
