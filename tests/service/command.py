"""`gradsweep` as a process of its own, and waiting for what others do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PATIENCE = 600.0


class Gradsweep:
    """The command in a folder, with variables over ours.

    >>> gradsweep("submit", "spec.yaml", "--to", address).stdout
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "GRADSWEEP_"))}
        self.environment = clean | {
            "GRADSWEEP_CACHE": str(folder / "cache"),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            [sys.executable, "-m", "sweeps.cli", *words],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *words: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which must have this exit status."""
        process = self.start(*words, **environment)
        out, err = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == status, f"{words}: {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def json(self, *words: str) -> Any:
        """What it prints with `--json`."""
        return json.loads(self(*words, "--json").stdout)

    def refused(self, *words: str, status: int = 2, **environment: str) -> str:
        """The one line that it says, and nothing else, where it ends with this status."""
        found = self(*words, status=status, **environment)
        assert found.stdout == ""
        (line,) = found.stderr.splitlines()
        assert line.startswith("gradsweep: ")
        return line.removeprefix("gradsweep: ")

    def spec(self, text: str) -> str:
        """A file with this spec, named after it."""
        name = text.partition("name: ")[2].split()[0]
        file = self.folder / f"{name}.yaml"
        file.write_text(text)
        return str(file)


def until(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for something that others do."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
