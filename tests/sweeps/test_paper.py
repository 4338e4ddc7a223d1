"""The page about the paper, made from sweeps of its own studies on very small data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docs.build.paper import STUDIES, sweep_name
from docs.build.paper_page import _claim, write_page
from sweeps.cli import _status
from tests.tracking.tables import table
from tracking.verdict.claims import Claim
from tracking.verdict.verdict import ClaimVerdict, judge
from trainers.errors import RequestError


def run(study: str, name: str, store: Path, images: str, *more: str) -> None:
    settings = ["--set", f"base.data={images}", "--set", "base.epochs=1", "--set", "seeds=2", *more]
    assert _status(["run", study, "--name", name, "--store", str(store), "--executor", "in-process", *settings]) == 0


def test_each_claim_has_the_papers_words_a_figure_and_a_verdict_for_each_batch_size(
    images: str, tmp_path: Path
) -> None:
    store, other, out = tmp_path / "store", tmp_path / "other", tmp_path / "docs"
    run("figure-1", "figure-1", store, images)
    run("figure-1", "figure-1-128", other, images, "--set", "base.batch_size=128")
    (out / "notes").mkdir(parents=True)
    (out / "notes" / "figure-1.md").write_text("Seen by a person.\n")
    page = write_page([store, other], out)
    assert page == out / "paper.md"
    text = page.read_text()
    section = text[text.index("## figure-1\n") : text.index("## The theorems")]
    assert "| 2 (0 to 1) |" in text
    assert "> " in section and "Seen by a person." in section
    for batch_size, name in ((32, "figure-1"), (128, "figure-1-128")):
        assert f"- Batch size {batch_size}: Is " in section
        assert f"](figures/{name}.svg)" in section
        assert (out / "figures" / f"{name}.svg").read_text().startswith("<?xml")
    assert "## figure-2" not in text and "figure-2-128" not in text
    assert "Counter-examples" in text
    assert str(tmp_path) not in text, "the page names a folder of the machine"


def verdict_on(plain: list[float]) -> ClaimVerdict:
    frame, ended = table({"plain": plain, "paper": [p + 0.1 if plain[0] < 0.5 else p for p in plain]})
    return judge(frame, ended, [], [Claim("better", "paper", "plain", "validation.accuracy")]).claims[0]


def test_the_batch_size_has_no_credit_for_what_the_number_of_seeds_does() -> None:
    low, high = [0.1 + seed / 1000 for seed in range(8)], [0.6 + seed / 1000 for seed in range(8)]
    ends = [list(_claim([(32, verdict_on(low)), (128, verdict_on(other))]))[-1] for other in (low[:7], low[:5], high)]
    assert ends[0].startswith("- Batch size 32: ")
    assert ends[1:] == ["The answers differ, and 5 seeds decide less than 8.", "The batch size changes the answer."]


def test_a_store_without_the_studies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="none of the studies figure-1"):
        write_page([tmp_path / "nothing"], tmp_path / "docs")


@pytest.mark.slow
def test_make_paper_runs_every_study_at_both_batch_sizes(images: str, tmp_path: Path) -> None:
    words = ["--data", images, "--epochs=1", "--seeds=2", "--first-seed=3"]
    words += ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "docs")]
    for _ in range(2):  # the second time it is all there
        subprocess.run([sys.executable, "-m", "docs.build.paper", *words], cwd=Path(__file__).parents[2], check=True)
    text = (tmp_path / "docs" / "paper.md").read_text()
    assert text.count("| 2 (3 to 4) |") == 2 * len(STUDIES)
    for study in STUDIES:
        assert f"figures/{sweep_name(study, 32)}.svg" in text
        assert f"figures/{sweep_name(study, 128)}.svg" in text
