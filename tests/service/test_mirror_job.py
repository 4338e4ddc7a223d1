"""A driver ends when its sweep is through or stopped; what MLflow lacks then, a later `gradsweep sync --all` delivers.

As in k8s/base: MLflow behind a password, on PostgreSQL, and a driver that knows how long it has.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.service.command import Gradsweep, until
from tests.service.servers import Team
from tests.tracking.mirrors.test_server import refusing

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(1800)]

SPEC = """\
name: NAME
base: {init_scale: 1.0, data: "IMAGES", epochs: EPOCHS, batch_size: 8}
seeds: 1
arms: {plain: {alpha: 1.0}, paper: {alpha: 2.0}}
search:
  space: {alpha: {low: 0.5, high: 8.0, log: true}}
  sampler: {name: random, seed: 0}
  configurations: 10
resources: {cpus: 1, gpus: 0, pack: 2}
"""


@pytest.fixture
def gradsweep(team: Team, tmp_path: Path, request: pytest.FixtureRequest) -> Gradsweep:
    """With a ledger of its own: `--all` is every sweep there."""
    number = abs(hash(request.node.name)) % 10**9
    environment = team.environment | {"LEDGER_URL": team.postgres.create(f"ledger{number}")}
    return Gradsweep(tmp_path, environment | {"GRADSWEEP_STORE": team.store(tmp_path)})


@pytest.fixture
def mlflow(team: Team, monkeypatch: pytest.MonkeyPatch) -> Any:
    from mlflow import MlflowClient

    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, team.environment[name])
    return MlflowClient(team.mlflow, registry_uri=team.mlflow)


def runs(mlflow: Any, name: str) -> tuple[str, Counter[str]]:
    """The statuses of the sweep's own run and of its configurations'; "" before there is one."""
    experiment = mlflow.get_experiment_by_name(name)
    found = mlflow.search_runs([experiment.experiment_id]) if experiment else []
    own = [r.info.status for r in found if "mlflow.parentRunId" not in r.data.tags]
    return "".join(own), Counter(r.info.status for r in found if "mlflow.parentRunId" in r.data.tags)


@pytest.mark.ray
def test_a_stopped_sweep_is_killed_in_mlflow_and_a_resume_runs_it_again(
    gradsweep: Gradsweep, mlflow: Any, images: str
) -> None:
    spec = gradsweep.spec(SPEC.replace("NAME", "stopped").replace("IMAGES", images).replace("EPOCHS", "60"))
    driver = gradsweep.start("run", spec, GRADSWEEP_STOP_SECONDS="20")
    # In mid-sweep: some have ended, and some run that MLflow knows of.
    until(lambda: {"FINISHED", "RUNNING"} <= runs(mlflow, "stopped")[1].keys() or driver.poll() is not None)
    driver.send_signal(signal.SIGTERM)
    out, err = driver.communicate()
    assert driver.returncode == 143, out + err
    own, configurations = runs(mlflow, "stopped")
    assert (own, configurations["RUNNING"]) == ("KILLED", 0) and configurations["KILLED"] > 0
    status = gradsweep.json("status", "stopped")
    assert status["state"] == "stopped" and status["ended"] < 12

    gradsweep("sync", "--all")
    assert gradsweep("sync", "--all").stdout == "nothing to deliver\n"
    assert gradsweep.json("status", "stopped")["undelivered"] == 0
    assert gradsweep.json("audit", "stopped")["sound"]
    assert runs(mlflow, "stopped")[0] == "KILLED" and not runs(mlflow, "stopped")[1]["RUNNING"]

    driver = gradsweep.start("run", spec, "--resume")
    until(lambda: _goes_on(*runs(mlflow, "stopped")) or driver.poll() is not None)
    assert _goes_on(*runs(mlflow, "stopped"))
    gradsweep("sync", "--all")  # in nobody's way
    out, err = driver.communicate()
    assert driver.returncode == 0, out + err
    assert runs(mlflow, "stopped") == ("FINISHED", {"FINISHED": 12})


def _goes_on(own: str, configurations: Counter[str]) -> bool:
    return own == "RUNNING" and not configurations["KILLED"]


def test_a_driver_that_is_through_leaves_the_rest_to_the_mirror_job(
    gradsweep: Gradsweep, mlflow: Any, images: str, tmp_path: Path
) -> None:
    spec = gradsweep.spec(SPEC.replace("NAME", "through").replace("IMAGES", images).replace("EPOCHS", "2"))
    (away := tmp_path / "away").mkdir()
    with refusing(503) as uri:
        store = Path(gradsweep.environment["GRADSWEEP_STORE"]).read_text().splitlines()
        lines = [f"mlflow: {uri}" if line.startswith("mlflow:") else line for line in store]
        (away / "team.yaml").write_text("\n".join(lines))
        ran = gradsweep(
            *("run", spec, "--executor", "in-process", "--store", str(away / "team.yaml")),
            GRADSWEEP_MIRROR_SECONDS="1",
        )
    assert "13 configurations are not in MLflow yet; the mirror job delivers them" in ran.stderr
    assert "gradsweep sync" not in ran.stderr + ran.stdout
    assert mlflow.get_experiment_by_name("through") is None
    assert gradsweep("sync", "--all").stdout == "through: 13 configurations written\n"
    assert runs(mlflow, "through") == ("FINISHED", {"FINISHED": 12})
    assert gradsweep.json("audit", "through")["sound"]
    experiment = mlflow.get_experiment_by_name("through").experiment_id
    (parent,) = [r for r in mlflow.search_runs([experiment]) if "mlflow.parentRunId" not in r.data.tags]
    assert "report.html" in {f.path for f in mlflow.list_artifacts(parent.info.run_id)}
