"""One sweep as one KubeRay RayJob: typed settings in, a plain dictionary out.

This single object has everything that a sweep needs, so that creating it is the only step and nothing is left
half-created: the spec and the store file are annotations of the head's Pod, which the downward API shows to the driver
as files. A ConfigMap would need a second request, a right that our Role does not grant, and an owner that must exist
first; an environment variable ends at 128 KiB and would lose the spec's line numbers for error messages.

Each retry of a RayJob is a fresh Ray cluster, so the entrypoint has `--resume`: start, or continue from the store.

    print(as_yaml(render("alpha-r", spec, pool)))
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import yaml

from sweeps.targets.kubernetes import pods
from sweeps.targets.kubernetes.environment import EVERYWHERE, HEAD, SHARED
from sweeps.targets.kubernetes.pods import Object
from sweeps.targets.kubernetes.pool import Pool, SecretKey, Workers, write_pool

RAY_VERSION = "2.60.0"  # of constraints.txt; KubeRay picks its probes and the token's rules by it
SUBMITTER = "ray-job-submitter"
PREFLIGHT, NOT_FAILED = "preflight", "not-failed"  # init containers of head and submitter
MARK = ("app.kubernetes.io/part-of", "gradsweep")  # the label by which a RayJob or a Pod is ours
POOL, SPEC, STORE, VERSION = "gradsweep/pool", "gradsweep/spec", "gradsweep/store", "gradsweep/version"  # annotations
DOCUMENTS = "/etc/gradsweep"
_OBJECT_STORE = {"object-store-memory": "536870912"}
_METRICS = {"metrics": 8080}  # Ray's, for Prometheus
# Waits for the driver where there is one, which has 30 seconds, then ends Ray: the kubelet would tell PID 1 alone.
_PRE_STOP = {"preStop": {"exec": {"command": pods.in_pod("pre_stop")}}}
_HEAD_GRACE, _WORKER_GRACE = 60, 30  # seconds from a Pod's deletion to SIGKILL


def render(
    name: str, spec: str, pool: Pool, packs: int | None = None, commands: Mapping[str, str] | None = None
) -> Object:
    """The RayJob, as the Python client and YAML take it; `spec` is the sweep's YAML with all settings in it.

    `packs` is how many the pool has room for at once, None where Ray is to find out one by one; `commands` what the
    driver tells its user, by RESUME_COMMAND and the other variables of sweeps.targets.target.
    """
    # Not app.kubernetes.io/name: KubeRay's Services select their Pods by it.
    labels = {MARK[0]: MARK[1], "app.kubernetes.io/instance": name, **pool.labels}
    queue = {"kueue.x-k8s.io/queue-name": pool.queue, "kueue.x-k8s.io/priority-class": pool.workload_priority_class}
    annotations = {**pool.annotations, VERSION: version("gradsweep"), POOL: write_pool(pool)}
    if pool.elastic:
        annotations["kueue.x-k8s.io/elastic-job"] = "true"
    redis: Object = {}
    if pool.redis:
        options = {"redisAddress": pool.redis.address, "redisPassword": pods.secret(pool.redis.password)}
        redis["gcsFaultToleranceOptions"] = options
    files = f"{DOCUMENTS}/spec.yaml --name {name} --store {DOCUMENTS}/store.yaml"
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/managed-by": MARK[1],
                **labels,
                **{key: value for key, value in queue.items() if value},
            },
            "annotations": annotations,
        },
        "spec": {
            # Kueue starts the job by taking this back; created suspended, it never runs before its turn.
            **({"suspend": True} if pool.queue else {}),
            "submissionMode": "K8sJobMode",
            "entrypoint": f"gradsweep run {files} --resume",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": pool.keep_seconds,
            "backoffLimit": pool.retries,
            "activeDeadlineSeconds": pool.deadline_seconds,
            # KubeRay's own submitter would have no securityContext.
            "submitterPodTemplate": _submitter(name, pool, labels),
            "rayClusterSpec": {
                "rayVersion": RAY_VERSION,
                # Anyone who can reach Ray's dashboard can run code as us; the operator makes a token for every cluster.
                "authOptions": {"mode": "token"},
                # Kueue reserves a job's resources as a whole: behind a queue the cluster has its full size at once,
                # unless the job is elastic.
                **(_autoscaling(pool) if pool.autoscales else {}),
                **redis,
                "headGroupSpec": {
                    # No CPUs: packs never compete with the driver for the head.
                    "rayStartParams": {"num-cpus": "0", **_OBJECT_STORE},
                    "template": _head(spec, pool, packs, commands or {}, labels),
                },
                "workerGroupSpecs": [_workers(workers, pool, labels) for workers in pool.workers],
            },
        },
    }


def documents_of(rayjob: Mapping[str, Any]) -> tuple[str, str] | None:
    """The texts of the spec and the pool that a RayJob was rendered from; None where it is none of ours."""
    template = rayjob["spec"].get("rayClusterSpec", {}).get("headGroupSpec", {}).get("template", {})
    spec = template.get("metadata", {}).get("annotations", {}).get(SPEC)
    pool = rayjob["metadata"].get("annotations", {}).get(POOL)
    return (spec, pool) if spec and pool else None


def version_of(rayjob: Mapping[str, Any]) -> str | None:
    """The version of the gradsweep that rendered a RayJob; None where it says none."""
    rendered_by: str | None = rayjob["metadata"].get("annotations", {}).get(VERSION)
    return rendered_by


def as_yaml(rayjob: Mapping[str, Any]) -> str:
    """The object as YAML, its texts of several lines as blocks that can be read."""
    return yaml.dump(dict(rayjob), Dumper=_Dumper, sort_keys=False, width=110)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, "|" if "\n" in text else None)
)


def _submitter(name: str, pool: Pool, labels: Object) -> Object:
    kind = pool.submitter
    resources = pods.amounts(*pods.LIGHT, {"ephemeral-storage": kind.ephemeral_storage})
    # KubeRay may start a submitter again after the RayJob has failed: no driver comes up then.
    not_failed = pods.init_container(
        NOT_FAILED, pool, pods.in_pod("not_failed", name), pods.environment(EVERYWHERE), pods.TOKEN_MOUNT
    )
    submitter = pods.container(SUBMITTER, pool, pods.environment(EVERYWHERE, kind.env), resources)
    alive = {"exec": {"command": pods.in_pod("same_head")}, "periodSeconds": 30, "timeoutSeconds": 25}
    submitter["livenessProbe"] = {**alive, "failureThreshold": 3}
    more = {"restartPolicy": "Never", "initContainers": [not_failed]}
    return pods.pod(labels, "submitter", pool, kind, submitter, [pods.TOKEN], **more)


def _head(spec: str, pool: Pool, packs: int | None, commands: Mapping[str, str], labels: Object) -> Object:
    places, kind = pool.places, pool.head
    told = {**EVERYWHERE, **HEAD, **commands}
    if packs is not None:  # so many wait at once, and the autoscaler sees the whole demand
        told["GRADSWEEP_PACKS"] = str(packs)
    secrets = {
        "GRADSWEEP_LEDGER_URL": places.ledger_url,
        "MLFLOW_TRACKING_USERNAME": places.mlflow_username,
        "MLFLOW_TRACKING_PASSWORD": places.mlflow_password,
    }
    open_env = {name: value for name, value in kind.env.items() if not isinstance(value, SecretKey)}
    preflight = pods.init_container(
        PREFLIGHT,
        pool,
        pods.in_pod("preflight"),
        pods.environment(told, open_env, {"GRADSWEEP_VERSION": version("gradsweep")}),
        pods.STORE_MOUNT,
    )
    head = pods.container(
        "ray-head",
        pool,
        pods.environment(told, secrets, kind.env),
        pods.amounts(kind.cpus, kind.memory, {"ephemeral-storage": kind.ephemeral_storage}),
        {"name": "documents", "mountPath": DOCUMENTS, "readOnly": True},
        pods.STORE_MOUNT,
    )
    head["ports"] = _ports({"gcs-server": 6379, "dashboard": 8265, **_METRICS})
    head["lifecycle"] = _PRE_STOP
    documents = [
        {"path": f"{key.rpartition('/')[2]}.yaml", "fieldRef": {"fieldPath": f"metadata.annotations['{key}']"}}
        for key in (SPEC, STORE)
    ]
    volumes = [
        {"name": "autoscaler-tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "documents", "downwardAPI": {"items": documents}},
        pods.claim(pool),
        pods.TOKEN,
    ]
    more = {"terminationGracePeriodSeconds": _HEAD_GRACE, "initContainers": [preflight]}
    template = pods.pod(labels, "head", pool, kind, head, volumes, **more)
    # The store file, which names passwords and has none.
    store = {"ledger": {"env": "GRADSWEEP_LEDGER_URL"}, "mlflow": places.mlflow_uri, "folder": SHARED}
    template["metadata"]["annotations"] = {
        SPEC: spec,
        STORE: yaml.safe_dump(store, sort_keys=False),
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
        **template["metadata"].get("annotations", {}),
    }
    return template


def _workers(kind: Workers, pool: Pool, labels: Object) -> Object:
    # No credentials: only the driver connects to databases and MLflow.
    resources = {kind.gpu_resource: kind.gpus, "ephemeral-storage": kind.ephemeral_storage}
    worker = pods.container(
        "ray-worker",
        pool,
        pods.environment(EVERYWHERE, kind.env),
        pods.amounts(kind.cpus, kind.memory, resources),
        pods.STORE_MOUNT,
    )
    worker["ports"] = _ports(_METRICS)
    worker["lifecycle"] = _PRE_STOP
    more: Object = {"terminationGracePeriodSeconds": _WORKER_GRACE}
    if kind.gpus:  # nodes that have them are tainted with one of these keys
        keys = dict.fromkeys((f"{kind.gpu_resource.partition('/')[0]}/gpu", kind.gpu_resource))
        taints = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys]
        more["tolerations"] = [*taints, *kind.tolerations]
    replicas = kind.minimum if pool.autoscales else kind.maximum
    return {
        "groupName": kind.group,
        "replicas": replicas,
        "minReplicas": replicas,
        "maxReplicas": kind.maximum,
        **({"idleTimeoutSeconds": kind.idle_seconds} if pool.autoscales else {}),
        # By itself Ray's autoscaler knows resources as GPUs whose names end in "gpu".
        "rayStartParams": {**({"num-gpus": str(kind.gpus)} if kind.gpus else {}), **_OBJECT_STORE},
        "template": pods.pod(labels, "worker", pool, kind, worker, [pods.claim(pool)], **more),
    }


def _autoscaling(pool: Pool) -> Object:
    options = {
        "version": "v2",
        # KubeRay's own command is the argument: as PID 1 it would ignore SIGTERM, and nobody would start it again.
        "command": pods.in_pod("autoscaler"),
        "imagePullPolicy": pool.image_pull_policy,
        "env": pods.environment({"HOME": "/tmp"}),
        "resources": pods.amounts(*pods.LIGHT),
        "securityContext": pods.RESTRICTED,
        "volumeMounts": [{"name": "autoscaler-tmp", "mountPath": "/tmp"}, pods.TOKEN_MOUNT],
    }
    return {"enableInTreeAutoscaling": True, "autoscalerOptions": options}


def _ports(ports: Mapping[str, int]) -> list[Object]:
    return [{"name": name, "containerPort": port} for name, port in ports.items()]
