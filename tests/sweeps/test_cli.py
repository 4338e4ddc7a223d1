"""The commands in this process: what they print where, and their exit statuses. tests/end_to_end has the real ones."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli import _status
from sweeps.commands.text import table
from sweeps.driver import sweep as service
from sweeps.driver.driver import Driver
from tracking.ledger import Ledger
from tracking.store import Store
from tracking.types import Sweep
from trainers.activations import ACTIVATIONS
from trainers.errors import FailedError, TargetError
from trainers.layers import parameter_count
from trainers.measurements import MEASUREMENTS
from trainers.members import FIELDS
from trainers.metrics import names
from trainers.regimes import network

SPEC = """\
name: first
question: Does it run?
base: {{init_scale: 1.0, data: "{images}", epochs: 2, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
  paper: {{alpha: 2.0, r: 0.01}}
claim: paper
"""

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, and the store of a finished sweep of it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "first.yaml").write_text(SPEC.format(images=images))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert _status(["run", "first.yaml", "--executor", "in-process"]) == 0
    return folder


@pytest.fixture
def say(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command there; its exit status, standard output and standard error."""
    monkeypatch.chdir(folder)

    def say(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = _status(list(words))
        return (status, *capsys.readouterr())

    return say


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "first.yaml"], "--resume"),
        (["run", "first.yaml", "--resume", "--set", "base.epochs=1"], "a different base.epochs"),
        (
            ["run", "first.yaml", "--resume", "--set", "arms.plain.r=0.5", "--set", "seeds=1"],
            "a different seeds, arms.plain.r",
        ),
        (["run", "first.yaml", "--name", "Not A Name"], "name"),
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "first.yaml", "--name", "x", "--set", "base.data=folder:/nowhere"], "/nowhere"),
        (["run", "first.yaml", "--executor", "none"], "in-process"),
        (["run", "first.yaml", "--store", "postgresql://here"], "postgresql://here"),
        (["plan", "first.yaml", "--set", "base.epochs=none"], "base.epochs"),
        *(
            ([*words[:1], "second", *words[1:]], "there is no sweep ")
            for words in (
                ["status"],
                ["logs"],
                ["stop"],
                ["resume"],
                ["report"],
                ["export", "x.csv"],
                ["audit"],
                ["sync"],
            )
        ),
        (["status", "second"], "/gradsweep-store: there is first"),
        (["status", "first", "--store", "typo"], "/typo: there is no such folder"),
        (["export", "first", "all.txt"], ".parquet or .csv"),
        (["export", "first", "/nowhere/all.csv"], "/nowhere/all.csv"),
        (["studies", "second"], "quickstart"),
        (["regimes", "second"], "combined"),
        (["ui", "--port", "99999"], "99999"),
        (["ui", "--store", "empty"], "no sweep in /"),
        (["nonsense"], "nonsense"),
        (["plan"], "SPEC"),
    ],
)
def test_a_wrong_request_is_one_line_and_changes_nothing(say: Say, words: list[str], says: str) -> None:
    status, out, err = say(*words)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("gradsweep: ")
    assert says in line
    assert [s["name"] for s in json.loads(say("list", "--json")[1])] == ["first"]
    assert not Path("empty").exists()


def test_without_a_command_there_is_help(say: Say) -> None:
    status, out, err = say()
    assert (status, err) == (0, "") and out == say("--help")[1] and "  status " in out
    assert re.fullmatch(r"gradsweep \d+\.\d+\.\d+\n", say("--version")[1])


def test_every_mistake_in_a_spec_has_its_line(say: Say, folder: Path) -> None:
    status, out, err = say("plan", "first.yaml", "--set", "base.epochs=none", "--set", "sedes=3")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 2
    assert all(line.startswith("gradsweep: ") for line in err.splitlines())


@pytest.mark.parametrize("words", [["plan"], ["run", "--executor", "in-process", "--name", "late"]])
def test_a_claim_that_can_not_be_decided_is_warned_of(
    say: Say, words: list[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    claims = "claims=[{better: paper, than: plain, since: 50}]"
    store = ["--store", str(tmp_path)] if "run" in words else []
    assert say(words[0], "first.yaml", "--set", claims, *words[1:], *store)[0] == 0
    warned = "is about epochs from 50 on, but paper has 2: it will be undecided"
    late, few = (message for message in caplog.messages if "claim " in message)
    assert warned in late
    assert few == "With 2 seeds the claim cannot be decided: it takes at least 6 seeds."


def test_the_report_of_a_stopped_sweep_does_not_call_it_running(
    say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record, store = Driver.record, ["--store", str(tmp_path)]

    def dying(driver: Driver, report: Any) -> Any:
        if report.epoch:
            raise SystemError("the driver dies")
        return record(driver, report)

    monkeypatch.setattr(Driver, "record", dying)
    words = ["--name", "half", "--executor", "in-process", "--set", "resources.pack=1", *store]
    assert say("run", "first.yaml", *words)[0] == 1
    status = json.loads(say("status", "half", "--json", *store)[1])
    report = json.loads(say("report", "half", "--json", *store)[1])
    assert report["state"] == status["state"] == "failed" and report["total"] == status["total"] == 2
    assert status["detail"] == "SystemError: the driver dies"
    text = say("report", "half", *store)[1]
    assert text.startswith("half has failed; these are the results so far.") and "running" not in text
    assert "half: 1 of 2 configurations (1 unfinished)." in text
    page = tmp_path / "half.html"
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:  # as where the driver is killed
        ledger.execute("UPDATE gradsweep_sweeps SET status = 'running', ended = NULL")
        ledger.commit()
    assert say("report", "half", "--html", str(page), *store)[0] == 0
    said = page.read_text()
    assert "This sweep was stopped before its end: " in said and "1 of 2 configurations (1 unfinished)." in said


def test_an_error_of_ours_is_a_line_too_and_debug_shows_where(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.plan.plan_of", lambda spec: 1 / 0)
    monkeypatch.delenv("GRADSWEEP_DEBUG", raising=False)
    status, _, err = say("plan", "first.yaml")
    assert status == 1
    assert err == "gradsweep: ZeroDivisionError: division by zero (gradsweep --debug COMMAND shows the traceback)\n"
    monkeypatch.setenv("GRADSWEEP_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        say("plan", "first.yaml")


def test_a_report_without_records_says_so(say: Say, tmp_path: Path) -> None:
    with closing(Ledger.create(Store.at(tmp_path).create().ledger_url)) as ledger:
        ledger.begin(Sweep("new", "name: new\narms: {plain: {}}\n"))
    status, out, err = say("report", "new", "--store", str(tmp_path))
    assert (status, err) == (0, "") and "new is stopped" in out and "no configuration is complete" in out


@pytest.mark.parametrize(("columns", "widest"), [("", 163), ("200", 163), ("80", 80), ("20", 69)])
def test_a_table_cuts_no_number_off(monkeypatch: pytest.MonkeyPatch, columns: str, widest: int) -> None:
    if columns:  # a terminal as wide
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("TERM", "xterm")
    searched = " ".join(f"key{i}=0.4212" for i in range(9))
    numbers = ["12", "100", "25", "0.5909", "0.03461", "0.5787", "-0.6031"]
    heads = ["rank#", "epoch#", "seeds#", "mean#", "deviation#", "q25#", "q75#"]
    shown = re.sub(r"\x1b[^m]*m", "", table(["configuration~", *heads], [[searched, *numbers]]))
    assert all(number in shown.split() for number in numbers)
    assert all(word in shown.split() for word in searched.split())
    assert max(map(len, shown.splitlines())) <= widest
    assert len(shown.splitlines()) == 2 or columns in ("80", "20")


def test_an_ending_may_be_in_capitals(say: Say, tmp_path: Path) -> None:
    for file, begins in ((tmp_path / "x.CSV", b"sweep,"), (tmp_path / "x.Parquet", b"PAR1")):
        assert say("export", "first", str(file))[0] == 0
        assert file.read_bytes().startswith(begins)


def test_a_store_without_sweeps_is_named_and_so_is_what_makes_one(say: Say, tmp_path: Path) -> None:
    words = ["list", "--store", str(tmp_path / "typo")]
    assert say(*words) == (
        0,
        f"no sweeps in {tmp_path / 'typo'}, which does not exist yet: "
        f"gradsweep run quickstart --store {tmp_path / 'typo'}\n",
        "",
    )
    (tmp_path / "typo").mkdir()
    assert say(*words)[1].startswith(f"no sweeps in {tmp_path / 'typo'} yet: gradsweep run quickstart --store ")


def test_the_ui_says_that_a_sweep_is_just_starting(say: Say, tmp_path: Path) -> None:
    words = ["ui", "--store", str(tmp_path)]
    with closing(Ledger.create(Store.at(tmp_path).create().ledger_url)) as ledger:
        ledger.begin(Sweep("new", "name: new\narms: {plain: {}}\n"))
    status, _, err = say(*words)
    assert (status, err.count("\n")) == (2, 1) and f"{tmp_path} has just started" in err and "try again" in err
    (tmp_path / "ledger.db").unlink()
    assert say(*words)[2] == (
        f"gradsweep: there is no sweep in {tmp_path} yet: gradsweep run quickstart --store {tmp_path}\n"
    )


def test_that_ray_is_starting_is_said_before_it_takes_its_time(
    say: Say, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(service.EXECUTORS, "ray", "sweeps.ray_that_takes_its_time")
    with caplog.at_level(logging.INFO, "gradsweep"):
        status, out, err = say("run", "first.yaml", "--name", "slow")
    assert (status, out) == (1, "") and "ray_that_takes_its_time" in err
    # besides the doubts about the spec, and MLflow of an earlier test
    said = [m for m in caplog.messages if not m.startswith(("MLflow: ", "With 2 seeds "))]
    assert said[0] == "starting Ray"


def test_the_layers_add_up_to_the_papers_counts(say: Say) -> None:
    (table,) = json.loads(say("regimes", "large-parameters", "--json")[1])
    assert [(r["parameters"], r["paper"]) for r in table["layers"]][-2:] == [(392, 392), (90, 90)]
    assert "separable" in say("regimes", "large-parameters")[1]
    (table,) = json.loads(say("regimes", "resnet", "--json")[1])
    assert table["layers"][1]["kind"] == "3x3 convolution, batch normalization, residual"
    assert sum(layer["parameters"] for layer in table["layers"]) == parameter_count(network("resnet"))


def test_a_study_is_printed_as_it_is_shipped(say: Say, folder: Path) -> None:
    yaml = say("studies", "quickstart")[1]
    (folder / "copy.yaml").write_text(yaml)
    assert say("plan", "copy.yaml", "--json")[1] == say("plan", "quickstart", "--json")[1]


@pytest.mark.parametrize("words", [["--help"], ["plan", "quickstart"]])
def test_nothing_heavy_is_imported_to_answer_at_once(words: list[str]) -> None:
    code = (
        "import sys; from sweeps.cli import _status; status = _status(sys.argv[1:]);"
        "heavy = {'torch', 'ray', 'mlflow', 'pandas', 'scipy', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else status)"
    )
    found = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_a_configuration_that_fails_says_why_and_the_status_is_1(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("trainers.training.layers_of", lambda member, classes: 1 / 0)
    elsewhere = ["--store", str(tmp_path / "store")]
    status, out, _ = say("run", "first.yaml", "--executor", "in-process", "--json", *elsewhere)
    assert status == 1
    assert json.loads(out)["failures"] == {"ZeroDivisionError: division by zero": 2}
    assert caplog.messages[-1] == "2 of 2 configurations failed: ZeroDivisionError: division by zero"
    assert "2: ZeroDivisionError: division by zero" in say("status", "first", *elsewhere)[1]


def test_an_error_on_purpose_keeps_its_exit_status_under_debug(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSWEEP_DEBUG", "1")
    status, out, err = say("plan", "nowhere.yaml")
    assert (status, out) == (2, "")
    assert err.startswith("Traceback") and err.splitlines()[-1].startswith("gradsweep: nowhere.yaml: there is no such")


@pytest.mark.parametrize(("error", "status"), [(FailedError("no luck"), 1), (TargetError("no cluster", 3), 3)])
def test_the_exit_status_is_the_errors(
    say: Say, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(spec: object) -> None:
        raise error

    monkeypatch.setattr("sweeps.plan.plan_of", fail)
    assert say("plan", "first.yaml") == (status, "", f"gradsweep: {error}\n")


def test_every_field_of_a_spec_is_listed_with_a_line(say: Say) -> None:
    entries = json.loads(say("fields", "--json")[1])
    keys = {entry["key"]: entry for entry in entries}
    assert all(entry["line"] and entry["type"] for entry in entries)
    assert set(FIELDS) - {"seed"} == {key.rpartition(".")[2] for key in keys if key.startswith(("base.", "arms.NAME."))}
    assert keys["base.activation"]["choices"] == list(ACTIVATIONS) and keys["base.activation"]["default"] == "tanh"
    assert keys["base.units"]["default"] is None and "the regime's" in say("fields", "units")[1]
    assert keys["objective.goal"]["choices"] == ["maximize", "minimize"]
    assert keys["name"]["needed"] and keys["seeds"]["default"] == 5 and keys["claims.as"]["default"] is None
    assert keys["search.sampler.name"]["choices"][0] == "tpe"
    text = say("fields", "resources")[1]
    assert "resources.pack" in text and "base." not in text
    assert [entry["key"] for entry in json.loads(say("fields", "alpha", "--json")[1])] == ["arms.NAME.alpha"]
    hint = "did you mean epochs? `gradsweep fields` lists them"
    assert say("fields", "epochss") == (2, "", f"gradsweep: a spec has no field 'epochss'; {hint}\n")


def test_every_metric_is_listed_with_a_line(say: Say) -> None:
    entries = json.loads(say("metrics", "--json")[1])
    assert all(entry["line"] for entry in entries)
    always = [entry for entry in entries if not entry["measure"]]
    recorded = {entry["name"] for entry in always if entry["per"] == "network"}
    layers = {entry["name"].removeprefix("layer.NAME.") for entry in always if entry["per"] == "layer"}
    known = names(network("combined", learn_alpha="layer", learn_slope=True))
    assert recorded | {f"layer.dense1.{name}" for name in layers} <= set(known)
    assert {"validation.accuracy", "seconds"} < recorded and "weight_norm" in layers
    assert "weight_norm" in (text := say("metrics", "weight_norm")[1]) and "float32" not in text
    assert "float32" in say("metrics", "gradient.data.rms")[1]
    assert "did you mean train.loss?" in say("metrics", "trian.loss")[2]


def test_metrics_tell_what_a_spec_must_ask_for(say: Say) -> None:
    entries = json.loads(say("metrics", "--json")[1])
    for name, of in MEASUREMENTS.items():
        asked = [entry for entry in entries if entry["measure"] == name]
        assert len(asked) == len(of.network) + len(of.layer)
        assert json.loads(say("metrics", name, "--json")[1]) == asked
        text = say("metrics", name)[1]
        assert f"`measure: [{name}]`" in text and of.line in text
        assert of.line in say("metrics")[1] and of.line in say("fields", "measure")[1]
    (lag,) = (entry for entry in entries if entry["name"] == "layer.stepK.gradient.hidden.rms")
    assert (lag["per"], lag["measure"]) == ("step", "hidden") and "stepK is K steps before" in say("metrics", "hidden")[
        1
    ]
    assert "measure" not in say("metrics", "weight_norm")[1]


def test_export_has_a_row_per_layer(say: Say, tmp_path: Path) -> None:
    rows = {}
    for options in ([], ["--layers"]):
        file = tmp_path / f"{len(options)}.csv"
        rows[len(options)] = json.loads(say("export", "first", str(file), "--json", *options)[1])["rows"]
        assert ("layer" in file.read_text().split("\n")[0].split(",")) == bool(options)
    assert rows[1] == 10 * rows[0]  # the layers with parameters of `combined`


def test_mirrors_are_made_again(say: Say, folder: Path) -> None:
    (folder / "gradsweep-store" / "optuna.db").unlink()
    assert say("sync", "first", "--rebuild")[0] == 0
    assert say("audit", "first")[0] == 0


@pytest.mark.parametrize("debug", ["", "1"])
def test_warnings_of_other_packages_are_for_whoever_looks_for_a_mistake(debug: str) -> None:
    code = "import warnings; from sweeps import cli; cli._status = lambda _: warnings.warn('careful'); cli.main([])"
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, env=os.environ | {"GRADSWEEP_DEBUG": debug}, capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stdout == ""
    assert ("careful" in ended.stderr) if debug else (ended.stderr == "")


def test_a_driver_in_the_background_prints_what_its_user_can_run(
    say: Say, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own commands would name paths of the machine that it runs on; its last line is the verdict."""
    caplog.set_level("INFO", "gradsweep")
    theirs = {word: f"gradsweep {word} theirs" for word in ("resume", "ui", "sync")}
    for word, command in theirs.items():
        monkeypatch.setenv(f"GRADSWEEP_{word.upper()}_COMMAND", command)
    monkeypatch.setattr(service, "PATIENCE_SECONDS", 0.0)
    words = ("run", "first.yaml", "--name", "second", "--executor", "in-process", "--store", "another")
    status, out, err = say(*words, "--set", "tracking.uri=http://127.0.0.1:9")
    assert (status, "gradsweep: the sweep is running" in err) == (0, True)
    last = [line for line in out.splitlines() if line]
    assert last[-2] == f"In the browser (the records are in http://127.0.0.1:9): {theirs['ui']}"
    assert last[-1].startswith(
        "second: 2 configurations (2 complete). validation.accuracy (higher is better): the best"
    )
    assert re.search(r" 2 claims: [^.:]*\.$", last[-1])
    (lag,) = [line for line in caplog.messages if "not in MLflow yet" in line]
    assert lag.endswith(f"to write them: {theirs['sync']}")
    assert str(Path("another").absolute()) not in "\n".join(last + caplog.messages)
    monkeypatch.setenv("GRADSWEEP_MIRROR_SECONDS", "0")
    caplog.clear()
    assert say(*words, "--resume", "--set", "tracking.uri=http://127.0.0.1:9")[0] == 0
    (lag,) = [line for line in caplog.messages if "not in MLflow yet" in line]
    assert lag.endswith("the mirror job delivers them")
