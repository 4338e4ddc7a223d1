"""The RayJob's own words, run without Kubernetes: its entrypoint, environment and documents on a real Ray head, with
the MLflow server that k8s/base describes, behind a password, and a real PostgreSQL.

What a cluster would do is done here by hand: Secrets become values, the two mounted folders are folders of the test's,
and a head that is lost is killed. A submitter's commands are the ones that KubeRay gives it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.targets.kubernetes.rayjob import DOCUMENTS, SHARED
from sweeps.targets.target import target_at
from tests.service.cluster import Cluster, free_port
from tests.service.servers import Postgres
from tracking.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.postgres, pytest.mark.timeout(1800)]

Object = dict[str, Any]
BIN = Path(sys.executable).parent
PATIENCE = 600.0
PASSWORDS = {"database": "database-7f3a91", "mlflow": "mlflow-long-enough-2b8c", "flask": "flask-signing-55aa12"}

SPEC = """\
name: entry
question: Does it survive the loss of its head?
base: {regime: combined, init_scale: 1.0, data: digits, epochs: 12, batch_size: 32}
seeds: 2
arms:
  plain: {alpha: 1.0, r: 0.0}
  paper: {alpha: 2.0, r: 0.01}
search:
  space:
    r: {low: 1.0e-5, high: 1.0, log: true}
  sampler: {name: random, seed: 0}
  configurations: 2
claim: paper
resources: {cpus: 1, gpus: 0, pack: 2}
"""


@dataclass
class Namespace:
    """What would be in the namespace: Secrets, the claim, the MLflow server's address."""

    folder: Path
    secrets: dict[str, dict[str, str]]
    mlflow: str = ""
    places: dict[str, str] = field(default_factory=dict)

    def environment(self, container: Object) -> dict[str, str]:
        """What the kubelet would give the container."""
        found = {}
        for entry in container.get("env", []):
            key = entry.get("valueFrom", {}).get("secretKeyRef")
            found[entry["name"]] = self.here(self.secrets[key["name"]][key["key"]] if key else entry["value"])
        return found

    def here(self, text: str) -> str:
        """With this machine's folders in the place of those that are mounted."""
        for mounted, folder in self.places.items():
            text = text.replace(mounted, folder)
        return text


@pytest.fixture(scope="module")
def databases() -> Iterator[dict[str, str]]:
    """The URL of each of the three, in a real PostgreSQL."""
    server = Postgres(PASSWORDS["database"])
    try:
        yield {
            name: server.create(name).replace("postgresql://", "postgresql+psycopg://")
            for name in ("ledger", "mlflow", "mlflow_auth")
        }
    finally:
        server.stop()


def secrets(databases: dict[str, str]) -> dict[str, dict[str, str]]:
    """As k8s/README.md makes them."""
    auth = {
        "default_permission": "READ",
        "database_uri": databases["mlflow_auth"].replace("%", "%%"),
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": "60",
    }
    return {
        "gradsweep-database": {
            "ledger-url": databases["ledger"],
            "mlflow-uri": databases["mlflow"],
            "mlflow-auth.ini": "\n".join(["[mlflow]", *(f"{key} = {value}" for key, value in auth.items())]),
        },
        "gradsweep-mlflow": {
            "username": "admin",
            "password": PASSWORDS["mlflow"],
            "flask-secret-key": PASSWORDS["flask"],
        },
    }


@pytest.fixture(scope="module")
def namespace(
    databases: dict[str, str], parts: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Namespace]:
    """With the overlay dev's MLflow server running."""
    folder = tmp_path_factory.mktemp("namespace")
    one = Namespace(folder, secrets(databases))
    for name in ("etc", "mnt", "artifacts"):
        (folder / name).mkdir()
    (folder / "auth.ini").write_text(one.secrets["gradsweep-database"]["mlflow-auth.ini"])
    one.places = {
        DOCUMENTS: str(folder / "etc"),
        SHARED: str(folder / "mnt"),
        "/etc/mlflow/auth.ini": str(folder / "auth.ini"),
        "/mlflow/artifacts": str(folder / "artifacts"),
        "--host=0.0.0.0": "--host=127.0.0.1",
        "--port=5000": f"--port={(port := free_port())}",
    }
    one.mlflow = f"http://127.0.0.1:{port}"
    (container,) = [
        found["spec"]["template"]["spec"]["containers"][0]
        for found in parts.overlay("overlays/dev")
        if found["kind"] == "Deployment"
    ]
    command = [one.here(word) for word in container["command"]]
    environment = os.environ | one.environment(container)
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen([str(BIN / command[0]), *command[1:]], env=environment, stdout=log, stderr=log)
    try:
        until(lambda: answers(f"{one.mlflow}/health") == 200, process)
        yield one
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)
    except OSError:
        return 0


def until(what: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end and process.poll() is None, "it did not come"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def rayjob(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Object:
    """What `gradsweep submit --dry-run` prints."""
    pool = tmp_path_factory.mktemp("pool") / "pool.yaml"
    places = {"mlflow_uri": namespace.mlflow}
    workers = {"cpus": 2, "memory": "4Gi", "maximum": 1}
    pool.write_text(yaml.safe_dump({"image": "gradsweep:0.2.0-cpu", "workers": workers, "places": places}))
    target = target_at("k8s://gradsweep", pool=pool)
    made: Object = yaml.safe_load(target.submit("entry", SPEC, dry_run=True).manifest)
    return made


class Pods:
    """The RayJob's Ray cluster: a head without processors for packs, one worker, the submitter's commands."""

    def __init__(self, rayjob: Object, namespace: Namespace, folder: Path) -> None:
        cluster = rayjob["spec"]["rayClusterSpec"]
        head = cluster["headGroupSpec"]["template"]
        worker = cluster["workerGroupSpecs"][0]["template"]
        for item in head["spec"]["volumes"][2]["downwardAPI"]["items"]:
            annotation = item["fieldRef"]["fieldPath"].partition("'")[2].rstrip("']")
            text = namespace.here(head["metadata"]["annotations"][annotation])
            (namespace.folder / "etc" / item["path"]).write_text(text)
        folder.mkdir()
        self.entrypoint = namespace.here(rayjob["spec"]["entrypoint"])
        environment = namespace.environment(head["spec"]["containers"][0])
        self.ray = Cluster(BIN, folder, environment, cpus=0)
        # A node with an environment of its own: no credentials.
        own = namespace.environment(worker["spec"]["containers"][0])
        assert not set(PASSWORDS.values()) & set(own.values())
        settings = [f"{key}={value}" for key, value in own.items()]
        self.ray.join(within=["env", *(f"--unset={key}" for key in environment), *settings], cpus=2)

    def submit(self, name: str) -> subprocess.Popen[str]:
        """What KubeRay's BuildJobSubmitCommand makes of the entrypoint."""
        address, ray = self.ray.address, f"{BIN / 'ray'} job"
        command = (
            f"if ! {ray} status --address {address} {name} >/dev/null 2>&1 ; then "
            f"{ray} submit --address {address} --no-wait --submission-id {name} -- {self.entrypoint} ; fi ; "
            f"{ray} logs --address {address} --follow {name}"
        )
        return subprocess.Popen(
            ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def state(self, name: str) -> str:
        with urllib.request.urlopen(f"{self.ray.address}/api/jobs/{name}", timeout=30) as answer:
            return str(yaml.safe_load(answer.read())["status"])


def epochs(namespace: Namespace) -> int:
    """How many of configurations are recorded."""
    ledger = Ledger.open(namespace.secrets["gradsweep-database"]["ledger-url"])
    if ledger is None:
        return 0
    with closing(ledger):
        sweeps = [sweep for sweep in ledger.sweeps() if sweep.name == "entry"]
        return sum(c.epoch + 1 for sweep in sweeps for c in ledger.configurations(sweep))


def test_a_sweep_survives_the_loss_of_its_head(
    rayjob: Object, namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Pods(rayjob, namespace, tmp_path / "first")
    submitter = first.submit("entry-1")
    try:
        until(lambda: epochs(namespace) >= 3, submitter)
    finally:
        first.ray.kill(first.ray.head)
        first.ray.close()
        os.killpg(submitter.pid, signal.SIGKILL)
        submitter.communicate()
    before = epochs(namespace)
    assert 3 <= before < 52, "it was through already"

    second = Pods(rayjob, namespace, tmp_path / "second")
    try:
        output, _ = second.submit("entry-2").communicate(timeout=PATIENCE)
        assert second.state("entry-2") == "SUCCEEDED", output
        assert "of `paper` higher than that of `plain`" in output  # the verdict
        # KubeRay tries again what it has not seen end: nothing is left to do, and that is no failure.
        again, _ = second.submit("entry-3").communicate(timeout=PATIENCE)
        assert second.state("entry-3") == "SUCCEEDED", again
    finally:
        second.ray.close()
    assert epochs(namespace) == 52

    # The records are behind MLflow's password, and all of them are there.
    assert answers(f"{namespace.mlflow}/api/2.0/mlflow/experiments/search?max_results=5") == 401
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORDS["mlflow"])
    from mlflow import MlflowClient

    client = MlflowClient(namespace.mlflow, registry_uri=namespace.mlflow)
    runs = client.search_runs([client.get_experiment_by_name("entry").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * 5
    assert (namespace.folder / "artifacts").rglob("*.parquet")

    # No secret is in what the driver wrote, or said.
    written = [file for file in (namespace.folder / "mnt").rglob("*") if file.is_file()]
    assert written
    for word in PASSWORDS.values():
        assert word not in output + again
        assert not [file for file in written if word.encode() in file.read_bytes()]
