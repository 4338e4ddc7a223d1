"""Two sweeps held against each other: pairs, differences, and the command's table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

import sweeps
from sweeps.cli import _status
from sweeps.commands.compare import comparison_text
from trainers.errors import RequestError, SearchError

SPEC = """\
name: {name}
base: {{init_scale: 1.0, data: "{images}", epochs: {epochs}, batch_size: 8}}
seeds: {seeds}
arms:
  plain: {{alpha: 1.0}}
  paper: {{alpha: {alpha}, r: 0.01}}
  {own}
search:
  space: {{alpha: {{values: [0.5, {searched}]}}}}
  sampler: {{name: grid}}
claim: paper
resources: {{concurrent: 1}}
"""
SWEEPS = {
    "first": {},
    "second": {"alpha": 8.0, "own": "its-own: {alpha: 5.0}", "searched": 4.0},
    "longer": {"epochs": 2},
    "elsewhere": {"seeds": [11, 12]},
}

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with sweeps that differ in an arm, in their epochs, and in their seeds."""
    folder = tmp_path_factory.mktemp("compare")
    usual = {
        "images": images,
        "epochs": 1,
        "seeds": 6,
        "alpha": 2.0,
        "own": "only-first: {alpha: 4.0}",
        "searched": 1.5,
    }
    for name, changed in SWEEPS.items():
        (folder / f"{name}.yaml").write_text(SPEC.format(name=name, **usual | changed))
        sweeps.run(folder / f"{name}.yaml", store=folder / "store", executor="in-process")
    return folder


@pytest.fixture
def say(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.chdir(folder)

    def say(*words: str) -> tuple[int, str, str]:
        status = _status([*words, "--store", "store"])
        return (status, *capsys.readouterr())

    return say


def test_arms_of_one_name_and_equal_members_are_pairs(folder: Path) -> None:
    compared = sweeps.compare("first", "second", folder / "store")
    plain, paper, other, searched = compared.pairs
    assert (plain.name, plain.answer, plain.same_bits) == ("plain", "equal", True)
    assert (paper.name, paper.same_bits) == ("paper", False)
    assert (searched.name, searched.answer, searched.same_bits) == ("alpha=0.5", "equal", True)
    assert (other.name, other.answer, other.same_bits) == ("only-first/alpha=4", "equal", True)
    assert compared.alone == (("alpha=1.5",), ("its-own",))
    assert compared.differences == (("arms.paper.alpha", "2.0", "8.0"),)
    assert (compared.metric, compared.goal) == ("validation.accuracy", "maximize")


def test_gains_are_paired_over_seeds_and_positive_where_the_second_is_better(folder: Path) -> None:
    paper = sweeps.compare("first", "second", folder / "store").pairs[1]
    frames = [sweeps.report(name, folder / "store").frame for name in ("first", "second")]
    one, two = (of[(of.arm == "paper") & (of.epoch == 1)].set_index("seed")["validation.accuracy"] for of in frames)
    c = paper.comparison
    assert c is not None and c.pairs == (0, 1, 2, 3, 4, 5)
    assert (c.others, c.ones) == (tuple(one), tuple(two))
    assert c.gains == tuple(two - one) and c.gain == pytest.approx((two - one).mean())
    back = sweeps.compare("second", "first", folder / "store").pairs[1]
    assert back.comparison is not None and back.comparison.gain == pytest.approx(-c.gain)
    assert back.p == paper.p


def test_a_loss_is_better_where_it_is_lower(folder: Path) -> None:
    compared = sweeps.compare("first", "second", folder / "store", metric="train.loss")
    paper = compared.pairs[1]
    assert compared.goal == "minimize" and paper.comparison is not None
    assert [g > 0 for g in paper.comparison.gains] == [
        b < a for a, b in zip(paper.comparison.others, paper.comparison.ones, strict=True)
    ]
    undirected = sweeps.compare("first", "second", folder / "store", metric="gradient.data.rms")
    assert (undirected.goal, undirected.sweeps[0].best) == ("", None)
    assert "means are geometric, gains ratios of B to A" in " ".join(comparison_text(undirected).split())
    undirected = sweeps.compare("first", "second", folder / "store", metric="gradient.data.vanished")
    assert "(gains are positive where B is higher)" in " ".join(comparison_text(undirected).split())


def test_other_epochs_and_their_own_best(folder: Path) -> None:
    compared = sweeps.compare("first", "longer", folder / "store")
    assert compared.differences == (("base.epochs", "1", "2"),)
    assert [pair.name for pair in compared.pairs] == ["plain", "paper", "only-first"]
    assert not any(pair.same_bits for pair in compared.pairs)
    for standing in compared.sweeps:
        best = sweeps.report(standing.name, folder / "store").best
        assert standing.best == best and standing.states == {"complete": 5}


def test_without_common_seeds_it_says_so(folder: Path) -> None:
    compared = sweeps.compare("first", "elsewhere", folder / "store")
    assert {pair.reason for pair in compared.pairs} == {"the two sweeps trained it on no common seed"}
    assert {pair.answer for pair in compared.pairs} == {None}
    assert compared.differences == (("seeds", "0 to 5", "11 to 12"),)
    assert "`plain`: the two sweeps trained it on no common seed." in comparison_text(compared)


def test_the_command_fits_80_columns(say: Say) -> None:
    status, out, err = say("compare", "first", "second")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert lines[0] == "A: first: 5 configurations (5 complete)"
    assert lines[2] == "B: second: 5 configurations (5 complete)"
    assert "validation.accuracy after the last epoch (higher is better), paired over 6 seeds" in out
    (plain,) = [line.split() for line in lines if line.startswith("plain")]
    assert (plain[-1], plain[3]) == ("equal", "+0")
    assert "Equal to the bit on 6 seeds: `plain`, `only-first/alpha=4`, `alpha=0.5`." in lines
    assert "Only in A: `alpha=1.5`." in lines
    assert "Only in B: `its-own`." in lines


def test_json_is_what_python_has(say: Say, folder: Path) -> None:
    status, out, _ = say("compare", "first", "second", "--json")
    document = json.loads(out)
    compared = sweeps.compare("first", "second", folder / "store")
    assert status == 0
    assert [pair["answer"] for pair in document["pairs"]] == [pair.answer for pair in compared.pairs]
    assert document["pairs"][0]["comparison"]["gains"] == [0.0] * 6
    assert [sweep["name"] for sweep in document["sweeps"]] == ["first", "second"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["first", "nobody"], "there is no sweep named 'nobody'"),
        (["first", "first"], "a comparison needs two sweeps, but got 'first' twice"),
        (["first", "second", "--metric", "train.los"], "--metric train.los: not a metric that both sweeps have"),
        (["first", "Not A Name"], "there is no sweep 'Not A Name'"),
    ],
)
def test_a_wrong_request_is_one_line(say: Say, words: list[str], says: str) -> None:
    status, out, err = say("compare", *words)
    assert (status, out) == (2, "")
    assert says in err and len(err.splitlines()) == 1


def test_in_python_they_may_be_of_two_stores(folder: Path, images: str, tmp_path: Path) -> None:
    again = sweeps.run(folder / "first.yaml", store=tmp_path / "store", executor="in-process")
    compared = sweeps.compare(sweeps.report("first", folder / "store"), again)
    assert all(pair.same_bits for pair in compared.pairs) and len(compared.pairs) == 5
    assert (compared.differences, compared.alone) == ((), ((), ()))
    with pytest.raises(RequestError, match="twice"):
        sweeps.compare(again, "first", tmp_path / "store")
    with pytest.raises(SearchError, match="no sweep named 'second'"):
        sweeps.compare(again, "second", tmp_path / "store")
