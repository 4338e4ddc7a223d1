"""A command on a real terminal of a given size, and what it has written there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PATIENCE = 240.0
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """`gradsweep` with these words on a terminal.

    >>> with Terminal(["list"], folder, columns=80) as terminal:
    ...     terminal.end().lines
    """

    def __init__(
        self, words: list[str], folder: Path, environment: Mapping[str, str] = {}, columns: int = 80, rows: int = 30
    ) -> None:
        self._master, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sweeps.cli", *words],
            cwd=folder,
            env=kept | {"TERM": "xterm-256color"} | environment,
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)
        self._written = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """What it has written, without the codes that move the cursor and give colours."""
        # What comes after a line is erased is another line.
        written = self._written.decode(errors="replace").replace("\r", "").replace("\x1b[2K", "\n")
        return re.sub(" +$", "", CONTROL.sub("", written), flags=re.MULTILINE)

    @property
    def lines(self) -> list[str]:
        """The lines of it."""
        return self.text.split("\n")

    def until(self, seen: Callable[[str], object]) -> Terminal:
        """Read until this is seen in what it has written, or it ends."""
        end = time.monotonic() + PATIENCE
        while not seen(self.text):
            assert time.monotonic() < end, self.text
            if select.select([self._master], [], [], 1.0)[0]:
                try:
                    self._written += os.read(self._master, 1 << 16)
                except OSError:  # it has ended
                    break
        return self

    def end(self, status: int = 0) -> Terminal:
        """Read to its end, which must have this exit status."""
        self.until(lambda text: False)
        assert self.process.wait(PATIENCE) == status, self.text
        return self
