"""How a driver in the background tells the process that submitted it that the sweep is running.

By then whatever is wrong with the request has been refused. READY holds the number of a pipe that the driver has
inherited, or PRINT, which asks for a line of output.
"""

from __future__ import annotations

import os
import sys

READY = "GRADSWEEP_READY"
PRINT = "print"
READY_LINE = "gradsweep: the sweep is running"
RESUME_COMMAND = "GRADSWEEP_RESUME_COMMAND"  # with which its user continues a sweep that runs in the background


def say_ready() -> None:
    """Tell the submitter, once, if there is one."""
    value = os.environ.pop(READY, "")
    if value == PRINT:
        print(READY_LINE, file=sys.stderr, flush=True)
    elif value:
        os.write(int(value), b"1")
        os.close(int(value))
