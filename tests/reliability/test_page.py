"""The page is the notes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.__main__ import main, page
from tests.reliability.notes import Note, write


def test_the_same_notes_give_the_same_page_and_a_new_one_takes_the_former_ones_place(tmp_path: Path) -> None:
    for outcome in ("FAILED: x", "sound"):
        write(tmp_path, Note("faults", "a *fault*", "once | or twice", outcome, seed=7, date="2026-11-21"))
    write(tmp_path, Note("inputs", "b", "12 cases", "refused", date="2026-11-22"))
    assert main([str(tmp_path), str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert text == page(tmp_path)
    assert "| a \\*fault\\* | once / or twice | sound | 7 | 2026-11-21 |" in text
    assert "| b | 12 cases | refused |  | 2026-11-22 |" in text
    assert "FAILED: x" not in text and text.count("Nothing has been noted yet.") == 1


@pytest.mark.parametrize("line", ["{", "{}", '{"table": "faults", "what": "x"}', '["x"]', '{"x": 1}'])
def test_what_is_no_note_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    (tmp_path / "faults.json").write_text(line + "\n")
    assert main([str(tmp_path), str(tmp_path / "page.md")]) == 1
    assert capsys.readouterr().err.startswith("reliability: ") and not (tmp_path / "page.md").exists()


def test_what_the_benchmark_printed_is_noted(tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    printed.write_text('{"what": "x", "tried": "y", "outcome": "z"}\n')
    assert main([str(tmp_path), str(tmp_path / "page.md"), str(printed)]) == 0
    assert "| x | y | z |" in (tmp_path / "page.md").read_text()


def test_the_page_that_is_committed_is_that_of_its_notes() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert (docs / "reliability.md").read_text(encoding="utf-8") == page(docs / "reliability")
