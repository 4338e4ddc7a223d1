"""`gradsweep theory` and `gradsweep theory signal` as text, as JSON, and their figures."""

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


def printed(capsys, *words: str, status: int = 0):
    with pytest.raises(SystemExit, match=f"^{status}$"):
        main(["theory", *words])
    return capsys.readouterr()


def test_signal_propagation_is_printed_beside_published_numbers_and_drawn(tmp_path, capsys) -> None:
    figure = tmp_path / "signal.svg"
    text = printed(capsys, "signal", "--activation", "tanh", "--activation", "relu", "--figure", str(figure)).out
    rows = {words[0]: words[1:] for words in map(str.split, text.splitlines()) if words}
    assert rows["tanh"] == ["1", "0.8709", "1.101", "explode", "0.4966", "1.305", "14.54", "1.304"]
    assert rows["relu"] == ["1", "infinity", "1.125", "explode", "1", "8.49", "infinity", "none"]
    assert "Pennington et al. 2018" in text and "docs/theory.md" in text
    assert "Edge of chaos" in figure.read_text()


def test_signal_propagation_as_json_at_any_point_and_alpha(capsys) -> None:
    words = "--activation tanh --activation relu --alpha 1 --alpha 4 --scaling naive --sigma-w 0.3 --sigma-b 0"
    document = json.loads(printed(capsys, "signal", *words.split(), "--json").out)
    assert (document["sigma_w"], document["sigma_b"], document["scaling"]) == (0.3, 0.0, "naive")
    rows = {(row["activation"], row["alpha"]): row for row in document["activations"]}
    assert [row["q"] for row in rows.values()] == [0.0, pytest.approx(0.249513, abs=1e-6), 0.0, 0.0]
    assert rows["tanh", 4.0]["critical_sigma_w"] == pytest.approx(0.25)
    assert rows["relu", 1.0]["xi_c"] == "infinity"
    for row in document["published"]:
        assert abs(row["ours"] - row["published"]) <= row["within"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["signal", "--activation", "tahn"], "there is no activation 'tahn': did you mean tanh?"),
        (["signal", "--alpha", "0"], "1e-06 <= alpha <= 1e+06 must hold, but got 0.0"),
        (["signal", "--sigma-w", "0"], "sigma-w > 0 and at most 1e6 must hold, but got 0.0"),
        (["signal", "--sigma-b", "nan"], "sigma-b >= 0 and at most 1e6 must hold, but got nan"),
        (["signal", "--figure", "signal.txt"], "figure: signal.txt: the name must end in .png, .svg, .pdf"),
        (["--sigma-w", "2"], "--sigma-w is an option of gradsweep theory signal"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(words, message, capsys) -> None:
    refused = printed(capsys, *words, status=2)
    assert (refused.out, refused.err) == ("", f"gradsweep: {message}\n")


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
