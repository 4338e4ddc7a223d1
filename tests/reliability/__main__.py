"""Makes a page of the notes: `python -m tests.reliability docs/reliability docs/reliability.md`.

With a third argument, a file of what `python -m tests.load.sweep --json` printed, that is noted first. The same
notes give the same page, to the byte. Ends with exit status 1 and one line if a note is not valid.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from tests.reliability.notes import TABLES, Note, read, write

HEAD = """\
# What was tried, and what came out

`make reliability` writes this page from the notes in `reliability/`, which the tests and benchmarks take when they run.
Nothing here is written by hand. Each line says what was tried, what came out, and when; FAILED marks what did not hold.
Lines from before 2026-11-27 are of version 0.1, whose records went through a spool on disk.
[SECURITY.md](../SECURITY.md) says what is promised, and to whom.
"""
TITLES = {
    "faults": (
        "Faults",
        "Each fault was injected into a real sweep, at moments drawn from the seed. Sound means that `gradsweep audit` "
        "passes: every configuration is in one final state, MLflow has one run of it with every epoch once, the "
        "records equal those of an undisturbed sweep to the bit, and nothing is left behind.",
    ),
    "load": (
        "Load",
        "Printed by `make bench-sweep`. Wall-clock times depend on the machine and on what else runs there; processor "
        "times less so.",
    ),
    "inputs": (
        "Hostile and odd input",
        "Unless the outcome says otherwise, each case was refused in one line with exit status 2, wrote nothing, used "
        "at most one gibibyte of memory, and ended by itself.",
    ),
}


def page(folder: Path) -> str:
    """The page of a folder of notes. Raises ValueError for an invalid note."""
    parts = [HEAD]
    for table in TABLES:
        title, words = TITLES[table]
        notes = _notes(folder / f"{table}.json", table)
        parts.append(f"\n## {title}\n\n{words}\n\n{_table(notes) if notes else 'Nothing has been noted yet.'}")
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def _notes(file: Path, table: str) -> list[Note]:
    try:
        notes = read(file)
        for note in notes:
            date.fromisoformat(note.date)
            if note.table != table or not (note.what and note.tried and note.outcome):
                raise ValueError(f"the note on {note.what!r} is not about {table}, or is empty")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {error}") from None
    return notes


def _table(notes: list[Note]) -> str:
    rows = [(n.what, n.tried, n.outcome, "" if n.seed is None else str(n.seed), n.date) for n in notes]
    head = ("what", "tried", "outcome", "seed", "date")
    lines = [head, ("---",) * len(head), *(tuple(map(_cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """Text with Markdown's special characters escaped."""
    return "".join(f"\\{c}" if c in "\\*_`[]<>~|#" else c for c in text)


def note_load(folder: Path, printed: Path) -> None:
    """Add what the benchmark printed to the notes."""
    for line in printed.read_text(encoding="utf-8").splitlines():
        write(folder, Note("load", **json.loads(line), date=datetime.now(UTC).date().isoformat()))


def main(arguments: list[str]) -> int:
    """The exit status."""
    folder, file, *printed = map(Path, arguments)
    try:
        for name in printed:
            note_load(folder, name)
        file.write_text(page(folder), encoding="utf-8")
    except (OSError, ValueError, TypeError) as error:
        print(f"reliability: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
