"""What came out of a fault, a load or a hostile input: a line of JSON, from which docs/reliability.md is made.

One file per table, `faults.json`, `load.json` and `inputs.json`, one object per line, sorted by `what`. A new run of
the same `what` replaces its line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

TABLES = ("faults", "load", "inputs")


@dataclass
class Note:
    """One line: `tried` says what was done, with numbers, `outcome` what came out; `seed` drew the moments."""

    table: str
    what: str
    tried: str = ""
    outcome: str = ""
    seed: int | None = None
    date: str = ""


@contextmanager
def noting(folder: Path | None, table: str, what: str, seed: int | None = None) -> Iterator[Note]:
    """A note that the block fills in and that is then written into the folder; it says FAILED if the block fails."""
    if table not in TABLES:
        raise ValueError(f"table must be one of {', '.join(TABLES)}, but got {table!r}")
    note = Note(table, what, seed=seed, date=datetime.now(UTC).date().isoformat())
    try:
        yield note
        if not note.tried or not note.outcome:
            raise ValueError(f"the note on {what!r} must say what was tried and what came out")
    except BaseException as error:
        note.outcome = "FAILED: " + next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise
    finally:
        if folder is not None:
            write(folder, note)


def write(folder: Path, note: Note) -> None:
    """Write a note to its file, in place of an earlier one with the same `what`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{note.table}.json"
    known = {n.what: n for n in read(file)} | {note.what: note}
    new = file.with_suffix(".part")
    new.write_text("".join(json.dumps(_plain(n)) + "\n" for _, n in sorted(known.items())), encoding="utf-8")
    os.replace(new, file)


def read(file: Path) -> list[Note]:
    """The notes of a file, none if it does not exist. Raises ValueError and TypeError for invalid ones."""
    if not file.exists():
        return []
    return [Note(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def _plain(note: Note) -> dict[str, object]:
    """A note fit for the cells of a Markdown table."""
    return {k: " ".join(v.replace("|", "/").split()) if isinstance(v, str) else v for k, v in asdict(note).items()}
