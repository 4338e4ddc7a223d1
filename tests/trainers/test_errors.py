"""What an exception of a library says, as one line."""

from __future__ import annotations

import pytest

from trainers.errors import flat, one_line


def test_no_line_of_a_message_is_lost() -> None:
    error = RuntimeError("The runtime could not be set up.\n\n  Traceback:\n    ...\nKeyError: 'x'\n")
    assert one_line(error) == "RuntimeError: The runtime could not be set up. Traceback: ... KeyError: 'x'"


def test_of_a_long_message_the_beginning_and_the_end_stay() -> None:
    error = OSError("first line\n" + "in the middle\n" * 1000 + "last line: the cause")
    line = one_line(error)
    assert line.startswith("OSError: first line in the middle") and line.endswith("last line: the cause")
    assert " ... " in line and len(line) <= 500


@pytest.mark.parametrize(("text", "line"), [("", ""), ("x" * 20, "x" * 20), ("x" * 21, "xxxxxxx ... xxxxxxx")])
def test_at_most_so_many_characters(text: str, line: str) -> None:
    assert flat(text, most=20) == line


def test_an_exception_without_a_message_is_its_name() -> None:
    assert one_line(ValueError()) == "ValueError"
