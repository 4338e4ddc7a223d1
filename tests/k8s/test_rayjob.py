"""What a sweep's RayJob says; what of it comes from the pool is in test_pool.py."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import yaml

from sweeps.targets.kubernetes.pool import Redis, read_pool
from sweeps.targets.kubernetes.rayjob import as_yaml, documents_of, render, version_of
from sweeps.targets.target import RESUME_COMMAND


def test_the_spec_and_the_pool_come_back(parts: SimpleNamespace) -> None:
    """What `resume` makes the RayJob anew from."""
    name, spec, pool = parts.job("gpu-pool")
    pool = replace(pool, redis=Redis())
    documents = documents_of(yaml.safe_load(as_yaml(render(name, spec, pool))))
    assert documents and documents[0] == spec and read_pool(documents[1]) == pool
    assert documents_of({"metadata": {}, "spec": {}}) is None


def test_the_version_comes_back(rayjob: dict[str, Any]) -> None:
    assert version_of(rayjob) == version("gradsweep")
    assert version_of({"metadata": {}, "spec": {}}) is None


def test_what_runs_in_our_pods_beside_ray(rayjob: dict[str, Any], parts: SimpleNamespace) -> None:
    """Checks before Ray starts, and Ray stopped before the kubelet's SIGTERM, which the shell around it ignores."""
    specs = parts.pod_specs(rayjob)
    starts = {
        (name, container["name"]): container["command"]
        for name, spec in specs.items()
        for container in spec.get("initContainers", [])
    }
    ends = {
        name: spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        for name, spec in specs.items()
        if name != "submitter"
    }
    module = ["python", "-m", "sweeps.targets.kubernetes.in_pod."]
    assert starts == {
        ("head", "preflight"): [*module[:2], f"{module[2]}preflight"],
        ("submitter", "not-failed"): [*module[:2], f"{module[2]}not_failed", "alpha-r"],
    }
    assert all(command == [*module[:2], f"{module[2]}pre_stop"] for command in ends.values())
    assert {name: spec.get("terminationGracePeriodSeconds") for name, spec in specs.items()} == (
        {"head": 60, "submitter": None} | dict.fromkeys(ends.keys() - {"head"}, 30)
    )
    for name, spec in specs.items():
        for container in spec.get("initContainers", []):
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError", name


def test_the_preflight_sees_what_the_driver_sees_but_no_secret(rayjob: dict[str, Any], parts: SimpleNamespace) -> None:
    spec = parts.pod_specs(rayjob)["head"]
    (preflight,), driver = spec["initContainers"], spec["containers"][0]
    open_env = [entry for entry in driver["env"] if "value" in entry]
    assert preflight["env"] == [*open_env, {"name": "GRADSWEEP_VERSION", "value": version("gradsweep")}]
    assert {mount["mountPath"] for mount in preflight["volumeMounts"]} == {"/tmp", "/mnt/gradsweep"}


def test_a_submitter_that_listens_to_a_former_head_is_ended_and_a_busy_one_is_not(
    rayjob: dict[str, Any], parts: SimpleNamespace
) -> None:
    (submitter,) = parts.pod_specs(rayjob)["submitter"]["containers"]
    probe = submitter["livenessProbe"]
    assert probe["exec"]["command"] == ["python", "-m", "sweeps.targets.kubernetes.in_pod.same_head"]
    assert (probe["periodSeconds"], probe["timeoutSeconds"], probe["failureThreshold"]) == (30, 25, 3)


def test_the_driver_knows_how_long_it_has_and_how_its_user_goes_on(parts: SimpleNamespace) -> None:
    rayjob = render(*parts.job("dev"), commands={RESUME_COMMAND: "gradsweep resume alpha-r --to k8s://team"})
    env = parts.pod_specs(rayjob)["head"]["containers"][0]["env"]
    told = {entry["name"]: entry.get("value") for entry in env}
    assert told["GRADSWEEP_RESUME_COMMAND"] == "gradsweep resume alpha-r --to k8s://team"
    stop, mirror, ray = (
        int(told[name]) for name in ("GRADSWEEP_STOP_SECONDS", "GRADSWEEP_MIRROR_SECONDS", "RAY_JOB_STOP_WAIT_TIME_S")
    )
    assert (stop, mirror, ray) == (20, 15, 30)
    assert ray < parts.pod_specs(rayjob)["head"]["terminationGracePeriodSeconds"]


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


def test_the_driver_alone_has_credentials(rayjob: dict[str, Any], parts: SimpleNamespace) -> None:
    secret = {
        (pod, container["name"]): {entry["name"] for entry in container["env"] if "valueFrom" in entry}
        for pod, container in containers(rayjob, parts)
    }
    assert {"GRADSWEEP_LEDGER_URL", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"} == (
        secret.pop(("head", "ray-head"))
    )
    assert secret and not any(secret.values())


def test_a_token_is_only_where_the_api_server_is_asked(rayjob: dict[str, Any], parts: SimpleNamespace) -> None:
    mounted = {
        (pod, container["name"])
        for pod, container in containers(rayjob, parts)
        if "api-access" in {mount["name"] for mount in container["volumeMounts"]}
    }
    assert mounted == {("submitter", "not-failed")}
    options = rayjob["spec"]["rayClusterSpec"].get("autoscalerOptions")
    assert not options or "api-access" in {mount["name"] for mount in options["volumeMounts"]}


def test_a_queued_job_waits_and_has_its_full_size(parts: SimpleNamespace) -> None:
    queued = render(*parts.job("gpu-pool"))
    group = queued["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert queued["spec"]["suspend"] is True
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gradsweep"
    assert "enableInTreeAutoscaling" not in queued["spec"]["rayClusterSpec"]
    assert "idleTimeoutSeconds" not in group  # KubeRay refuses it where nothing scales
    assert "kueue.x-k8s.io/elastic-job" not in queued["metadata"]["annotations"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 4


def test_without_a_queue_it_scales_between_minimum_and_maximum(parts: SimpleNamespace) -> None:
    scaled = render(*parts.job("dev"))["spec"]["rayClusterSpec"]
    group = scaled["workerGroupSpecs"][0]
    assert scaled["enableInTreeAutoscaling"] is True and scaled["autoscalerOptions"]["version"] == "v2"
    assert (group["minReplicas"], group["maxReplicas"], group["idleTimeoutSeconds"]) == (0, 2, 60)
    assert scaled["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_gpu_workers_tolerate_their_nodes_taint_and_cpu_workers_do_not(parts: SimpleNamespace) -> None:
    tolerated = {}
    for pool in ("dev", "gpu-pool"):
        spec = render(*parts.job(pool))["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]
        tolerated[pool] = [taint["key"] for taint in spec.get("tolerations", [])]
    assert tolerated == {"dev": [], "gpu-pool": ["nvidia.com/gpu", "cloud.google.com/gke-spot"]}


def head(spec: dict[str, Any]) -> dict[str, Any]:
    group: dict[str, Any] = spec["rayClusterSpec"]["headGroupSpec"]
    return group


def containers(rayjob: dict[str, Any], parts: SimpleNamespace) -> list[tuple[str, dict[str, Any]]]:
    """Every container with its Pod's name, those that run first included."""
    return [
        (name, container)
        for name, spec in parts.pod_specs(rayjob).items()
        for container in (*spec.get("initContainers", []), *spec["containers"])
    ]


def volumes(template: dict[str, Any]) -> dict[str, Any]:
    return {volume["name"]: volume for volume in template["spec"]["volumes"]}
