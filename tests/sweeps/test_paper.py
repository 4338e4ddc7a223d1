"""The pages about the paper: made from records, which are as good as the stores that they are of."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.build.paper import records
from docs.build.paper.headlines import HEADLINES, Reading
from docs.build.paper.page import NOT_RUN, Answered, in_short, overview, pages, write_pages
from docs.build.paper.quotes import PLACEHOLDER, Records, filled, sweeps_in
from docs.build.paper.stages import STAGES, SWEEPS, Less, spec_of
from sweeps.cli import _status
from sweeps.driver.status import stored_spec
from sweeps.driver.sweep import verdict_of
from sweeps.spec.reading import read
from tracking.results import load_wide
from tracking.store import Store
from trainers.errors import RequestError

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Digits that a note may have outside of its placeholders: the numbers of figures, tables, theorems, seeds and batches,
# the settings, the names of norms, types and layers, and what is code or a link.
ALLOWED = re.compile(
    r"(?:[Ff]igures?|[Tt]ables?|[Tt]heorems?|[Ss]ections?|[Bb]atch sizes?|seeds?) \d+(?:\.\d+)*(?:,? (?:and|to) \d+)*"
    r"|alpha = [1248]|\b0\.0[12]\b|\b0\.1\b|\b1e-\d+|CIFAR-10|[Ll][12]\b|\[0, 1\]|\[0, 255\]|float32|float64"
    r"|(?:above|below) 1\b|(?:conv|dense)\d|`[^`]*`|\]\([^)]*\)"
)


@pytest.fixture(scope="module")
def made(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder docs with the record of a small figure-1, whose store lies beside it."""
    folder = tmp_path_factory.mktemp("paper")
    settings = [f"base.data={images}", "base.epochs=3", "seeds=[50, 51, 52]", "name=figure-1"]
    words = [word for setting in settings for word in ("--set", setting)]
    assert _status(["run", "figure-1", "--store", str(folder / "store"), "--executor", "in-process", *words]) == 0
    records.save("figure-1", Store.at(folder / "store"), folder / "docs" / "records")
    return folder


@pytest.fixture
def docs(made: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    return Path(shutil.copytree(made / "docs", tmp_path / "docs"))


def test_a_record_gives_the_verdict_of_the_store(made: Path) -> None:
    store = Store.at(made / "store")
    kept = records.load("figure-1", made / "docs" / "records")
    expected = verdict_of(stored_spec("figure-1", store), store)
    assert kept.verdict.claims == expected.claims, "the claims are judged on other numbers"
    assert kept.verdict.objectives == expected.objectives
    for ours, theirs in zip(kept.verdict.gradients, expected.gradients, strict=True):
        assert (ours.configuration, ours.epoch) == (theirs.configuration, theirs.epoch)
        numbers = [[value for value in vars(of).values() if not isinstance(value, str)] for of in (ours, theirs)]
        assert numbers[0] == pytest.approx(numbers[1], rel=2e-4)


def test_a_record_has_the_table_to_four_digits(made: Path) -> None:
    kept, frame = records.load("figure-1", made / "docs" / "records").frame, load_wide("figure-1", made / "store")
    assert kept.data.unique().tolist() == ["folder:images"]
    for column in kept.columns.drop("data"):
        of = frame["epoch"].isin([0, 1, 2, 3]) if column.startswith("layer.") else frame["epoch"] >= 0
        if pd.api.types.is_numeric_dtype(frame[column]):
            np.testing.assert_allclose(kept[column][of], frame[column][of].astype(float), rtol=2e-4)
        else:
            assert kept[column].tolist() == frame[column].tolist()
    for claim in read("figure-1").judged_claims():
        of = frame["epoch"].between(claim.since or 0, claim.until or 3)
        assert kept[claim.metric][of].equals(frame[claim.metric][of])


def test_a_record_names_no_folder_of_the_machine(made: Path, images: str) -> None:
    folder = made / "docs" / "records"
    assert sorted(file.name for file in folder.iterdir()) == ["figure-1.json", "figure-1.parquet"]
    for file in folder.iterdir():
        for path in (images.removeprefix("folder:"), str(made)):
            assert path.encode() not in file.read_bytes()
    table = pq.read_table(folder / "figure-1.parquet")
    texts = [str(v) for name in table.column_names for v in table[name].to_pylist()] + [str(table.schema.metadata)]
    assert not any("/" in text for text in texts)
    about = json.loads((folder / "figure-1.json").read_text())
    assert about["spec"]["base"]["data"] == "folder:images" and list(about["digests"]) == ["folder:images"]
    assert about["study"] == "figure-1" and about["minutes"] is not None and about["versions"]["python"]


def test_what_is_no_finished_sweep_has_no_record(made: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="the sweep figure-2 is not finished"):
        records.save("figure-2", Store.at(made / "store"), tmp_path)
    with pytest.raises(RequestError, match="there is no record of the sweep figure-2"):
        records.load("figure-2", tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_record_of_another_format_is_refused(docs: Path) -> None:
    file = docs / "records" / "figure-1.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": records.FORMAT + 1}))
    with pytest.raises(RequestError, match="a record of format"):
        records.load("figure-1", docs / "records")


@given(st.lists(st.floats(width=32), min_size=1))
def test_a_rounded_number_is_near_and_rounding_it_again_changes_nothing(values: list[float]) -> None:
    rounded = records._rounded(pd.Series(values, dtype=np.float64))
    assert rounded.dtype == np.float32 and records._rounded(rounded).equals(rounded)
    normal = [v for v in values if abs(v) > 2e-38 and abs(v) < 3e38]
    near = [r for r, v in zip(rounded.tolist(), values, strict=True) if abs(v) > 2e-38 and abs(v) < 3e38]
    np.testing.assert_allclose(near, normal, rtol=2.0**-13)
    assert [v != v for v in values] == rounded.isna().tolist()


def test_every_stage_has_studies_that_can_be_planned() -> None:
    less = Less("digits")
    for planned in SWEEPS.values():
        if planned.written:
            spec = spec_of(planned, less)
            assert spec.name == planned.name
            assert not set(spec.seeds) & set(spec.fresh_seeds)
            assert min((*spec.seeds, *spec.fresh_seeds)) >= planned.first_seed, "on seeds that were looked at before"
    assert len(SWEEPS) == sum(map(len, STAGES.values())), "two sweeps of one name"


def test_what_the_paper_says_is_on_the_page() -> None:
    tested = {(reading.sweep, claim) for h in HEADLINES for reading in h.readings for claim in reading.claims}
    for planned in SWEEPS.values():
        if planned.written:
            claims = {claim.name: claim.says for claim in read(planned.of).judged_claims()}
            assert {claim for sweep, claim in tested if sweep == planned.name} <= claims.keys(), planned.name
            said = {name for name, says in claims.items() if not re.search("not sa(id|y)", says)}
            missing = said - {claim for sweep, claim in tested if sweep == planned.name}
            assert not missing, f"{planned.name}: {missing} are on no line of paper.md"
    assert {sweep for sweep, _ in tested} <= SWEEPS.keys()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["holds", "holds"], "**holds**"),
        (["holds", NOT_RUN], "**holds** (a)"),
        (["undecided", "undecided"], "**undecided**"),
        (["holds", "undecided"], "**holds** (a); **undecided** (b)"),
        (["does not hold", "undecided"], "**does not hold** (a); **undecided** (b)"),
        (["does not hold", "holds"], "depends on the reading: **holds** (b); **does not hold** (a)"),
        ([NOT_RUN, NOT_RUN], NOT_RUN),
    ],
)
def test_readings_in_short(answers: list[str], expected: str) -> None:
    assert in_short([Answered(Reading(n, "", ()), a) for n, a in zip("ab", answers, strict=True)]) == expected


def test_the_pages_have_the_papers_words_figures_and_verdicts(docs: Path, tmp_path: Path) -> None:
    for file in [*(docs / "records").iterdir()]:  # a stage of two sweeps, of which one has been run
        file.rename(file.with_stem("figure-1-steps"))
    about = docs / "records" / "figure-1-steps.json"
    about.write_text(about.read_text().replace('"name": "figure-1"', '"name": "figure-1-steps"'))
    notes = docs / "notes" / "paper"
    notes.mkdir(parents=True)
    (notes / "figure-1-steps.md").write_text("Seen by a person on {seeds figure-1-steps} seeds.\n")
    (notes / "figure-3-steps.md").write_text("Seen on {seeds figure-3-steps} seeds.\n")
    written = write_pages(docs, theory=False)
    assert written == [docs / "paper.md", docs / "paper" / "equal-steps.md"]
    text = (docs / "paper" / "equal-steps.md").read_text()
    assert "Seen by a person on 3 seeds." in text and "## figure-3-steps\n\nNot run yet." in text
    assert (docs / "paper" / "figure-1-steps.svg").read_text().startswith("<?xml") and "](figure-1-steps.svg)" in text
    for claim in records.load("figure-1-steps", docs / "records").verdict.claims:
        assert f"### figure-1-steps: {claim.name}\n\n> {claim.says}\n\n{claim.sentence}\n" in text
    assert "| 3 (50 to 52) |" in text and "a folder of images, sha256 " in text
    front = (docs / "paper.md").read_text()
    assert "](paper/equal-steps.md#figure-1-steps-similar-at-first)" in front
    assert "[equal-steps](paper/equal-steps.md) (in part)" in front and "Not run yet: figure-1, figure-2" in front
    assert str(tmp_path) not in text + front, "a page names a folder of the machine"


def test_a_changed_record_changes_the_pages(docs: Path) -> None:
    notes = docs / "notes" / "paper"
    notes.mkdir(parents=True)
    (notes / "figure-1.md").write_text("It is {mean figure-1 plain train.loss 1:.6g}.\n")
    before = pages(docs)
    assert pages(docs) == before
    for column in ("validation.accuracy", "train.loss"):
        file = docs / "records" / "figure-1.parquet"
        table = pq.read_table(file).to_pandas()
        table.loc[1, column] = table.loc[1, column] * 1.5
        table.to_parquet(file, index=False)
        after = pages(docs)
        assert after != before
        before = after


def test_a_placeholder_gives_the_number_of_the_records(made: Path) -> None:
    of = Records(made / "docs" / "records")
    frame = load_wide("figure-1", made / "store")
    plain, l2 = (frame[frame["arm"] == arm].set_index(["epoch", "seed"]).sort_index() for arm in ("plain", "l2"))
    (claim,) = (c for c in of["figure-1"].verdict.claims if c.name == "similar-at-first")
    assert claim.comparison
    expected = {
        "seeds figure-1": "3",
        "epochs figure-1": "3",
        "gain figure-1 similar-at-first:.5f": f"{claim.comparison.gain:.5f}",
        "pairs figure-1 similar-at-first": "3",
        "mean figure-1 l2 validation.accuracy last": f"{l2.loc[3, 'validation.accuracy'].mean():.0%}",
        "mean figure-1 l2 validation.accuracy 1-3:.4f": f"{l2.loc[1:, 'validation.accuracy'].mean():.4f}",
        "max figure-1 plain gradient.total.max_abs 1:.6g": f"{plain.loc[1, 'gradient.total.max_abs'].max():.6g}",
        "above figure-1 plain validation.accuracy 0 -1": "3",
        "first-above figure-1 plain validation.accuracy -1": "0",
        "ratio figure-1 plain plain validation.loss last": "1",
        "median figure-1 plain layer.dense1.saturated 0:.2f": f"{plain.loc[0, 'layer.dense1.saturated'].median():.2f}",
    }
    for placeholder, number in expected.items():
        assert filled(f"so {{{placeholder}}}.", of) == f"so {number}."
    assert sweeps_in("{seeds a} and {mean b plain x last} and {seeds a}") == ["a", "b"]


@pytest.mark.parametrize(
    ("placeholder", "message"),
    [
        ("{__import__ os}", "the functions are gain, "),
        ("{mean figure-1 l2}", "mean takes SWEEP ARM METRIC EPOCHS"),
        ("{mean figure-9 l2 train.loss last}", "there is no record of the sweep figure-9"),
        ("{mean figure-1 l3 train.loss last}", "no configuration 'l3'"),
        ("{mean figure-1 l2 train.lost last}", "no metric 'train.lost'"),
        ("{mean figure-1 l2 train.loss 99}", "has train.loss of l2 not at every one of the epochs 99"),
        ("{mean figure-1 l2 train.loss first}", "epochs are a number"),
        ("{gain figure-1 improves}", "no claim 'improves'"),
        ("{seeds figure-1:q}", "Unknown format code"),
    ],
)
def test_a_placeholder_that_the_records_can_not_fill_is_refused(placeholder: str, message: str, made: Path) -> None:
    with pytest.raises(RequestError, match=re.escape(placeholder)) as refused:
        filled(f"so {placeholder}.", Records(made / "docs" / "records"))
    assert message in str(refused.value)


def test_the_committed_pages_are_those_of_the_committed_records() -> None:
    for file, text in pages(DOCS).items():
        assert file.read_text() == text, f"{file.name} is not what `make paper` makes of docs/records"
        assert all((file.parent / image).is_file() for image in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text))


def test_the_page_is_one_screen() -> None:
    assert len(overview(Records(DOCS / "records"), DOCS / "notes" / "paper").splitlines()) <= 60


def test_the_records_are_small() -> None:
    for file in (DOCS / "records").glob("*"):
        assert file.stat().st_size < 400_000, f"{file.name} is large"


@pytest.mark.parametrize("file", sorted((DOCS / "notes").rglob("*.md")), ids=lambda file: file.name)
def test_a_note_has_no_number_of_its_own(file: Path) -> None:
    bare = ALLOWED.sub("", PLACEHOLDER.sub("", file.read_text()))
    assert not re.search(r"\d", bare), f"a number that is not from the records: {re.findall(r'.{30}[0-9].{9}', bare)}"


def test_links_within_the_pages_lead_somewhere() -> None:
    for page in [DOCS / "paper.md", *(DOCS / "paper").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).is_file(), f"{page.name}: {link}"


def _made(*words: str) -> str:
    command = [sys.executable, "-m", "docs.build.paper", *words]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_the_stages_are_listed_with_what_is_done(docs: Path) -> None:
    lines = _made("--list", "--data", "digits", "--out", str(docs), "figure-1", "inputs").splitlines()
    assert [re.split(r"\s{2,}", line.strip())[-1] for line in lines[1:]] == ["done", *["not run yet"] * 3]


@pytest.mark.slow
def test_make_paper_runs_a_stage_and_records_it(images: str, tmp_path: Path) -> None:
    words = ["strength", "--data", images, "--epochs=1", "--seeds=2", "--first-seed=3"]
    words += ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "docs")]
    for _ in range(2):  # the second time it is all there, without the stores
        _made(*words)
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
    assert (tmp_path / "docs" / "paper" / "strength.md").read_text().count("| 2 (3 to 4) |") == 1
    assert "[strength](paper/strength.md)" in (tmp_path / "docs" / "paper.md").read_text()
    assert not (tmp_path / "store").exists()
