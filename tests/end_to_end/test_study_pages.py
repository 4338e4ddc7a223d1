"""The pages of studies: each is made of the study's own records, in small, by the command that makes the real one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sweeps
from docs.build.studies.page import STUDIES, small, write_page
from sweeps.plan import plan_of
from sweeps.spec.reading import read
from tracking import load
from trainers.errors import RequestError
from trainers.theory.born_dead import born_dead_bounds

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_has_its_page_and_can_be_made_small(name: str) -> None:
    assert f"[`{name}`](studies/{name}.md)" in (ROOT / "docs" / "studies.md").read_text()
    page = (ROOT / "docs" / "studies" / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    study, in_small = read(name), read(name, small(name))
    assert in_small.name == study.name and plan_of(in_small)["members"] < plan_of(study)["members"]
    for claim in study.claims:
        assert claim.says and claim.says in page, "the page is of another study than the one that ships"


def test_a_page_has_the_numbers_of_the_records_and_of_the_theory(tmp_path: Path) -> None:
    settings = ["seeds=2", "search.space.units=[2]", "search.space.dense=[1, 4]", "resources.concurrent=1"]
    result = sweeps.run("born-dead", store=tmp_path / "store", executor="in-process", set=settings)
    text = write_page("born-dead", tmp_path / "store", tmp_path / "docs").read_text()
    assert "![" in text and (tmp_path / "docs" / "born-dead.svg").read_text().startswith("<?xml")
    shares = load("born-dead", tmp_path / "store").groupby(["units", "dense", "input"])["signal.born_dead"].mean()
    for depth in (1, 4):
        expected = (shares[2, depth, "standardized"], shares[2, depth, "unit"], *born_dead_bounds(2, depth))
        assert f"| 2 | {depth} | {' | '.join(f'{value:.3f}' for value in expected)} |" in text
    for claim in result.verdict.claims:
        assert f"> {claim.says}\n\n{claim.sentence}\n" in text


def test_a_study_that_is_not_there_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="the study alpha-depth is not finished there"):
        write_page("alpha-depth", tmp_path / "nothing", tmp_path / "docs")


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_in_small_to_its_page(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "docs.build.studies", "--small", "--store", str(tmp_path), name]
    for _ in range(2):  # the second time it is all there
        printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    page = Path(printed.strip())
    text = page.read_text()
    assert (page.parent / f"{name}.svg").read_text().startswith("<?xml")
    assert f"]({name}.svg)" in text
    for claim in read(name).claims:
        assert claim.says and f"> {claim.says}" in text
    assert str(tmp_path) not in text, "the page names a folder of the machine"
