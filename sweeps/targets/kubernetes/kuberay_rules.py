"""KubeRay's rules beyond its schema, as far as a RayJob of ours could break them.

The API server accepts what the schema allows; KubeRay's operator then refuses some of it, as a status that nobody
looks at, and Kueue's webhook some more. Each check here names the function it follows, in KubeRay's
`ray-operator/controllers/ray/utils/validation.go` (main, August 2026), `common/pod.go` and `common/job.go`, and in
Kueue's `pkg/controller/jobs/{rayjob,raycluster}`. Rules about fields that we never write are one line: not those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Object = Mapping[str, Any]

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
SHELL_SAFE = re.compile(r"[A-Za-z0-9_./:=,@%+ -]+")
ANNOTATION_BYTES = 256 * 1024  # apimachinery's TotalAnnotationSizeLimitB
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"

# Set by the operator; one of our own would be shadowed, or shadow it (common/pod.go, setContainerEnvVars).
MANAGED = {"RAY_CLUSTER_NAME", "RAY_CLUSTER_NAMESPACE", "RAY_CLOUD_INSTANCE_ID", "RAY_NODE_TYPE_NAME", "FQ_RAY_IP"}
GATED = {
    "networkPolicy": "RayClusterNetworkPolicy",
    "tlsOptions": "RayClusterMTLS",
    "historyServerOptions": "RayClusterHistoryServer",
}


def problems(rayjob: Object) -> list[str]:
    """One line for each rule broken: where, what, and whose rule it is; [] where KubeRay will run it."""
    spec = rayjob.get("spec", {})
    cluster = spec.get("rayClusterSpec")
    found = [*_metadata(rayjob.get("metadata", {})), *_job(spec), *_submitter(spec)]
    if cluster is not None:
        containers = _containers(cluster.get("headGroupSpec", {}))
        if not containers:
            return [*found, "spec.rayClusterSpec.headGroupSpec: at least one container (ValidateRayClusterSpec)"]
        found += [*_head(cluster, containers[0]), *_scaling(cluster), *_redis(rayjob, cluster, containers[0])]
        found += [*_gates(cluster), *_token(cluster)]
        for group in cluster.get("workerGroupSpecs", []):
            found += _group(group, cluster)
        if QUEUE_LABEL in rayjob.get("metadata", {}).get("labels", {}):
            found += _kueue(spec, cluster)
    return found


def _metadata(metadata: Object) -> Iterator[str]:
    name = metadata.get("name", "")
    if len(name) > 47:
        yield f"metadata.name: at most 47 characters, but got {len(name)} (ValidateRayJobMetadata)"
    if not DNS_1035.fullmatch(name):
        yield f"metadata.name: must be a DNS-1035 label, but got {name!r} (ValidateRayJobMetadata)"


def _job(spec: Object) -> Iterator[str]:
    ends = bool(spec.get("shutdownAfterJobFinishes"))
    mode = spec.get("submissionMode", "K8sJobMode")
    if spec.get("clusterSelector"):
        yield "spec.clusterSelector: every sweep has a cluster of its own (retries need one, ValidateRayJobSpec)"
    if spec.get("rayClusterSpec") is None:
        yield "spec.rayClusterSpec: must be given (ValidateRayJobSpec)"
    if spec.get("suspend") and not ends:
        yield "spec.suspend: only with shutdownAfterJobFinishes (ValidateRayJobSpec)"
    if spec.get("ttlSecondsAfterFinished", 0) < 0:
        yield "spec.ttlSecondsAfterFinished: at least 0 (ValidateRayJobSpec)"
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not ends:
        yield "spec.ttlSecondsAfterFinished: only with shutdownAfterJobFinishes (validateDeletionConfiguration)"
    if spec.get("deletionStrategy") is not None:
        yield "spec.deletionStrategy: needs the gate RayJobDeletionPolicy (validateDeletionConfiguration)"
    if mode == "InteractiveMode" and spec.get("backoffLimit", 0) > 0:
        yield "spec.backoffLimit: not with InteractiveMode (ValidateRayJobSpec)"
    if mode == "SidecarMode" and (spec.get("submitterPodTemplate") or spec.get("submitterConfig")):
        yield "spec.submitterPodTemplate: not with SidecarMode (ValidateRayJobSpec)"
    for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(key, 1) <= 0:
            yield f"spec.{key}: at least 1 (ValidateRayJobSpec)"
    if spec.get("backoffLimit", 0) < 0:
        yield "spec.backoffLimit: at least 0 (ValidateRayJobSpec)"
    try:
        yaml.safe_load(spec.get("runtimeEnvYAML", ""))
    except yaml.YAMLError:
        yield "spec.runtimeEnvYAML: is not YAML (UnmarshalRuntimeEnvYAML)"


def _submitter(spec: Object) -> Iterator[str]:
    if spec.get("submissionMode", "K8sJobMode") != "K8sJobMode":
        return
    # BuildJobSubmitCommand pastes the entrypoint into a `bash -c`, as it stands.
    if not SHELL_SAFE.fullmatch(spec.get("entrypoint", "")):
        yield f"spec.entrypoint: a plain command without shell characters, but got {spec.get('entrypoint', '')!r}"
    template = spec.get("submitterPodTemplate")
    if template is None:
        yield "spec.submitterPodTemplate: KubeRay's own has no securityContext (GetDefaultSubmitterContainer)"
    elif template.get("spec", {}).get("restartPolicy") not in ("Never", "OnFailure"):
        # The template becomes a Kubernetes Job's, whose API refuses the default, Always.
        yield "spec.submitterPodTemplate.spec.restartPolicy: Never or OnFailure (createNewK8sJob)"


def _head(cluster: Object, container: Object) -> Iterator[str]:
    head = cluster["headGroupSpec"]
    yield from _resources("Head", head)
    annotations = head.get("template", {}).get("metadata", {}).get("annotations", {})
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > ANNOTATION_BYTES:
        yield f"headGroupSpec.template.metadata.annotations: at most {ANNOTATION_BYTES} bytes, but got {size}"
    if "app.kubernetes.io/name" in head.get("template", {}).get("metadata", {}).get("labels", {}):
        yield "headGroupSpec.template.metadata.labels: app.kubernetes.io/name is KubeRay's own (labelPod)"
    yield from _environment("headGroupSpec", container)
    if _version(cluster.get("rayVersion", "")) < (2, 53):
        # Older probes call wget, which our image has not.
        yield "rayClusterSpec.rayVersion: at least 2.53 for HTTP probes (supportsUnifiedHealthCheck)"


def _scaling(cluster: Object) -> Iterator[str]:
    options = cluster.get("autoscalerOptions", {})
    switch = _value(_containers(cluster["headGroupSpec"])[0], "RAY_enable_autoscaler_v2")
    if options.get("idleTimeoutSeconds", 0) < 0:
        yield "autoscalerOptions.idleTimeoutSeconds: at least 0 (ValidateRayClusterSpec)"
    if _value(options, "KUBERAY_GEN_AUTOSCALER_START_CMD") is not None:
        yield "autoscalerOptions.env: KUBERAY_GEN_AUTOSCALER_START_CMD is KubeRay's own (ValidateRayClusterSpec)"
    if not cluster.get("enableInTreeAutoscaling"):
        if switch in ("1", "true"):
            yield "headGroupSpec: RAY_enable_autoscaler_v2 without enableInTreeAutoscaling (ValidateRayClusterSpec)"
        return
    if options.get("version") and switch is not None:
        yield "autoscalerOptions.version: not beside RAY_enable_autoscaler_v2 (ValidateRayClusterSpec)"
    if options.get("version") == "v2":
        for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])):
            if group.get("template", {}).get("spec", {}).get("restartPolicy", "Never") != "Never":
                name = group.get("groupName", "head")
                yield f"{name}: restartPolicy must be Never or unset with autoscaler v2 (ValidateRayClusterSpec)"


def _redis(rayjob: Object, cluster: Object, container: Object) -> Iterator[str]:
    options = cluster.get("gcsFaultToleranceOptions")
    annotations = rayjob.get("metadata", {}).get("annotations", {})
    parameters = cluster["headGroupSpec"].get("rayStartParams", {})
    if parameters.get("redis-username") or _value(container, "REDIS_USERNAME") is not None:
        yield "headGroupSpec: the Redis user goes to gcsFaultToleranceOptions.redisUsername (ValidateRayClusterSpec)"
    if options is None:
        if annotations.get("ray.io/ft-enabled") != "true" and _value(container, "RAY_REDIS_ADDRESS") is not None:
            yield "headGroupSpec: RAY_REDIS_ADDRESS without gcsFaultToleranceOptions (ValidateRayClusterSpec)"
        return
    if annotations.get("ray.io/ft-enabled") or annotations.get("ray.io/external-storage-namespace"):
        yield "metadata.annotations: fault tolerance is said in gcsFaultToleranceOptions (ValidateRayClusterSpec)"
    if parameters.get("redis-password"):
        yield "headGroupSpec.rayStartParams: redis-password beside gcsFaultToleranceOptions (ValidateRayClusterSpec)"
    for name in ("REDIS_PASSWORD", "RAY_REDIS_ADDRESS"):
        if _value(container, name) is not None:
            yield f"headGroupSpec: {name} beside gcsFaultToleranceOptions (ValidateRayClusterSpec)"
    if options.get("backend", "redis") == "rocksdb":
        yield "gcsFaultToleranceOptions.backend: needs a feature gate (validateGcsFaultToleranceBackend)"
    elif options.get("storage") is not None:
        yield "gcsFaultToleranceOptions.storage: not with Redis (validateGcsFaultToleranceBackend)"


def _gates(cluster: Object) -> Iterator[str]:
    for key, gate in GATED.items():
        if cluster.get(key) is not None:
            yield f"rayClusterSpec.{key}: needs the feature gate {gate} (ValidateRayClusterSpec)"
    if cluster.get("upgradeStrategy") is not None:
        yield "rayClusterSpec.upgradeStrategy: not in a RayJob's cluster (ValidateRayClusterUpgradeOptions)"


def _token(cluster: Object) -> Iterator[str]:
    options = cluster.get("authOptions", {})
    if options.get("enableK8sTokenAuth"):
        yield "authOptions.enableK8sTokenAuth: not for a RayJob (ValidateRayJobSpec)"
    if options.get("mode") == "token" and _version(cluster.get("rayVersion", "")) < (2, 52):
        yield "authOptions.mode: token needs rayVersion 2.52 or newer (ValidateRayClusterSpec)"


def _group(group: Object, cluster: Object) -> Iterator[str]:
    name = group.get("groupName", "")
    containers = _containers(group)
    if not containers:
        yield f"{name}: at least one container (ValidateRayClusterSpec)"
    for container in containers[:1]:
        yield from _environment(name, container)
    if not name or len(name) > 63 or not LABEL_VALUE.fullmatch(name):
        yield f"workerGroupSpecs.groupName: must be a label's value, but got {name!r} (labelPod)"
    low, high = group.get("minReplicas"), group.get("maxReplicas")
    if not cluster.get("enableInTreeAutoscaling") and (low is None or high is None):
        yield f"{name}: minReplicas and maxReplicas without autoscaling (ValidateRayClusterSpec)"
    if (low or 0) < 0 or (high or 0) < 0 or (low is not None and high is not None and low > high):
        yield f"{name}: 0 <= minReplicas <= maxReplicas, but got {low} and {high} (ValidateRayClusterSpec)"
    if group.get("suspend"):
        yield f"{name}: a group is not suspended (ValidateRayClusterSpec)"
    v2 = cluster.get("autoscalerOptions", {}).get("version") == "v2"
    if "idleTimeoutSeconds" in group and (group["idleTimeoutSeconds"] < 0 or not v2):
        yield f"{name}: idleTimeoutSeconds, at least 0, with autoscaler v2 alone (validateWorkerGroupIdleTimeout)"
    yield from _resources(name, group)


def _resources(name: str, group: Object) -> Iterator[str]:
    parameters = group.get("rayStartParams", {})
    if group.get("resources") and any(parameters.get(key) for key in ("num-cpus", "num-gpus", "memory", "resources")):
        yield f"{name}: resources in rayStartParams or in resources, not in both (validateRayGroupResources)"
    if "labels" in parameters:
        yield f"{name}: rayStartParams has no labels (validateRayGroupLabels)"
    for value in group.get("labels", {}).values():
        if len(value) > 63 or not LABEL_VALUE.fullmatch(value):
            yield f"{name}: {value!r} is no label's value (validateRayGroupLabels)"


def _environment(name: str, container: Object) -> Iterator[str]:
    for managed in sorted(MANAGED & {entry["name"] for entry in container.get("env", [])}):
        yield f"{name}: {managed} is set by KubeRay (setContainerEnvVars)"


def _kueue(spec: Object, cluster: Object) -> Iterator[str]:
    groups = cluster.get("workerGroupSpecs", [])
    if not spec.get("shutdownAfterJobFinishes"):
        yield "spec.shutdownAfterJobFinishes: a queued job deletes its cluster (Kueue, RayJobWebhook.validateCreate)"
    if cluster.get("enableInTreeAutoscaling"):
        yield "rayClusterSpec.enableInTreeAutoscaling: not behind a queue (Kueue, RayJobWebhook.validateCreate)"
    if len(groups) > 7:
        yield "rayClusterSpec.workerGroupSpecs: at most 7 behind a queue (Kueue, RayJobWebhook.validateCreate)"
    if any(group.get("groupName") == "head" for group in groups):
        yield "rayClusterSpec.workerGroupSpecs: no group named head behind a queue (Kueue, RayJobWebhook)"
    if not spec.get("suspend"):
        yield "spec.suspend: a queued job is created suspended, or it may start before its turn (Kueue)"


def _containers(group: Object) -> list[Object]:
    containers: list[Object] = group.get("template", {}).get("spec", {}).get("containers", [])
    return containers


def _value(container: Object, name: str) -> str | None:
    """The environment variable's value, "" where it comes from elsewhere, None where there is none."""
    for entry in container.get("env", []):
        if entry["name"] == name:
            return str(entry.get("value", ""))
    return None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
