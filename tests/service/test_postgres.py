"""A team's store: PostgreSQL behind the ledger and, behind an MLflow server with a password, behind MLflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.service.command import Gradsweep, until
from tests.service.secrets import command_lines, files_with
from tests.service.servers import DATABASE_PASSWORD, MLFLOW_PASSWORD, Team
from tracking.locks import driver_lock, holder
from trainers.errors import SearchError

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(1800)]  # an idle machine needs half a minute

SPEC = """\
name: NAME
base: {init_scale: 1.0, data: "IMAGES", epochs: 3, batch_size: 8}
seeds: 2
arms:
  plain: {alpha: 1.0}
search:
  space: {alpha: {low: 0.5, high: 8.0, log: true}}
  sampler: {name: tpe, seed: 0}
  configurations: 3
resources: {cpus: 1, pack: 2}
"""


@pytest.fixture
def gradsweep(team: Team, tmp_path: Path) -> Gradsweep:
    return Gradsweep(tmp_path, team.environment | {"GRADSWEEP_STORE": team.store(tmp_path)})


def client(team: Team, monkeypatch: pytest.MonkeyPatch) -> Any:
    from mlflow import MlflowClient

    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, team.environment[name])
    return MlflowClient(team.mlflow, registry_uri=team.mlflow)


@pytest.mark.slow
def test_four_sweeps_side_by_side_on_empty_databases_and_no_password_anywhere(
    team: Team, gradsweep: Gradsweep, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"side-{i}" for i in range(4)]
    specs = [gradsweep.spec(SPEC.replace("NAME", name).replace("IMAGES", images)) for name in names]
    running = [gradsweep.start("run", spec, "--executor", "in-process", "--json") for spec in specs]
    seen = ""
    said = []
    for process in running:
        seen += command_lines()
        said.append(process.communicate())
    assert [p.returncode for p in running] == [0] * 4, said
    # The databases are the team's: other tests have sweeps in them.
    listed = {s["name"]: (s["state"], s["complete"]) for s in gradsweep.json("list")}
    assert {name: listed.get(name) for name in names} == dict.fromkeys(names, ("finished", 4))
    mlflow = client(team, monkeypatch)
    for name in names:
        experiment = mlflow.get_experiment_by_name(name)
        runs = mlflow.search_runs([experiment.experiment_id])
        (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
        children = [r for r in runs if r is not parent]
        assert [parent.info.status, *(r.info.status for r in children)] == ["FINISHED"] * 5
        assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
        history = mlflow.get_metric_history(children[0].info.run_id, "accuracy/validation")
        assert sorted(m.step for m in history) == [0, 1, 2, 3]
        assert gradsweep.json("status", name)["undelivered"] == 0
    # Another machine, which has the servers and not the folder, reads the same.
    elsewhere = gradsweep.folder / "elsewhere"
    elsewhere.mkdir()
    gradsweep("export", names[0], "here.csv")
    gradsweep("export", names[0], "there.csv", "--store", team.store(elsewhere))
    assert (gradsweep.folder / "here.csv").read_text() == (gradsweep.folder / "there.csv").read_text()

    for word in (DATABASE_PASSWORD, MLFLOW_PASSWORD):
        assert not any(word in text for pair in said for text in pair)
        assert word not in seen
        assert files_with(word, gradsweep.folder) == []
        assert files_with(word, team.folder / "artifacts") == []
        # The databases themselves: PostgreSQL and MLflow keep hashes.
        team.postgres.run("CHECKPOINT")
        assert files_with(word, team.postgres.data / "base") == []
    assert files_with("side-0", team.postgres.data / "base") != []  # what is looked for is found


def test_wrong_passwords_are_one_line_without_the_password(team: Team, gradsweep: Gradsweep, images: str) -> None:
    spec = gradsweep.spec(SPEC.replace("NAME", "locked-out").replace("IMAGES", images))
    wrong = team.environment["LEDGER_URL"].replace(DATABASE_PASSWORD, "wrong-6d1f")
    said = gradsweep.refused("run", spec, LEDGER_URL=wrong)
    assert "password authentication failed" in said and "wrong-6d1f" not in said
    said = gradsweep.refused("list", LEDGER_URL=wrong)
    assert "password authentication failed" in said and "wrong-6d1f" not in said
    assert "LEDGER_URL" in gradsweep.refused("run", spec, LEDGER_URL="")


@pytest.mark.parametrize(
    "wrong",
    [{"MLFLOW_TRACKING_PASSWORD": "wrong-8a7b"}, {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""}],
)
def test_whom_mlflow_does_not_know_is_told_at_once(
    wrong: dict[str, str], team: Team, gradsweep: Gradsweep, images: str
) -> None:
    spec = gradsweep.spec(SPEC.replace("NAME", "stranger").replace("IMAGES", images))
    said = gradsweep.refused("run", spec, "--executor", "in-process", **wrong)
    assert said.startswith(f"the MLflow server at {team.mlflow} refuses this driver (UNAUTHENTICATED)")
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in said and "wrong-8a7b" not in said
    assert "stranger" not in [s["name"] for s in gradsweep.json("list")]
    assert not (gradsweep.folder / "shared").exists()


# The driver waits for MLflow for a minute and a half before it gives up.
@pytest.mark.slow
def test_a_password_that_is_changed_in_the_middle_loses_nothing(team: Team, gradsweep: Gradsweep, images: str) -> None:
    def ask(method: str, path: str, **body: str) -> requests.Response:
        admin = (team.environment["MLFLOW_TRACKING_USERNAME"], MLFLOW_PASSWORD)
        return requests.request(method, f"{team.mlflow}/api/2.0/mlflow/{path}", json=body, auth=admin, timeout=60)

    before, after = "Tortoise-1f55-before", "Tortoise-1f55-after"
    assert ask("POST", "users/create", username="ann", password=before).ok
    gradsweep.environment |= {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": before}
    spec = gradsweep.spec(SPEC.replace("NAME", "moved").replace("IMAGES", images).replace("epochs: 3", "epochs: 40"))
    driver = gradsweep.start("run", spec, "--executor", "in-process")
    until(lambda: ask("GET", "experiments/get-by-name?experiment_name=moved").ok)
    assert ask("PATCH", "users/update-password", username="ann", password=after).ok
    out, err = driver.communicate()
    assert driver.returncode == 0, out + err
    assert "401" in err and before not in out + err
    assert gradsweep.json("status", "moved")["undelivered"] > 0
    # With the old one it is refused, and nothing happens to what waits.
    said = gradsweep.refused("run", spec, "--executor", "in-process", "--resume")
    assert said.startswith(f"the MLflow server at {team.mlflow} refuses this driver")
    again = gradsweep("run", spec, "--executor", "in-process", "--resume", MLFLOW_TRACKING_PASSWORD=after)
    assert gradsweep.json("status", "moved")["undelivered"] == 0, again.stderr


def test_one_driver_per_sweep_wherever_its_folder_is(team: Team, tmp_path: Path) -> None:
    url, here, there = team.environment["LEDGER_URL"], tmp_path / "here.lock", tmp_path / "there.lock"
    assert holder(url, "lonely", there) is None
    with driver_lock(url, "lonely", here):
        assert holder(url, "lonely", there) is not None
        with pytest.raises(SearchError, match="lonely"), driver_lock(url, "lonely", there):
            pass
        with driver_lock(url, "another", there):
            pass
    assert holder(url, "lonely", there) is None


def test_mlflow_straight_into_its_database(team: Team, gradsweep: Gradsweep, images: str) -> None:
    spec = gradsweep.spec(SPEC.replace("NAME", "straight").replace("IMAGES", images))
    file = gradsweep.folder / "straight-store.yaml"
    secret = gradsweep.folder / "mounted"
    secret.write_text(team.postgres.create("straight") + "\n")
    os.chmod(secret, 0o600)
    folder = gradsweep.folder / "own"
    file.write_text(f"ledger: {{env: LEDGER_URL}}\nmlflow: {{file: {secret}}}\nfolder: {folder}\n")
    gradsweep("run", spec, "--executor", "in-process", "--store", str(file))
    assert gradsweep.json("status", "straight", "--store", str(file))["undelivered"] == 0
    assert [s["complete"] for s in gradsweep.json("list", "--store", str(file)) if s["name"] == "straight"] == [4]
    assert files_with(DATABASE_PASSWORD, folder) == []


def test_a_study_of_somebody_else_is_left_alone(team: Team, gradsweep: Gradsweep, images: str) -> None:
    import optuna

    url = team.environment["LEDGER_URL"].replace("postgresql://", "postgresql+psycopg://")
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(study_name="foreign", storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    spec = gradsweep.spec(SPEC.replace("NAME", "foreign").replace("IMAGES", images))
    said = gradsweep("run", spec, "--executor", "in-process", status=2).stderr.splitlines()
    assert said[-1].startswith("gradsweep: a study named 'foreign' that is no sweep is in ")
    assert "foreign" not in [s["name"] for s in gradsweep.json("list")]
    assert len(optuna.load_study(study_name="foreign", storage=storage).trials) == 2
    storage.remove_session()
    storage.engine.dispose()
