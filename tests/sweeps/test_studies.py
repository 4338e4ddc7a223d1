"""The studies that ship: each can be decided, and runs in small from its spec to its report."""

from __future__ import annotations

from pathlib import Path

import pytest

import sweeps
from sweeps.spec.checks import doubts
from sweeps.spec.reading import read, studies
from tracking.verdict.comparisons import SECONDS
from tracking.verdict.statistics import LEVEL, least_p
from trainers.engines import resolve

EPOCHS = 2  # too few for the pruners of the studies to end anything
SMALL = [f"base.epochs={EPOCHS}", "base.batch_size=8", "seeds=2", "resources.concurrent=1"]


@pytest.mark.parametrize("name", studies())
def test_a_study_has_the_pairs_that_its_claims_need(name: str) -> None:
    spec = read(name)
    claims = spec.judged_claims()
    seeds = spec.fresh_seeds if spec.confirm else spec.seeds
    assert doubts(spec) == []
    for claim in claims:
        # seconds are compared epoch by epoch
        pairs = int(spec.base["epochs"]) if claim.metric == SECONDS else len(seeds)
        assert least_p(pairs, len(claims)) <= LEVEL, claim.name


@pytest.mark.parametrize("name", ["table-4"])
def test_seconds_are_compared_on_one_engine(name: str) -> None:
    spec = read(name)
    assert SECONDS in {claim.metric for claim in spec.judged_claims()}
    assert len({resolve(spec.members(arm)[0]).engine for arm in spec.arms.values()}) == 1


def test_the_page_about_the_studies_has_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    assert [name for name in studies() if f"| `{name}` |" not in page and f"| [`{name}`](" not in page] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", studies())
def test_a_study_runs_in_small_to_its_report(name: str, images: str, tmp_path: Path) -> None:
    settings, spec = [f"base.data={images}", *SMALL], read(name)
    settings += ["search.configurations=2"] * bool(spec.search)
    settings += ["confirm.top=1", "confirm.seeds=[100, 101]"] * bool(spec.confirm)
    result = sweeps.run(name, store=tmp_path / "store", executor="in-process", set=settings)
    assert result.verdict.states == {"complete": result.verdict.total}
    claims = result.spec.judged_claims()
    assert len(result.verdict.claims) == len(claims) > 0
    for claim, answer in zip(claims, result.verdict.claims, strict=True):
        # Whatever a claim names was recorded and compared, but where it is about epochs that are not trained here.
        assert (answer.comparison is None) == ((claim.since or 0) > EPOCHS), answer.sentence
        assert answer.question in result.verdict.markdown
    assert result.figures and all(figure.svg.lstrip().startswith("<") for figure in result.figures.values())
