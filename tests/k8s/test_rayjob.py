"""What a sweep's RayJob says, and which pools and names are refused before there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.targets.kubernetes.pool import Pool, Redis, Size, Workers, read_pool
from sweeps.targets.kubernetes.rayjob import as_yaml, documents_of, render

IMAGE = "registry.example.com/gradsweep:0.2.0"


def test_the_spec_and_the_pool_come_back(parts: SimpleNamespace) -> None:
    """What `resume` makes the RayJob anew from."""
    name, spec, pool = parts.job("gpu-pool")
    pool = replace(pool, redis=Redis())
    documents = documents_of(yaml.safe_load(as_yaml(render(name, spec, pool))))
    assert documents and documents[0] == spec and read_pool(documents[1]) == pool
    assert documents_of({"metadata": {}, "spec": {}}) is None


@pytest.mark.parametrize(
    ("size", "cpus", "gpus", "packs"),
    [
        (Size(cpus=4, memory="8Gi"), 1, 0.0, 12),
        (Size(cpus=4, memory="8Gi"), 3, 0.0, 3),
        (Size(cpus=8, memory="8Gi", gpus=1), 1, 0.25, 12),
        (Size(cpus=8, memory="8Gi", gpus=1), 1, 0.1, 24),
        (Size(cpus=8, memory="8Gi", gpus=2), 1, 2.0, 3),
    ],
)
def test_how_many_packs_a_pool_has_room_for(size: Size, cpus: int, gpus: float, packs: int) -> None:
    assert Workers(size=size, maximum=3).packs_at_once(cpus, gpus) == packs


@pytest.mark.parametrize(("cpus", "gpus"), [(5, 0.0), (1, 0.5)])
def test_a_pack_that_no_worker_has_room_for_is_refused(cpus: int, gpus: float) -> None:
    with pytest.raises(ValueError, match="wait for ever: a worker of this pool has cpus=4, gpus=0"):
        Workers(size=Size(cpus=4, memory="8Gi")).packs_at_once(cpus, gpus)


def test_the_autoscaler_sees_the_whole_demand(parts: SimpleNamespace) -> None:
    """So many packs wait at once: by itself Tune has one, and a pool grows a worker at a time."""
    container = head(render(*parts.job("dev"), packs=6)["spec"])["template"]["spec"]["containers"][0]
    told = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert told["GRADSWEEP_PACKS"] == "6"


def test_yaml_gives_the_object_back(rayjob: dict[str, Any]) -> None:
    assert yaml.safe_load(as_yaml(rayjob)) == rayjob


def test_the_spec_arrives_letter_by_letter(parts: SimpleNamespace) -> None:
    text = "name: x\nquestion: 'ü, \"quotes\", $HOME and `ticks`'\n\n# the end"
    rayjob = render("alpha-r", text, parts.job("dev")[2])
    template = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    files = {
        item["path"]: item["fieldRef"]["fieldPath"] for item in volumes(template)["documents"]["downwardAPI"]["items"]
    }
    assert files["spec.yaml"] == "metadata.annotations['gradsweep/spec']"
    assert template["metadata"]["annotations"]["gradsweep/spec"] == text
    mounts = {mount["name"]: mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]}
    assert f"{mounts['documents']}/spec.yaml" in rayjob["spec"]["entrypoint"]
    assert f"{mounts['documents']}/store.yaml" in rayjob["spec"]["entrypoint"]


def test_the_driver_alone_has_credentials_and_the_autoscaler_alone_a_token(rayjob: dict[str, Any]) -> None:
    cluster = rayjob["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert {"GRADSWEEP_LEDGER_URL", "MLFLOW_TRACKING_PASSWORD"} <= {
        entry["name"] for entry in head["env"] if "secretKeyRef" in entry.get("valueFrom", {})
    }
    worker = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    submitter = rayjob["spec"]["submitterPodTemplate"]["spec"]["containers"][0]
    assert not [entry for one in (worker, submitter) for entry in one["env"] if "valueFrom" in entry]
    assert "api-access" not in {mount["name"] for mount in head["volumeMounts"]}


def test_a_queued_job_waits_and_has_its_full_size(parts: SimpleNamespace) -> None:
    queued = render(*parts.job("gpu-pool"))
    group = queued["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert queued["spec"]["suspend"] is True
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gradsweep"
    assert "enableInTreeAutoscaling" not in queued["spec"]["rayClusterSpec"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 4


def test_without_a_queue_it_scales_between_minimum_and_maximum(parts: SimpleNamespace) -> None:
    scaled = render(*parts.job("dev"))["spec"]["rayClusterSpec"]
    group = scaled["workerGroupSpecs"][0]
    assert scaled["enableInTreeAutoscaling"] is True and scaled["autoscalerOptions"]["version"] == "v2"
    assert (group["minReplicas"], group["maxReplicas"]) == (0, 2)
    assert scaled["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_gpu_workers_tolerate_their_nodes_taint_and_cpu_workers_do_not(parts: SimpleNamespace) -> None:
    tolerated = {}
    for pool in ("dev", "gpu-pool"):
        spec = render(*parts.job(pool))["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
        tolerated[pool] = [one["key"] for one in spec["tolerations"]]
    assert tolerated == {"dev": [], "gpu-pool": ["nvidia.com/gpu", "cloud.google.com/gke-spot"]}


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Pool("gradsweep"), "pinned"),
        (lambda: Pool("registry.example.com:5000/gradsweep"), "pinned"),
        (lambda: Pool("gradsweep:latest"), "pinned"),
        (lambda: Workers(minimum=3, maximum=2), "3 and 2"),
        (lambda: read_pool("image: a:1\nhead: {cpus: 0, memory: 1Gi}"), "head.cpus: .* greater than 0, but got 0"),
        (lambda: Size(cpus=1, memory="lots"), "'lots'"),
        (lambda: Workers(idle_seconds=-1), "idle_seconds\n.*greater than or equal to 0.*input_value=-1"),
        (lambda: Pool(IMAGE, retries=-1), "retries"),
        (lambda: read_pool("image: a:1\nworker: {}"), "worker: "),
        (lambda: read_pool("image: a:1\nworkers: {maximum: many}"), "workers.maximum: "),
        (lambda: read_pool("image: [a"), "not YAML"),
        (lambda: read_pool(""), "pool: "),
    ],
)
def test_a_bad_value_is_refused_with_its_rule(make: Callable[[], object], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make()


def head(spec: dict[str, Any]) -> dict[str, Any]:
    group: dict[str, Any] = spec["rayClusterSpec"]["headGroupSpec"]
    return group


def volumes(template: dict[str, Any]) -> dict[str, Any]:
    return {volume["name"]: volume for volume in template["spec"]["volumes"]}
