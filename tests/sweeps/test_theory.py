"""`gradsweep theory` as text, as JSON, and its figure."""

import json

import pytest

from sweeps.cli import main
from sweeps.commands.theory import check_figure, counter_example
from trainers.errors import RequestError


def test_text_has_verdicts_counter_examples_and_where_the_proofs_are(tmp_path, capsys) -> None:
    figure = tmp_path / "theory.svg"
    with pytest.raises(SystemExit, match="^0$"):
        main(["theory", "--figure", str(figure)])
    text = capsys.readouterr().out
    for part in ("t <= 0.73849", "t <= 0.62304", "2.6982, not <= 2.1696", "docs/theory.md", "0.39431"):
        assert part in text
    assert "Theorem 2" in figure.read_text()


def test_json_is_one_document_and_nothing_else(capsys) -> None:
    with pytest.raises(SystemExit, match="^0$"):
        main(["theory", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert {"claims", "disagreement", "draws"} == document.keys()
    assert {claim["holds"] for claim in document["claims"]} == {"everywhere tested", "in a region", "fails"}


@pytest.mark.parametrize("name", ["theory.txt", "missing/theory.png"])
def test_a_figure_that_cannot_be_written_is_refused_at_once(tmp_path, name) -> None:
    with pytest.raises(RequestError, match="figure: .* must"):
        check_figure(tmp_path / name)


def test_points_in_a_line() -> None:
    at = {"scaling": "rescaled", "alpha": 2.0, "t": 0.5, "x": 1.5, "y": 1.0, "theta": (1.5, 1.5, 2.0), "k": 1}
    example = {"says": "left against right", "at": at, "left": 2.5, "relation": "<=", "right": 2.0}
    point, says, numbers = counter_example({"activation": "tanh", "counter_example": example})
    assert point == "tanh, rescaled, alpha = 2, t = 0.5, x = 1.5, y = 1, theta = (2 times 1.5, 2), k = 1"
    assert (says, numbers) == ("left against right", "2.5, not <= 2")
    point, *_ = counter_example({"activation": "tanh", "counter_example": example | {"at": {"z": 3.0, "v": 0.0}}})
    assert point == "tanh, z = 3, v = 0"
