"""The notes as a page: `python -m tests.reliability docs/reliability docs/reliability.md`.

With a third argument, a file of what `python -m tests.load.sweep --json` printed, that is noted first. The same
notes give the same page, to the byte. Ends with the exit status 1, and one line, where a note is none of ours.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from tests.reliability.notes import TABLES, Note, read, write

HEAD = """\
# What was done to it, and what came out

Made by `make reliability` from the notes in `reliability/`, which the tests and benchmarks wrote when they were run;
nothing here is written by hand. A line says what was tried on the date at its end, and what came out of it; one that
says FAILED is what did not hold. What is promised, and to whom, is in [SECURITY.md](../SECURITY.md).
"""
TITLES = {
    "faults": (
        "Faults",
        "Each was done to a real sweep, at moments drawn from the seed. Sound is what `gradsweep audit` finds so: "
        "every configuration in one final state, one run of it in MLflow with every epoch once, the table equal to "
        "the bit to that of an undisturbed sweep, nothing left behind.",
    ),
    "load": (
        "Load",
        "Printed by `make bench-sweep`. Times depend on the machine and on what else ran there; those of a processor "
        "less so.",
    ),
    "inputs": (
        "Hostile and odd input",
        "Unless the outcome says otherwise each case was refused in one line with the exit status 2, wrote nothing, "
        "took no more than a gibibyte and ended by itself.",
    ),
}


def page(folder: Path) -> str:
    """The page of a folder of notes. Raises ValueError for what is no note."""
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
                raise ValueError(f"the note on {note.what!r} is none of {table}, or says nothing")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {error}") from None
    return notes


def _table(notes: list[Note]) -> str:
    rows = [(n.what, n.tried, n.outcome, "" if n.seed is None else str(n.seed), n.date) for n in notes]
    head = ("what", "tried", "outcome", "seed", "date")
    lines = [head, ("---",) * len(head), *(tuple(map(_cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """Markdown's own characters as themselves."""
    return "".join(f"\\{c}" if c in "\\*_`[]<>~|#" else c for c in text)


def note_load(folder: Path, printed: Path) -> None:
    """Put what the benchmark printed among the notes."""
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
