"""The page of fields says what the program says."""

from __future__ import annotations

from pathlib import Path

from docs.build.fields import page
from search_spaces.space import SEARCHABLE
from trainers.members import FIELDS

PAGE = Path(__file__).parents[2] / "docs" / "fields.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make fields writes it anew"


def test_the_page_has_every_field_and_marks_what_can_be_searched() -> None:
    lines = {line.split("`")[1]: line for line in page().splitlines() if line.startswith("| `")}
    for name in set(FIELDS) - {"seed"}:
        (line,) = (line for key, line in lines.items() if key in (f"base.{name}", f"arms.NAME.{name}"))
        assert ("` *" in line) == (name in SEARCHABLE)
    assert "| the regime's |" in lines["base.units"] and "layer.NAME.gradient.data.rms" in lines
    assert {line.count(" | ") - line.count(" \\\\| ") for key, line in lines.items() if key[:5] == "base."} == {3}
