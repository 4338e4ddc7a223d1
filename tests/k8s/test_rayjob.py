"""What a sweep's RayJob says, and what KubeRay would refuse of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.targets.kubernetes.kuberay_rules import problems
from sweeps.targets.kubernetes.pool import Pool, Redis, Size, SweepJob, Workers, read_pool
from sweeps.targets.kubernetes.rayjob import as_yaml, documents_of, render

IMAGE = "registry.example.com/gradsweep:0.1.0"


def test_the_spec_and_the_pool_come_back(parts: SimpleNamespace) -> None:
    """What `resume` makes the RayJob anew from."""
    sweep = replace(parts.job("gpu-pool"), pool=replace(parts.job("gpu-pool").pool, redis=Redis()))
    documents = documents_of(yaml.safe_load(as_yaml(render(sweep))))
    assert documents and documents[0] == sweep.spec and read_pool(documents[1]) == sweep.pool
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
    container = head(render(replace(parts.job("dev"), packs=6))["spec"])["template"]["spec"]["containers"][0]
    told = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert told["GRADSWEEP_PACKS"] == "6"


def test_yaml_gives_the_object_back(rayjob: dict[str, Any]) -> None:
    assert yaml.safe_load(as_yaml(rayjob)) == rayjob


def test_kuberay_refuses_nothing_of_ours(rayjob: dict[str, Any]) -> None:
    assert problems(rayjob) == []


def test_kuberay_refuses_nothing_with_redis_either(parts: SimpleNamespace) -> None:
    sweep = parts.job("dev")
    assert problems(render(replace(sweep, pool=replace(sweep.pool, redis=Redis())))) == []


def test_the_spec_arrives_letter_by_letter(parts: SimpleNamespace) -> None:
    text = "name: x\nquestion: 'ü, \"quotes\", $HOME and `ticks`'\n\n# the end"
    rayjob = render(replace(parts.job("dev"), spec=text))
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
    assert {"GRADSWEEP_OPTUNA_URL", "MLFLOW_TRACKING_PASSWORD"} <= {
        entry["name"] for entry in head["env"] if "secretKeyRef" in entry.get("valueFrom", {})
    }
    worker = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    submitter = rayjob["spec"]["submitterPodTemplate"]["spec"]["containers"][0]
    assert not [entry for one in (worker, submitter) for entry in one["env"] if "valueFrom" in entry]
    assert "api-access" not in {mount["name"] for mount in head["volumeMounts"]}


def test_a_queued_job_waits_and_has_its_full_size(parts: SimpleNamespace) -> None:
    queued = render(parts.job("gpu-pool"))
    group = queued["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert queued["spec"]["suspend"] is True
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gradsweep"
    assert "enableInTreeAutoscaling" not in queued["spec"]["rayClusterSpec"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 4


def test_without_a_queue_it_scales_between_minimum_and_maximum(parts: SimpleNamespace) -> None:
    scaled = render(parts.job("dev"))["spec"]["rayClusterSpec"]
    group = scaled["workerGroupSpecs"][0]
    assert scaled["enableInTreeAutoscaling"] is True and scaled["autoscalerOptions"]["version"] == "v2"
    assert (group["minReplicas"], group["maxReplicas"]) == (0, 2)
    assert scaled["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_gpu_workers_tolerate_their_nodes_taint_and_cpu_workers_do_not(parts: SimpleNamespace) -> None:
    tolerated = {}
    for pool in ("dev", "gpu-pool"):
        spec = render(parts.job(pool))["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
        tolerated[pool] = [one["key"] for one in spec["tolerations"]]
    assert tolerated == {"dev": [], "gpu-pool": ["nvidia.com/gpu", "cloud.google.com/gke-spot"]}


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: SweepJob("a" * 48, "", Pool(IMAGE)), "at most 47"),
        (lambda: SweepJob("2nd", "", Pool(IMAGE)), "start with a letter"),
        (lambda: SweepJob("ends-", "", Pool(IMAGE)), "not end with -"),
        (lambda: SweepJob("a", "x" * 200_001, Pool(IMAGE)), "200001"),
        (lambda: Pool("gradsweep"), "pinned"),
        (lambda: Pool("registry.example.com:5000/gradsweep"), "pinned"),
        (lambda: Pool("gradsweep:latest"), "pinned"),
        (lambda: Workers(minimum=3, maximum=2), "3 and 2"),
        (lambda: Size(cpus=0, memory="1Gi"), "cpus=0"),
        (lambda: Size(cpus=1, memory="lots"), "'lots'"),
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


def worker(spec: dict[str, Any]) -> dict[str, Any]:
    group: dict[str, Any] = spec["rayClusterSpec"]["workerGroupSpecs"][0]
    return group


def add_env(group: dict[str, Any], name: str, value: str) -> None:
    group["template"]["spec"]["containers"][0]["env"].append({"name": name, "value": value})


def volumes(template: dict[str, Any]) -> dict[str, Any]:
    return {volume["name"]: volume for volume in template["spec"]["volumes"]}


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "ValidateRayJobSpec": lambda spec: spec.update(activeDeadlineSeconds=0),
    "spec.backoffLimit": lambda spec: spec.update(backoffLimit=-1),
    "validateDeletionConfiguration": lambda spec: spec.update(shutdownAfterJobFinishes=False),
    "spec.deletionStrategy": lambda spec: spec.update(deletionStrategy={}),
    "spec.suspend": lambda spec: spec.update(suspend=True, shutdownAfterJobFinishes=False),
    "spec.clusterSelector": lambda spec: spec.update(clusterSelector={"ray.io/cluster": "x"}),
    "not with SidecarMode": lambda spec: spec.update(submissionMode="SidecarMode"),
    "not with InteractiveMode": lambda spec: spec.update(submissionMode="InteractiveMode"),
    "is not YAML": lambda spec: spec.update(runtimeEnvYAML="a: [b"),
    "spec.entrypoint": lambda spec: spec.update(entrypoint="gradsweep run x; rm -rf /"),
    "GetDefaultSubmitterContainer": lambda spec: spec.pop("submitterPodTemplate"),
    "createNewK8sJob": lambda spec: spec["submitterPodTemplate"]["spec"].pop("restartPolicy"),
    "spec.rayClusterSpec: must": lambda spec: spec.pop("rayClusterSpec"),
    "headGroupSpec: at least one": lambda spec: head(spec)["template"]["spec"].update(containers=[]),
    "gpu-less: at least one": lambda spec: (
        worker(spec).update(groupName="gpu-less"),
        worker(spec)["template"]["spec"].update(containers=[]),
    ),
    "validateRayGroupResources": lambda spec: head(spec).update(resources={"CPU": "1"}),
    "validateRayGroupLabels": lambda spec: worker(spec)["rayStartParams"].update(labels="a=b"),
    "is no label's value": lambda spec: worker(spec).update(labels={"a": "-"}),
    "minReplicas <= maxReplicas": lambda spec: worker(spec).update(minReplicas=3),
    "without autoscaling": lambda spec: (
        spec["rayClusterSpec"].pop("enableInTreeAutoscaling"),
        worker(spec).pop("maxReplicas"),
    ),
    "a group is not suspended": lambda spec: worker(spec).update(suspend=True),
    "validateWorkerGroupIdleTimeout": lambda spec: worker(spec).update(idleTimeoutSeconds=-1),
    "groupName": lambda spec: worker(spec).update(groupName="-"),
    "is KubeRay's own (labelPod)": lambda spec: head(spec)["template"]["metadata"]["labels"].update(
        {"app.kubernetes.io/name": "gradsweep"}
    ),
    "headGroupSpec.template.metadata.annotations": lambda spec: head(spec)["template"]["metadata"][
        "annotations"
    ].update({"big": "x" * 2**18}),
    "RAY_CLUSTER_NAME is set": lambda spec: add_env(worker(spec), "RAY_CLUSTER_NAME", "x"),
    "beside RAY_enable_autoscaler_v2": lambda spec: add_env(head(spec), "RAY_enable_autoscaler_v2", "true"),
    "without enableInTreeAutoscaling": lambda spec: (
        spec["rayClusterSpec"].update(enableInTreeAutoscaling=False),
        add_env(head(spec), "RAY_enable_autoscaler_v2", "1"),
    ),
    "KUBERAY_GEN_AUTOSCALER_START_CMD": lambda spec: spec["rayClusterSpec"]["autoscalerOptions"]["env"].append(
        {"name": "KUBERAY_GEN_AUTOSCALER_START_CMD", "value": "x"}
    ),
    "autoscalerOptions.idleTimeoutSeconds": lambda spec: spec["rayClusterSpec"]["autoscalerOptions"].update(
        idleTimeoutSeconds=-1
    ),
    "head: restartPolicy": lambda spec: head(spec)["template"]["spec"].update(restartPolicy="Always"),
    "cpu-workers: restartPolicy": lambda spec: worker(spec)["template"]["spec"].update(restartPolicy="OnFailure"),
    "RAY_REDIS_ADDRESS without": lambda spec: add_env(head(spec), "RAY_REDIS_ADDRESS", "redis:6379"),
    "REDIS_PASSWORD beside": lambda spec: (
        spec["rayClusterSpec"].update(gcsFaultToleranceOptions={"redisAddress": "redis:6379"}),
        add_env(head(spec), "REDIS_PASSWORD", "x"),
    ),
    "redis-password beside": lambda spec: (
        spec["rayClusterSpec"].update(gcsFaultToleranceOptions={"redisAddress": "redis:6379"}),
        head(spec)["rayStartParams"].update({"redis-password": "x"}),
    ),
    "redisUsername": lambda spec: head(spec)["rayStartParams"].update({"redis-username": "x"}),
    "storage: not with Redis": lambda spec: spec["rayClusterSpec"].update(gcsFaultToleranceOptions={"storage": {}}),
    "needs a feature gate": lambda spec: spec["rayClusterSpec"].update(gcsFaultToleranceOptions={"backend": "rocksdb"}),
    "RayClusterNetworkPolicy": lambda spec: spec["rayClusterSpec"].update(networkPolicy={}),
    "RayClusterMTLS": lambda spec: spec["rayClusterSpec"].update(tlsOptions={"enabled": True}),
    "ValidateRayClusterUpgradeOptions": lambda spec: spec["rayClusterSpec"].update(upgradeStrategy={}),
    "token needs rayVersion": lambda spec: spec["rayClusterSpec"].update(rayVersion="2.51.0"),
    "HTTP probes": lambda spec: spec["rayClusterSpec"].update(rayVersion="2.52.1"),
    "enableK8sTokenAuth": lambda spec: spec["rayClusterSpec"]["authOptions"].update(enableK8sTokenAuth=True),
}


@pytest.mark.parametrize("rule", BREAKS)
def test_a_rule_of_kuberays_that_is_broken_is_named(rule: str, parts: SimpleNamespace) -> None:
    broken = copy.deepcopy(render(parts.job("dev")))
    BREAKS[rule](broken["spec"])
    assert [line for line in problems(broken) if rule in line]


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("suspended", lambda spec: spec.pop("suspend")),
        ("deletes its cluster", lambda spec: spec.update(shutdownAfterJobFinishes=False, ttlSecondsAfterFinished=0)),
        ("enableInTreeAutoscaling", lambda spec: spec["rayClusterSpec"].update(enableInTreeAutoscaling=True)),
        ("named head", lambda spec: worker(spec).update(groupName="head")),
        ("at most 7", lambda spec: spec["rayClusterSpec"].update(workerGroupSpecs=[worker(spec)] * 8)),
    ],
)
def test_a_rule_of_kueues_that_is_broken_is_named(
    rule: str, change: Callable[[dict[str, Any]], object], parts: SimpleNamespace
) -> None:
    broken = copy.deepcopy(render(parts.job("gpu-pool")))
    change(broken["spec"])
    assert [line for line in problems(broken) if rule in line]


@pytest.mark.parametrize("name", ["a" * 48, "2nd", "Upper", "dot.ted", ""])
def test_a_name_that_kuberay_refuses_is_named(name: str, rayjob: dict[str, Any]) -> None:
    changed = copy.deepcopy(rayjob)
    changed["metadata"]["name"] = name
    assert [line for line in problems(changed) if "metadata.name" in line]
