"""What the tests of k8s/ share: rendered overlays, the sample's job, KubeRay's schema, a cluster to speak to."""

from __future__ import annotations

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

from sweeps.targets.kubernetes.pool import Pool, Redis, read_pool
from sweeps.targets.kubernetes.rayjob import render
from tests.k8s.stand_in import Cluster, kubeconfig, serving

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("dev", "gpu-pool")


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
        job=job,
        full_pool=full_pool,
        pod_specs=pod_specs,
        kuberay_folder=kuberay_folder,
        kuberay_schema=kuberay_schema,
        folder=K8S,
    )


@pytest.fixture(params=[*OVERLAYS, "everything"])
def overlay_name(request: pytest.FixtureRequest) -> str:
    """The overlays, and one more with every component at once."""
    return str(request.param)


@pytest.fixture
def objects(overlay_name: str, tmp_path: Path) -> tuple[dict[str, Any], ...]:
    if overlay_name != "everything":
        return overlay(f"overlays/{overlay_name}")
    above = os.path.relpath(K8S, tmp_path)
    components = [f"{above}/components/{name}" for name in ("postgres", "kueue", "gcs-ft-redis")]
    made = {"kind": "Kustomization", "namespace": "gradsweep", "resources": [f"{above}/base"], "components": components}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(made))
    return overlay(str(tmp_path))


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
