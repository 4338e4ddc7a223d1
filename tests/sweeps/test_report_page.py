"""`report --html` and the artifacts of a sweep that was really run; tests/tracking/figures has what is drawn."""

from __future__ import annotations

import json
import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps import report_page
from sweeps.cli import _status

SPEC = """\
name: drawn
question: Is <it> so?
base: {{init_scale: 1.0, data: "{images}", epochs: 1, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
  paper: {{alpha: 2.0, r: 0.01}}
search:
  space:
    alpha: {{low: 0.5, high: 8.0, log: true}}
    r: {{low: 1.0e-5, high: 1.0, log: true}}
    activation: [tanh, relu]
  sampler: {{name: random, seed: 0}}
  configurations: 12
claim: paper
"""
FIGURES = ["accuracy-and-gradients", "seeds", "layers", "saturation", "surface", "importance", "parallel"]
CHARTS = ["curves", "seeds", "layers", "distribution", "saturation", "surface", "importance", "parallel", "slices"]
CHARTS += ["history", "timeline"]

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "drawn.yaml").write_text(SPEC.format(images=images))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert _status(["run", "drawn.yaml", "--executor", "in-process"]) == 0
    return folder


@pytest.fixture
def say(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.chdir(folder)

    def say(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = _status(list(words))
        return (status, *capsys.readouterr())

    return say


def test_the_report_is_one_file(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("before")
    status, out, err = say("report", "drawn", "--html", str(file), "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    same = "no two complete configurations differ in depth"
    left_out = {"Gradient by layer and depth": same, "Depth": same, "Pareto front": "there is one objective"}
    assert found == {"file": str(file), "bytes": file.stat().st_size, "figures": CHARTS, "left_out": left_out}
    text = file.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>") and "Is &lt;it&gt; so?" in text and "This sweep is running" not in text
    assert [f.name for f in tmp_path.iterdir()] == ["report.html"]
    status, out, _ = say("report", "drawn", "--html", str(file))
    assert (status, out.count("\n")) == (0, 1) and "the verdict with 11 figures" in out


def test_a_place_that_can_not_be_written_is_one_line(say: Say, tmp_path: Path) -> None:
    status, out, err = say("report", "drawn", "--html", str(tmp_path / "no" / "report.html"))
    assert (status, out, err.count("\n")) == (2, "", 1) and f"there is no folder {tmp_path / 'no'}" in err
    status, out, err = say("report", "drawn", "--html", str(tmp_path))
    assert (status, out, err.count("\n")) == (2, "", 1) and "can't be written: it is a folder" in err
    status, _, err = say("report", "other", "--html", str(tmp_path / "report.html"))
    assert (status, err.count("\n")) == (2, 1) and "other" in err
    assert list(tmp_path.iterdir()) == []


def test_the_figures_are_files_for_a_paper(say: Say, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "figures"
    status, out, err = say("report", "drawn", "--figures", str(folder), "--json")
    assert (status, err) == (0, "")
    written = json.loads(out)
    assert written["folder"] == str(folder) and written["figures"] == FIGURES and "Depth" in written["left_out"]
    assert written["files"] == [str(folder / f"{name}.svg") for name in FIGURES]
    assert sorted(map(str, folder.iterdir())) == sorted(written["files"])
    before = {file: file.read_text() for file in folder.iterdir()}
    assert all(ElementTree.fromstring(text).tag.endswith("svg") for text in before.values())
    # Drawn anew over themselves, but over nothing else.
    status, out, _ = say("report", "drawn", "--figures", str(folder))
    assert status == 0 and f"wrote 7 figures to {folder}: accuracy-and-gradients, seeds, " in out
    assert {file: file.read_text() for file in folder.iterdir()} == before
    (folder / "seeds.svg").write_text("<svg>mine</svg>")
    (folder / "layers.svg").unlink()
    status, out, err = say("report", "drawn", "--figures", str(folder))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{folder / 'seeds.svg'} is there and was not drawn by gradsweep" in err
    assert (folder / "seeds.svg").read_text() == "<svg>mine</svg>" and not (folder / "layers.svg").exists()


def test_a_folder_for_figures_is_no_file(say: Say, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    for folder in (tmp_path / "mine", tmp_path / "mine" / "within"):
        status, out, err = say("report", "drawn", "--figures", str(folder))
        assert (status, out, err.count("\n")) == (2, "", 1) and str(folder) in err
    assert (tmp_path / "mine").read_text() == "text"


def test_the_run_in_mlflow_has_the_page_and_the_figures(folder: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'gradsweep-store' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("drawn")
    (run,) = [r for r in client.search_runs([experiment.experiment_id]) if "mlflow.parentRunId" not in r.data.tags]
    assert {"report.html", "figures"} < {f.path for f in client.list_artifacts(run.info.run_id)}
    drawn = {f.path for f in client.list_artifacts(run.info.run_id, "figures")}
    assert drawn == {f"figures/{name}.svg" for name in FIGURES}
    page = Path(client.download_artifacts(run.info.run_id, "report.html")).read_text(encoding="utf-8")
    assert "paper-better-than-plain" in page and "This sweep is running" not in page


def test_a_sweep_does_not_fail_for_want_of_a_picture(
    say: Say, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(report_page, "make_report", broken)
    changes = [w for change in ("name=undrawn", "search.configurations=1", "seeds=1") for w in ("--set", change)]
    with caplog.at_level(logging.WARNING):
        status, out, _ = say("run", "drawn.yaml", "--executor", "in-process", *changes)
    assert status == 0 and "paper" in out
    assert "the figures of undrawn could not be made: RuntimeError: no ink" in caplog.messages
