"""Ctrl-C and SIGTERM as a flag, which is checked where nothing is half done.

    with Interrupt(lambda: print("resume me")) as interrupt:
        while work:
            interrupt.check()                    # raises Interrupted between two pieces of work

The first signal stops cleanly. Nothing is raised out of a signal handler: it would come anywhere, in the middle of a
fork or of somebody's lock, and be lost there or leave that lock held. A thread keeps the time instead: where the clean
end takes longer than GRACE_SECONDS (GRADSWEEP_STOP_SECONDS in the environment sets another time), or Ctrl-C follows
another signal, it says farewell and ends the process on the spot, which is as good as being killed: whatever a driver
does survives that. A further SIGTERM changes nothing: in a Pod that is deleted two send it, Ray and our preStop. The
exit status is 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from sweeps.environment import STOP_SECONDS, seconds_of

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 4.0
LEFT = 0  # no signal's number


class Interrupted(BaseException):
    """A signal has come; not an Exception, so that no library mistakes it for a failure of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


class Interrupt:
    """The signals of a run, as a context manager; in another thread than the main one no signal comes here.

    `farewell` is called, in another thread, before the process is ended on the spot. Without one the process is not
    ours to end, as in a notebook: SIGTERM is left alone, and a second Ctrl-C is Python's own KeyboardInterrupt.
    `on_stop`, which may be set later, is called when `check` is about to raise: what must be noted before anything
    is closed. Raises RequestError for a GRADSWEEP_STOP_SECONDS that is no number.
    """

    def __init__(self, farewell: Callable[[], None] | None = lambda: None) -> None:
        self.number: int | None = None
        self.on_stop: Callable[[], None] = lambda: None
        self._grace = seconds_of(STOP_SECONDS, GRACE_SECONDS)
        self._end = float("inf")
        self._farewell = farewell
        self._former: dict[int, Any] = {}
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._former = {s: signal.getsignal(s) for s in (SIGNALS if self._farewell else SIGNALS[:1])}
        if self._farewell:
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            # Written to when a signal comes, even while this thread is deep in somebody's C code.
            self._former_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._watcher = threading.Thread(target=self._watch, args=[self._farewell], name="signals", daemon=True)
            self._watcher.start()
        self.install()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        if self._watcher is None:
            return
        signal.set_wakeup_fd(self._former_wakeup)
        # Sent explicitly: a forked child may hold the other end of the pipe open.
        os.write(self._write, bytes([LEFT]))
        self._watcher.join()
        os.close(self._write)
        os.close(self._read)

    def install(self) -> None:
        """Take the signals (again): starting Ray takes them away."""
        for number in self._former:
            signal.signal(number, self._handle)

    @property
    def left(self) -> float:
        """Seconds until the process is ended on the spot; infinite before the first signal."""
        return self._end - time.monotonic()

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.number is not None:
            self._end = min(self._end, time.monotonic() + self._grace)
            self.on_stop()
            raise Interrupted(self.number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number and not self._farewell:
            raise KeyboardInterrupt
        self._note(number)

    def _note(self, number: int) -> None:
        if not self.number:
            self._end = time.monotonic() + self._grace
            self.number = number

    def _watch(self, farewell: Callable[[], None]) -> None:
        """Runs in a thread until the block is left, or the process ended."""
        number = 0
        while select.select([self._read], [], [], max(0.0, self.left) if number else None)[0]:
            byte = os.read(self._read, 1)[0]
            if byte == LEFT:
                return
            if byte in SIGNALS:
                insists, number = bool(number) and byte == signal.SIGINT, number or byte
                self._note(number)
                if insists:
                    break
        try:
            farewell()
        finally:  # though nobody reads it any more
            os._exit(128 + number)
