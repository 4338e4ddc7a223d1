"""`gradsweep theory` as text, as JSON, and its figure."""

import io
import json

import pytest
from rich.console import Console

from sweeps.theory_table import run, where
from trainers.errors import RequestError
from trainers.theory.claims import Argument, Network


def test_text_has_verdicts_counter_examples_and_where_the_proofs_are(tmp_path) -> None:
    text = io.StringIO()
    figure = tmp_path / "theory.svg"
    assert run(json=False, figure=figure, console=Console(file=text, width=200)) == 0
    for said in ("t <= 0.73849", "t <= 0.62304", "2.6982, not <= 2.1696", "docs/theory.md", "0.39431"):
        assert said in text.getvalue()
    assert "Theorem 2" in figure.read_text()


def test_json_is_one_document_and_nothing_else(capsys) -> None:
    assert run(json=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"claims", "constants", "curves"} <= document.keys()


@pytest.mark.parametrize("name", ["theory.txt", "missing/theory.png"])
def test_a_figure_that_cannot_be_written_is_refused_at_once(tmp_path, name) -> None:
    with pytest.raises(RequestError, match="figure: .* must"):
        run(json=False, figure=tmp_path / name)


def test_points_in_a_line() -> None:
    network = Network("tanh", x=1.5, y=1.0, theta=(1.5, 1.5, 2.0), k=1, alpha=2.0, t=0.5)
    assert where(network) == "tanh, rescaled, alpha = 2, t = 0.5, x = 1.5, y = 1, theta = (2 times 1.5, 2), k = 1"
    assert where(Argument("tanh", 3.0, v=0.0)) == "tanh, z = 3, v = 0"
