"""Adding a target: a class and its line, and every command knows it, as does its help and its errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sweeps.cli import _status
from sweeps.targets import target
from sweeps.targets.target import Kind, Submission, Submitted, SweepStatus, commands
from trainers.errors import WRONG_REQUEST, TargetError


class NotebookTarget:
    """Sweeps that are only noted: `--to note://FILE` appends their names to a file."""

    def __init__(self, address: str, store: str | None, pool: Path | None) -> None:
        self._address = address
        self._file = Path(address.removeprefix("note://"))

    def submit(self, sweep: Submission) -> Submitted:
        if sweep.name in self._names() and not sweep.resume:
            raise TargetError(f"sweep {sweep.name!r} already exists in {self._file}", WRONG_REQUEST)
        self._file.write_text("\n".join([*self._names(), sweep.name]))
        return Submitted(sweep.name, self._address, commands(sweep.name, self._address))

    def list(self) -> Sequence[SweepStatus]:
        return [SweepStatus(name, "queued", "noted") for name in self._names()]

    def status(self, name: str) -> SweepStatus:
        return next(status for status in self.list() if status.name == name)

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        yield f"{name} was noted"

    def stop(self, name: str) -> SweepStatus:
        self._file.write_text("\n".join(other for other in self._names() if other != name))
        return SweepStatus(name, "stopped")

    def resume(self, name: str) -> Submitted:
        return self.submit(Submission(name, "", resume=True))

    def _names(self) -> Sequence[str]:
        return self._file.read_text().splitlines() if self._file.exists() else []


@pytest.fixture
def to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name the target, which is one line in TARGETS."""
    line = Kind(("note",), "note://FILE", "a list of names", __name__, NotebookTarget.__name__)
    monkeypatch.setattr(target, "TARGETS", (*target.TARGETS, line))
    return ["--to", f"note://{tmp_path / 'names'}"]


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
    assert "--pool: only for a Kubernetes namespace" in gradsweep("submit", "quickstart", "--pool", "x", status=2)


def test_an_address_that_is_none_names_all_that_there_are(to: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(["list", "--to", "ftp://x"]) == 2
    assert "k8s://NAMESPACE (a Kubernetes namespace) or note://FILE (a list of names)" in capsys.readouterr().err
