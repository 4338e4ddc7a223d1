"""What a driver has printed, read somewhere else: lines that a terminal shows and does not obey.

>>> list(split_lines(["alpha-r: 1/2 confi", "gurations\\n\\x1b[32mdone\\x1b[39m"]))
['alpha-r: 1/2 configurations', 'done']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from trainers.errors import flat, printable

# What colours a terminal's text and moves its cursor (ECMA-48): CSI, OSC, and the sequences of two characters.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
# Ray's own log, of which is the frame that `ray job logs` puts around a driver's output; and KubeRay's submitter.
AROUND = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+\t[A-Z]+ \S+:\d+ -- |Waiting for Ray Dashboard GCS to become healthy"
)


def split_lines(chunks: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces, without escape sequences; other control characters are written out."""
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        yield from map(_harmless, lines)
    if rest:
        yield _harmless(rest)


def last_line(lines: Iterable[str]) -> str:
    """What the driver printed last, without what Ray and KubeRay say around it; "" where it has printed nothing."""
    return next((line for line in reversed([*lines]) if line.strip() and not AROUND.match(line)), "")


def last_words(output: str) -> str:
    """Why a process of ours has ended, as it has printed it; "" where it has printed nothing."""
    printed = [line for line in split_lines([output]) if line.strip()]
    ours = [line for line in printed if line.startswith("gradsweep: ")] or printed
    return ours[-1].removeprefix("gradsweep: ") if ours else ""


def message(text: str | None) -> str:
    """A message of Ray's as one line, without the log that it appends."""
    return _harmless(flat((text or "").partition(", last available logs")[0]))


def _harmless(line: str) -> str:
    return "\t".join(map(printable, ESCAPES.sub("", line.removesuffix("\r")).split("\t")))
