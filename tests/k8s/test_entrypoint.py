"""The RayJob's own words, run without Kubernetes: its entrypoint, init containers, hooks, environment and documents on
a real Ray head and worker, with the MLflow server that k8s/base describes, behind a password, and a real PostgreSQL.

What a cluster would do is done here by hand: Secrets become values, Pods are process namespaces whose volume is a
folder of the test's, a stand-in answers for the API server. The commands that start Ray and submit are the ones that
KubeRay makes of the RayJob.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.targets.kubernetes.rayjob import DOCUMENTS, SHARED
from sweeps.targets.target import target_at
from tests.k8s.containers import Container, ray_start
from tests.k8s.stand_in import NAMESPACE, Cluster, kubeconfig
from tests.service.cluster import free_port
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
base: {regime: combined, init_scale: 1.0, data: digits, epochs: 40, batch_size: 32}
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
EPOCHS = 4 * 41  # of two arms and two configurations


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


def until(what: Callable[[], object], process: subprocess.Popen[Any] | Container) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        runs = process.runs if isinstance(process, Container) else process.poll() is None
        assert time.monotonic() < end and runs, "it did not come"
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
    """The RayJob's head without processors for packs, its workers, and its submitters, all at the same addresses."""

    def __init__(self, rayjob: Object, namespace: Namespace, server: str, folder: Path, temporary: Path) -> None:
        self._cluster, self._namespace = rayjob["spec"]["rayClusterSpec"], namespace
        self._submitter = rayjob["spec"]["submitterPodTemplate"]["spec"]
        self._folder, self._temporary, self._started = folder, temporary, count()
        head = self._cluster["headGroupSpec"]["template"]
        (documents,) = [v["downwardAPI"]["items"] for v in head["spec"]["volumes"] if "downwardAPI" in v]
        for item in documents:
            annotation = item["fieldRef"]["fieldPath"].partition("'")[2].rstrip("']")
            text = namespace.here(head["metadata"]["annotations"][annotation])
            (namespace.folder / "etc" / item["path"]).write_text(text)
        account = folder / "account"
        account.mkdir()
        (account / "namespace").write_text(NAMESPACE)
        # The API server's address and token are the kubeconfig's, as the stand-in has no certificate.
        self._api = {"KUBECONFIG": str(kubeconfig(server, "a-token", folder / "kubeconfig"))}
        self._account = account
        self.entrypoint = namespace.here(rayjob["spec"]["entrypoint"])
        self._gcs, dashboard = free_port(), free_port()
        self.dashboard = f"127.0.0.1:{dashboard}"
        self._ports = {"port": self._gcs, "dashboard-port": dashboard, "ray-client-server-port": free_port()}

    def head(self) -> Container:
        """A new head, whose init container has found nothing wrong."""
        spec = self._cluster["headGroupSpec"]["template"]["spec"]
        (preflight,) = spec["initContainers"]
        assert self._container(preflight, preflight["command"]).wait() == 0
        return self._ray(self._cluster["headGroupSpec"], {"dashboard-host": "127.0.0.1", **self._ports}, head=True)

    def worker(self) -> Container:
        """A new worker, which knows no password."""
        container = self._cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
        assert not set(PASSWORDS.values()) & set(self._namespace.environment(container).values())
        parameters = {"address": f"127.0.0.1:{self._gcs}", "num-cpus": container["resources"]["limits"]["cpu"]}
        return self._ray(self._cluster["workerGroupSpecs"][0], parameters, head=False)

    def pre_stop(self, kind: str, container: Container) -> None:
        """What the kubelet runs in a Pod that is deleted; the container has ended afterwards."""
        group = self._cluster["headGroupSpec"] if kind == "head" else self._cluster["workerGroupSpecs"][0]
        hook = group["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        output, _ = container.exec(hook).communicate(timeout=PATIENCE)
        assert output == ""
        container.wait()
        assert container.processes() == []

    def may_submit(self) -> Container:
        """The submitter's init container, which alone may ask the API server."""
        (not_failed,) = self._submitter["initContainers"]
        (account,) = [mount["mountPath"] for mount in not_failed["volumeMounts"] if mount["name"] == "api-access"]
        return self._container(not_failed, not_failed["command"], {account: self._account}, **self._api)

    def submit(self, name: str) -> subprocess.Popen[str]:
        """The submitter's command, KubeRay's BuildJobSubmitCommand."""
        address, ray = f"http://{self.dashboard}", "ray job"
        healthy = f"import urllib.request; r=urllib.request.urlopen('{address}/api/gcs_healthz', timeout=5)"
        command = (
            f"until python -c \"{healthy}; exit(0 if b'success' in r.read() else 1)\" >/dev/null 2>&1 ; "
            f'do echo "Waiting for Ray Dashboard GCS to become healthy at {address} ..." ; sleep 2 ; done ; '
            f"if ! {ray} status --address {address} {name} >/dev/null 2>&1 ; then "
            f"{ray} submit --address {address} --no-wait --submission-id {name} -- {self.entrypoint} ; fi ; "
            f"{ray} logs --address {address} --follow {name}"
        )
        environment = self._environment(self._submitter["containers"][0])
        return subprocess.Popen(
            ["/bin/bash", "-ce", "--", command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def state(self, name: str) -> str:
        with urllib.request.urlopen(f"http://{self.dashboard}/api/jobs/{name}", timeout=30) as answer:
            return str(yaml.safe_load(answer.read())["status"])

    def _environment(self, container: Object) -> dict[str, str]:
        """The container's own, and what image and KubeRay add."""
        added = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "RAY_ADDRESS": f"127.0.0.1:{self._gcs}",
            "RAY_USAGE_STATS_KUBERAY_IN_USE": "1",
            "RAY_AUTH_MODE": "disabled",
            "RAY_raylet_start_wait_time_s": "900",  # this machine may be busy
            "RAY_agent_register_timeout_ms": "900000",
        }
        return {**self._namespace.environment(container), **added}

    def _container(
        self, container: Object, command: list[str], volumes: dict[str, Path] | None = None, **more: str
    ) -> Container:
        log = self._folder / f"{next(self._started)}-{container['name']}.log"
        environment = self._environment(container) | more
        return Container(command, environment, log, {SHARED: self._namespace.folder / "mnt", **(volumes or {})})

    def _ray(self, group: Object, parameters: Mapping[str, object], *, head: bool) -> Container:
        """KubeRay's parameters over the RayJob's, with addresses and sizes of this machine."""
        here = {
            "dashboard-agent-listen-port": free_port(),
            "metrics-export-port": free_port(),
            "node-ip-address": "127.0.0.1",
            "object-store-memory": 100_000_000,
            "min-worker-port": 0,
            "max-worker-port": 0,
            "temp-dir": self._temporary / str(next(self._started)),
        }
        words = ray_start({**group["rayStartParams"], **parameters, **here}, head=head)
        started = self._container(group["template"]["spec"]["containers"][0], words)
        try:
            until(lambda: "Ray runtime started" in started.log.read_text(), started)
        except BaseException:
            started.kill()
            raise
        return started


def state(namespace: Namespace) -> str:
    """What the ledger says of the sweep."""
    ledger = Ledger.open(namespace.secrets["gradsweep-database"]["ledger-url"])
    assert ledger is not None
    with closing(ledger):
        return ledger.sweeps()[0].status


def epochs(namespace: Namespace) -> int:
    """How many of configurations are recorded."""
    ledger = Ledger.open(namespace.secrets["gradsweep-database"]["ledger-url"])
    if ledger is None:
        return 0
    with closing(ledger):
        sweeps = [sweep for sweep in ledger.sweeps() if sweep.name == "entry"]
        return sum(c.epoch + 1 for sweep in sweeps for c in ledger.configurations(sweep))


@pytest.fixture
def pods(rayjob: Object, namespace: Namespace, address: str, tmp_path: Path) -> Iterator[Pods]:
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as temporary:
        yield Pods(rayjob, namespace, address, tmp_path, Path(temporary))


def test_a_sweep_survives_the_loss_of_its_worker_and_its_head(
    pods: Pods, rayjob: Object, namespace: Namespace, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are drained. (Those that are killed: tests/faults/test_cluster.py.)"""
    running = {"jobDeploymentStatus": "Running", "dashboardURL": pods.dashboard}
    cluster.put("rayjobs", rayjob | {"status": running})
    with ExitStack() as stack:

        def started(container: Container) -> Container:
            stack.callback(container.kill)
            return container

        head, worker = started(pods.head()), started(pods.worker())
        assert started(pods.may_submit()).wait() == 0
        submitter = pods.submit("entry-1")
        stack.callback(submitter.kill)
        until(lambda: epochs(namespace) >= 3, submitter)
        pods.pre_stop("worker", worker)
        worker, before = started(pods.worker()), epochs(namespace)
        until(lambda: epochs(namespace) > before, submitter)

        pods.pre_stop("head", head)
        # As after a crash, so that it is submitted again, in the same RayJob.
        output, _ = submitter.communicate(timeout=PATIENCE)
        assert submitter.returncode == 1, output
        assert "Interrupted. To continue: gradsweep resume entry --to k8s://gradsweep" in output
        assert state(namespace) == "killed"
        assert (before := epochs(namespace)) < EPOCHS, "it was through already"
        worker.kill()

        waits = started(pods.may_submit())
        until(lambda: waits.log.read_text() == "waiting for the head of the RayJob entry\n", waits)
        head, worker = started(pods.head()), started(pods.worker())
        assert waits.wait() == 0
        submitter = pods.submit("entry-1")
        stack.callback(submitter.kill)
        output, _ = submitter.communicate(timeout=PATIENCE)
        assert pods.state("entry-1") == "SUCCEEDED", output
        assert "of `paper` higher than that of `plain`" in output  # the verdict
        # KubeRay tries again what it has not seen end: nothing is left to do, and that is no failure.
        again, _ = pods.submit("entry-2").communicate(timeout=PATIENCE)
        assert pods.state("entry-2") == "SUCCEEDED", again
        # But not in a RayJob that has failed meanwhile.
        cluster.set_status("entry", **running | {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded"})
        refused = started(pods.may_submit())
        assert refused.wait() == 1
        assert refused.log.read_text() == "no driver is started: the RayJob entry is Failed (DeadlineExceeded)\n"
    assert epochs(namespace) == EPOCHS

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
