"""What the tests of k8s/ share: rendered overlays, the sample's job, KubeRay's schema, a cluster to speak to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.targets.kubernetes.client import Namespace
from sweeps.targets.kubernetes.pool import Pool, Redis, read_pool
from sweeps.targets.kubernetes.rayjob import render
from tests.k8s.apiserver import LEAST, Server
from tests.k8s.stand_in import Cluster, kubeconfig, serving

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("dev", "gpu-pool")
COMPONENTS = ("admission", "gcs-ft-redis", "kueue", "monitoring", "postgres")
WORKLOADS = ("CronJob", "Deployment", "Job", "StatefulSet")
SAMPLES = ("load-data", "mlflow-upgrade", "restore")


@cache
def overlay(name: str) -> tuple[dict[str, Any], ...]:
    """The overlay's objects, as `kubectl apply -k` would send them."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl")
    command = ["kubectl", "kustomize", str(K8S / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def samples() -> tuple[dict[str, Any], ...]:
    """What an owner applies now and then."""
    texts = [(K8S / "samples" / f"{name}.yaml").read_text() for name in SAMPLES]
    return tuple(one for text in texts for one in yaml.safe_load_all(text))


def templates(objects: tuple[dict[str, Any], ...]) -> dict[str, dict[str, Any]]:
    """The template of every kind of Pod, by the name of the object it is in."""
    specs = {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] in WORKLOADS}
    return {name: spec.get("jobTemplate", {}).get("spec", spec)["template"] for name, spec in specs.items()}


def job(pool: str, name: str = "alpha-r") -> tuple[str, str, Pool]:
    """The sample's sweep on an overlay's pool."""
    text = (K8S / "overlays" / pool / "pool.yaml").read_text()
    return name, (K8S / "samples" / "spec.yaml").read_text(), read_pool(text)


def full_pool() -> Pool:
    """A pool in which every field is set."""
    return read_pool(Path(__file__).with_name("full_pool.yaml").read_text())


def pod_specs(rayjob: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The RayJob's Pods: head, submitter, and each group of workers by its name."""
    cluster = rayjob["spec"]["rayClusterSpec"]
    found = {
        "head": cluster["headGroupSpec"]["template"]["spec"],
        "submitter": rayjob["spec"]["submitterPodTemplate"]["spec"],
    }
    return found | {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}


def kuberay_folder() -> Path:
    return Path(os.environ.get("GRADSWEEP_KUBERAY_CRDS", ROOT.parent / "shared" / "kuberay-crds"))


def kuberay_schema(kind: str) -> dict[str, Any]:
    """KubeRay's own schema for `rayjobs` or `rayclusters`; skips where the CRDs are not at hand."""
    folder = kuberay_folder()
    file = folder / f"ray.io_{kind}.yaml"
    if not file.is_file():
        pytest.skip(f"no KubeRay CRDs at {folder}: name their folder in GRADSWEEP_KUBERAY_CRDS")
    definition = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    versions = {one["name"]: one for one in definition["spec"]["versions"]}
    schema: dict[str, Any] = versions["v1"]["schema"]["openAPIV3Schema"]
    return schema


@pytest.fixture(scope="session")
def parts() -> SimpleNamespace:
    """The functions above: test modules cannot import a conftest."""
    return SimpleNamespace(
        overlay=overlay,
        samples=samples,
        templates=templates,
        job=job,
        full_pool=full_pool,
        pod_specs=pod_specs,
        kuberay_folder=kuberay_folder,
        kuberay_schema=kuberay_schema,
        folder=K8S,
    )


@pytest.fixture(params=[*OVERLAYS, "everything"])
def overlay_name(request: pytest.FixtureRequest) -> str:
    """The overlays, and one more with every component and what an owner applies now and then."""
    return str(request.param)


@pytest.fixture
def objects(overlay_name: str, tmp_path: Path) -> tuple[dict[str, Any], ...]:
    if overlay_name != "everything":
        return overlay(f"overlays/{overlay_name}")
    above = os.path.relpath(K8S, tmp_path)
    components = [f"{above}/components/{name}" for name in COMPONENTS]
    made = {"kind": "Kustomization", "namespace": "gradsweep", "resources": [f"{above}/base"], "components": components}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(made))
    return (*overlay(str(tmp_path)), *samples())


@pytest.fixture
def rayjob(overlay_name: str) -> dict[str, Any]:
    if overlay_name != "everything":
        return render(*job(overlay_name))
    name, spec, pool = job("dev")
    return render(name, spec, replace(pool, redis=Redis()))


@pytest.fixture
def cluster() -> Cluster:
    """What the stand-in for the API server holds."""
    return Cluster()


@pytest.fixture
def address(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The stand-in's address, which is the current context's."""
    monkeypatch.setattr("sweeps.targets.kubernetes.client.POLL_SECONDS", 0.01)
    with serving(cluster) as url:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(url, "a-token", tmp_path / "kubeconfig")))
        yield url


@pytest.fixture(scope="session")
def assets() -> Path:
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS", ""))
    if not os.environ.get("KUBEBUILDER_ASSETS") or not (folder / "kube-apiserver").is_file():
        pytest.skip("KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd")
    return folder


@pytest.fixture(scope="session")
def server(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(assets, tmp_path_factory.mktemp("apiserver"))
    try:
        one.wait_for("/readyz")
        if one.minor < LEAST:
            pytest.skip(f"the API server is older than 1.{LEAST}")
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="session")
def ready(server: Server, parts: SimpleNamespace) -> Server:
    """With KubeRay's definitions and the overlay dev."""
    parts.kuberay_schema("rayjobs")  # skips where the definitions are not at hand
    for kind in ("rayjobs", "rayclusters"):
        text = (parts.kuberay_folder() / f"ray.io_{kind}.yaml").read_text()
        definition = json.dumps(yaml.load(text, Loader=yaml.CSafeLoader))
        server.kubectl("create", "--validate=strict", "-f", "-", stdin=definition)
        server.wait_for(f"/apis/ray.io/v1/{kind}")
    objects = parts.overlay("overlays/dev")
    server.kubectl("apply", "-f", str(K8S / "base" / "namespace.yaml"))  # first, for the Secrets that an owner creates
    applied = server.apply(*objects)
    assert not applied.stderr, applied.stderr
    # What a cluster's controllers do: an account for Pods that name none, and the quota's count.
    server.kubectl("create", "serviceaccount", "default", "--namespace=gradsweep")
    (quota,) = [one for one in objects if one["kind"] == "ResourceQuota"]
    server.count(quota)
    server.wait_for_policy(render(*job("dev")))
    return server


@pytest.fixture
def namespace(ready: Server, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """As the ServiceAccount of the base, with the rights of its Role and no others."""
    token = ready.kubectl("create", "token", "gradsweep-user", "--namespace=gradsweep").stdout.strip()
    return ready.namespace(token, monkeypatch)
