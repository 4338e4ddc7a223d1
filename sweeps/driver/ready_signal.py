"""How a driver in the background tells whoever has submitted it that the sweep has begun: what could be wrong is not.

The variable holds the number of a pipe that the driver has inherited, or asks for a line of output.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "GRADSWEEP_BEGUN"
IN_WORDS = "say"
RESUMING = "GRADSWEEP_RESUMING"  # the command with which its user goes on with a sweep that runs in the background
WORDS = "gradsweep: the sweep has begun"


def say_begun() -> None:
    """Say so to who wants to know, once."""
    told = os.environ.pop(VARIABLE, "")
    if told == IN_WORDS:
        print(WORDS, file=sys.stderr, flush=True)
    elif told:
        os.write(int(told), b"1")
        os.close(int(told))
