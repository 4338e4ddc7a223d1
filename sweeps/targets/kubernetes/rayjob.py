"""One sweep as one KubeRay RayJob: typed settings in, a plain dictionary out.

This single object has everything that a sweep needs, so that creating it is the only step and nothing is left
half-created: the spec and the store file are annotations of the head's Pod, which the downward API shows to the driver
as files. A ConfigMap would need a second request, a right that our Role does not grant, and an owner that must exist
first; an environment variable ends at 128 KiB and would lose the spec's line numbers for error messages.

Each retry of a RayJob is a fresh Ray cluster, so the entrypoint has `--resume`: start, or continue from the store.

    print(as_yaml(render(SweepJob(name="alpha-r", spec=text, pool=pool))))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from sweeps.targets.kubernetes.pool import Places, Redis, SecretKey, Size, SweepJob, write_pool

Object = dict[str, Any]

API_VERSION = "ray.io/v1"
RAY_VERSION = "2.60.0"  # of constraints.txt; KubeRay picks its probes and the token's rules by it
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
SUBMITTER = "ray-job-submitter"
POOL, SPEC, STORE = "gradsweep/pool", "gradsweep/spec", "gradsweep/store"  # annotations
USER = 10001  # the image's user, see k8s/image/Dockerfile

DOCUMENTS = "/etc/gradsweep"
SHARED = "/mnt/gradsweep"  # what every node of the sweep sees: states of members, data sets
SPEC_FILE = f"{DOCUMENTS}/spec.yaml"
STORE_FILE = f"{DOCUMENTS}/store.yaml"


def render(job: SweepJob) -> Object:
    """The RayJob, as the Python client and YAML take it."""
    labels = {"app.kubernetes.io/managed-by": "gradsweep", **_labels(job)}
    if job.pool.queue:
        labels[QUEUE_LABEL] = job.pool.queue
    return {
        "apiVersion": API_VERSION,
        "kind": "RayJob",
        "metadata": {"name": job.name, "labels": labels, "annotations": {POOL: write_pool(job.pool)}},
        "spec": {
            # Kueue starts the job by taking this back; created suspended, it never runs before its turn.
            **({"suspend": True} if job.pool.queue else {}),
            "submissionMode": "K8sJobMode",
            "entrypoint": f"gradsweep run {SPEC_FILE} --name {job.name} --store {STORE_FILE} --resume",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": job.pool.keep_seconds,
            "backoffLimit": job.pool.retries,
            "activeDeadlineSeconds": job.pool.deadline_seconds,
            "submitterPodTemplate": _submitter(job),
            "rayClusterSpec": _cluster(job),
        },
    }


def documents_of(rayjob: Mapping[str, Any]) -> tuple[str, str] | None:
    """The texts of the spec and the pool that a RayJob was rendered from; None where it is none of ours."""
    template = rayjob["spec"].get("rayClusterSpec", {}).get("headGroupSpec", {}).get("template", {})
    spec = template.get("metadata", {}).get("annotations", {}).get(SPEC)
    pool = rayjob["metadata"].get("annotations", {}).get(POOL)
    return (spec, pool) if spec and pool else None


def as_yaml(rayjob: Mapping[str, Any]) -> str:
    """The object as YAML, its texts of several lines as blocks that can be read."""
    return yaml.dump(dict(rayjob), Dumper=_Dumper, sort_keys=False, width=110)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _cluster(job: SweepJob) -> Object:
    # Kueue reserves a job's resources as a whole, so behind a queue the cluster has its full size from the start.
    scaling = (
        {}
        if job.pool.queue
        else {"enableInTreeAutoscaling": True, "autoscalerOptions": _autoscaler(job.pool.workers.idle_seconds)}
    )
    redis = {} if job.pool.redis is None else {"gcsFaultToleranceOptions": _redis(job.pool.redis)}
    return {
        "rayVersion": RAY_VERSION,
        # Anyone who can reach Ray's dashboard can run code as us; the operator makes a token for every cluster.
        "authOptions": {"mode": "token"},
        **scaling,
        **redis,
        "headGroupSpec": {
            # No CPUs: packs never compete with the driver for the head.
            "rayStartParams": {"num-cpus": "0", "object-store-memory": "536870912"},
            "template": _head(job),
        },
        "workerGroupSpecs": [_workers(job)],
    }


def _head(job: SweepJob) -> Object:
    ports = {"gcs-server": 6379, "dashboard": 8265, "metrics": 8080}
    # So many packs wait at once, and the autoscaler sees the whole demand.
    room = {} if job.packs is None else {"GRADSWEEP_PACKS": str(job.packs)}
    container = _container(
        "ray-head",
        job,
        [*_plain({**_RAY, **_HEALTH, **room}), *_driver(job.pool.places)],
        _resources(job.pool.head),
        {"name": "documents", "mountPath": DOCUMENTS, "readOnly": True},
        _STORE_MOUNT,
    )
    container["ports"] = [{"name": name, "containerPort": port} for name, port in ports.items()]
    # `stop` sends the driver SIGTERM through Ray and then deletes this Pod: the driver has this long to end.
    container["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "30"]}}}
    return {
        "metadata": {
            "labels": _labels(job, "head"),
            "annotations": {
                SPEC: job.spec,
                STORE: _store(job.pool.places),
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                "karpenter.sh/do-not-disrupt": "true",
            },
        },
        "spec": {
            **_pod("gradsweep-head"),
            "terminationGracePeriodSeconds": 90,
            "containers": [container],
            "volumes": [
                _TMP,
                {"name": "autoscaler-tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "documents", "downwardAPI": {"items": [_document(SPEC), _document(STORE)]}},
                _claim(job.pool.places),
                _api_access(),
            ],
        },
    }


def _workers(job: SweepJob) -> Object:
    workers = job.pool.workers
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    tolerations = [*([gpu] if workers.size.gpus else []), *map(dict, workers.tolerations)]
    replicas = workers.maximum if job.pool.queue else workers.minimum
    # No credentials: only the driver connects to databases and MLflow.
    container = _container("ray-worker", job, _plain(_RAY), _resources(workers.size), _STORE_MOUNT)
    return {
        "groupName": "gpu-workers" if workers.size.gpus else "cpu-workers",
        "replicas": replicas,
        "minReplicas": replicas,
        "maxReplicas": workers.maximum,
        "rayStartParams": {"object-store-memory": "536870912"},
        "template": {
            "metadata": {"labels": _labels(job, "worker")},
            "spec": {
                **_pod("gradsweep-worker"),
                "nodeSelector": dict(workers.node_selector),
                "tolerations": tolerations,
                "containers": [container],
                "volumes": [_TMP, _claim(job.pool.places)],
            },
        },
    }


def _submitter(job: SweepJob) -> Object:
    """The Pod that submits the entrypoint and prints its output; KubeRay's own would have no securityContext."""
    return {
        "metadata": {"labels": _labels(job, "submitter")},
        "spec": {
            **_pod("gradsweep-worker"),
            "restartPolicy": "Never",
            "containers": [_container(SUBMITTER, job, _plain(_RAY), _amounts("500m", "1Gi"))],
            "volumes": [_TMP],
        },
    }


def _autoscaler(idle_seconds: int) -> Object:
    return {
        "version": "v2",
        "idleTimeoutSeconds": idle_seconds,
        "imagePullPolicy": "IfNotPresent",
        "env": _plain({"HOME": "/tmp"}),
        "resources": _amounts("500m", "1Gi"),
        "securityContext": _restricted(),
        "volumeMounts": [
            {"name": "autoscaler-tmp", "mountPath": "/tmp"},
            {"name": "api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True},
        ],
    }


def _redis(redis: Redis) -> Object:
    return {
        "redisAddress": redis.address,
        "redisPassword": {"valueFrom": {"secretKeyRef": _reference(redis.password)}},
    }


# On every node; HOME because the root file system is read-only.
_RAY = {
    "HOME": "/tmp",
    "PYTHONSAFEPATH": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GRADSWEEP_CACHE": f"{SHARED}/cache",
}
# A lost node is noticed after 3 seconds instead of 12; a stopped driver has half a minute to end.
_HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_JOB_STOP_WAIT_TIME_S": "30",
}


_TMP = {"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}}
_STORE_MOUNT = {"name": "store", "mountPath": SHARED}


def _container(name: str, job: SweepJob, environment: list[Object], resources: Object, *mounts: Object) -> Object:
    return {
        "name": name,
        "image": job.pool.image,
        "imagePullPolicy": "IfNotPresent",
        "env": environment,
        "resources": resources,
        "securityContext": _restricted(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],
    }


def _labels(job: SweepJob, component: str = "") -> dict[str, str]:
    # Not app.kubernetes.io/name: KubeRay's Services select their Pods by it.
    labels = {"app.kubernetes.io/part-of": "gradsweep", "app.kubernetes.io/instance": job.name}
    return labels | ({"app.kubernetes.io/component": component} if component else {})


def _pod(service_account: str) -> Object:
    return {
        "serviceAccountName": service_account,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _restricted() -> Object:
    """What Pod Security "restricted" asks of a container, and a read-only root file system."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _resources(size: Size) -> Object:
    return _amounts(str(size.cpus), size.memory, **({"nvidia.com/gpu": str(size.gpus)} if size.gpus else {}))


def _amounts(cpu: str, memory: str, **others: str) -> Object:
    """The same as requests and limits."""
    amounts = {"cpu": cpu, "memory": memory, **others}
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _plain(values: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _driver(places: Places) -> list[Object]:
    secrets = {
        "GRADSWEEP_LEDGER_URL": places.ledger_url,
        "MLFLOW_TRACKING_USERNAME": places.mlflow_username,
        "MLFLOW_TRACKING_PASSWORD": places.mlflow_password,
    }
    return [{"name": name, "valueFrom": {"secretKeyRef": _reference(key)}} for name, key in secrets.items()]


def _reference(key: SecretKey) -> Object:
    return {"name": key.secret, "key": key.key}


def _store(places: Places) -> str:
    """The store file, which names passwords and has none."""
    return yaml.safe_dump(
        {"ledger": {"env": "GRADSWEEP_LEDGER_URL"}, "mlflow": places.mlflow_uri, "folder": SHARED}, sort_keys=False
    )


def _document(annotation: str) -> Object:
    path = annotation.rpartition("/")[2] + ".yaml"
    return {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{annotation}']"}}


def _claim(places: Places) -> Object:
    return {"name": "store", "persistentVolumeClaim": {"claimName": places.claim}}


def _api_access() -> Object:
    """What the kubelet would mount into every container; here only the autoscaler's has it, never the driver's."""
    root = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    namespace = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": root},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": "api-access", "projected": {"sources": sources}}
