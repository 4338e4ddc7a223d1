"""The command in this process, under a watch: what it says, what it writes, how much memory it takes."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeps.cli import _status

SPEC = """\
name: x
base: {epochs: 1, data: digits}
seeds: 1
arms: {plain: {}}
"""
MEMORY = 1 << 30  # bytes more than before, for any case


class Gradsweep:
    """`gradsweep` in a folder of its own: `here` is the current one, with `here/s.yaml` to be written."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.here = root / "here"
        self.here.mkdir()
        self.spec = self.here / "s.yaml"
        self.spec.write_text(SPEC)
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """The exit status, standard output and standard error of a command."""
        self._capsys.readouterr()
        with limited_memory():
            status = _status([*words, *(["--executor", "in-process"] if words[0] == "run" else [])])
        return (status, *self._capsys.readouterr())

    def refuses(self, *words: str, says: str = "", lines: int = 1, status: int = 2) -> str:
        """A command that must be refused: so many lines, exit status 2, nothing written. The lines."""
        before = self.files()
        ended, out, err = self(*words)
        assert (ended, out) == (status, ""), f"{ended}: {out}{err}"
        after = self.files()
        assert after == before, sorted(set(after.items()) ^ set(before.items()))
        assert len(err.splitlines()) == lines, err[:3000]
        for line in err.splitlines():
            assert line.startswith("gradsweep: ") and line.isprintable() and len(line) < 2100, line[:3000]
        assert says in err
        return err

    def files(self) -> dict[str, tuple[int, int, int]]:
        """Everything below the root, with what changes when it is written. A database that is looked at may get a
        journal, which is no writing."""
        return {
            str(path): (about.st_mode, about.st_size if path.is_file() else 0, about.st_mtime_ns * path.is_file())
            for path in self.root.rglob("*")
            for about in [path.lstat()]
            if not path.name.endswith(("-wal", "-shm"))
        }


@contextmanager
def limited_memory() -> Iterator[None]:
    """No more than MEMORY is to be had in this block."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def images(root: Path) -> Path:
    """Two classes of three training and two test images, of any size that is read."""
    random = np.random.default_rng(0)
    for part, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            for i in range(count):
                file = root / part / name / f"{i}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(file)
    return root
