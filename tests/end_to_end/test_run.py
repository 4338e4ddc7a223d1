"""A run with real Ray on the digits, from the command to the verdict, and every command that looks at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from trainers.regimes import REGIMES

SPEC = """\
name: first
question: Does it run?
base: {init_scale: 1.0, data: digits, epochs: 2, batch_size: 1500}
seeds: 2
arms:
  plain: {alpha: 1.0, r: 0.0}
  paper: {alpha: 2.0, r: 0.01}
  wild: {activation: relu, learning_rate: 1.0e+30}
search:
  space:
    r: {low: 1.0e-5, high: 1.0, log: true}
  sampler: {name: tpe, seed: 0}
  configurations: 2
  pruner: {name: threshold, lower: 2.0}
objective: {metric: validation.accuracy, goal: maximize}
claim: paper
resources: {cpus: 1, gpus: 0, pack: 3, concurrent: auto}
"""


@pytest.fixture(scope="module")
def finished(make_command: Callable[[], Any]) -> Any:
    """The store of one run, and what it printed."""
    command = make_command()
    command.document = command.json("run", command.spec("first", SPEC))
    return command


pytestmark = pytest.mark.ray


def test_the_run_says_how_it_ended(finished: Any) -> None:
    found = finished.document
    counts = {k: v for k, v in found["counts"].items() if v}
    assert counts == {"total": 5, "complete": 2, "pruned": 2, "diverged": 1}
    assert found["undelivered"] == 0
    assert found["verdict"]["claim"] == "paper"
    assert found["ui"].startswith("gradsweep ui --store ")


def test_a_diverged_and_a_pruned_configuration_keep_their_records(finished: Any) -> None:
    frame = finished.table("first")
    last = frame.groupby("configuration").epoch.max()
    assert list(frame.groupby("configuration").seed.nunique()) == [2] * 5
    assert list(last[[0, 1]]) == [2, 2]  # the arms are never pruned
    assert last[2] < 2
    assert list(last[[3, 4]]) == [1, 1]


def test_runs_are_nested_in_mlflow_with_their_names_and_states(finished: Any) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(finished.store.mlflow_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "first"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = {r.info.run_name.partition(" ")[2]: r for r in runs if r is not parent}  # after its number
    assert parent.info.status == "FINISHED"
    assert len(children) == 5
    assert {"plain", "paper", "wild"} < set(children)
    assert {r.data.tags["mlflow.parentRunId"] for r in children.values()} == {parent.info.run_id}
    history = client.get_metric_history(children["plain"].info.run_id, "accuracy/validation")
    assert sorted(m.step for m in history) == [0, 1, 2]


def test_every_command_prints_one_json_document_and_nothing_else(finished: Any, tmp_path: Any) -> None:
    assert [s["name"] for s in finished.json("list")] == ["first"]
    status = finished.json("status", "first")
    assert (status["state"], status["ended"], status["undelivered"]) == ("finished", 5, 0)
    assert finished.json("report", "first")["claim"] == "paper"
    file = tmp_path / "all.csv"
    exported = finished.json("export", "first", str(file))
    assert exported["rows"] == len(pd.read_csv(file)) == 2 * (3 + 3 + 2 + 2) + 2 * (len_wild(finished))
    spec = finished.spec("first", SPEC)
    assert finished.json("plan", spec)["configurations"] == 5
    assert "quickstart" in [s["name"] for s in finished.json("studies")]
    assert finished.json("studies", "quickstart")["yaml"].count("name: quickstart") == 1
    assert [r["name"] for r in finished.json("regimes")] == [*REGIMES]


def len_wild(finished: Any) -> int:
    frame = finished.table("first")
    return int(frame[frame.arm == "wild"].epoch.nunique())


def test_every_command_has_a_text(finished: Any) -> None:
    assert "first" in finished("list").stdout
    assert "5 of 5 ended: 2 complete, 2 pruned, 1 diverged" in finished("status", "first").stdout
    assert "paper" in finished("report", "first").stdout
    assert "alpha-r" in finished("studies").stdout
    assert "Table 3" in finished("regimes", "combined").stdout
    with pytest.raises(json.JSONDecodeError):
        json.loads(finished("status", "first").stdout)


@pytest.mark.parametrize("words", [["run", "first.yaml"], ["nonsense"]])
def test_a_wrong_request_is_one_line_and_exit_status_2(finished: Any, words: list[str]) -> None:
    answer = finished(*words, status=2)
    assert answer.stdout == ""
    *warnings, line = answer.stderr.splitlines()
    assert line.startswith("gradsweep: ")
    assert all("can be decided" in warning for warning in warnings), "of its two seeds, which a run says first"


def test_a_finished_sweep_is_resumed_to_the_same_verdict(finished: Any) -> None:
    again = finished.json("run", "first.yaml", "--resume", "--executor", "in-process")
    assert again["verdict"] == finished.document["verdict"]


def test_a_pack_that_this_machine_has_no_room_for_is_refused_before_the_sweep_begins(finished: Any) -> None:
    said = finished(
        "run", finished.spec("large", SPEC), "--name", "large", "--set", "resources.cpus=1000", status=2
    ).stderr
    assert "gradsweep: resources.cpus: a pack needs 1000, and this machine has " in said
    assert [sweep["name"] for sweep in finished.json("list")] == ["first"]
