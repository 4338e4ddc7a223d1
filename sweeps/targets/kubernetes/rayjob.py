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
from typing import Any

import yaml

from sweeps.targets.kubernetes.pool import Pool, SecretKey, write_pool

Object = dict[str, Any]

RAY_VERSION = "2.60.0"  # of constraints.txt; KubeRay picks its probes and the token's rules by it
SUBMITTER = "ray-job-submitter"
MARK = ("app.kubernetes.io/part-of", "gradsweep")  # the label by which a RayJob or a Pod is ours
POOL, SPEC, STORE = "gradsweep/pool", "gradsweep/spec", "gradsweep/store"  # annotations
USER = 10001  # the image's user, see k8s/image/Dockerfile
DOCUMENTS = "/etc/gradsweep"
SHARED = "/mnt/gradsweep"  # what every node of the sweep sees: states of members, data sets

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
_OBJECT_STORE = {"object-store-memory": "536870912"}
_STORE_MOUNT = {"name": "store", "mountPath": SHARED}
_SECCOMP = {"seccompProfile": {"type": "RuntimeDefault"}}
# What Pod Security "restricted" asks of a container, and a read-only root file system.
_RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    **_SECCOMP,
}
# What the kubelet would mount into every container; here only the autoscaler's has it, never the driver's.
_API_ACCESS = [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
]


def render(name: str, spec: str, pool: Pool, packs: int | None = None) -> Object:
    """The RayJob, as the Python client and YAML take it; `spec` is the sweep's YAML with all settings in it.

    `packs` is how many the pool has room for at once, None where Ray is to find out one by one.
    """
    # Not app.kubernetes.io/name: KubeRay's Services select their Pods by it.
    labels = {MARK[0]: MARK[1], "app.kubernetes.io/instance": name}
    queue = {"kueue.x-k8s.io/queue-name": pool.queue} if pool.queue else {}
    redis: Object = {}
    if pool.redis:
        options = {"redisAddress": pool.redis.address, "redisPassword": _secret(pool.redis.password)}
        redis["gcsFaultToleranceOptions"] = options
    submitter = _container(SUBMITTER, pool, _plain(_RAY), _amounts("500m", "1Gi"))
    files = f"{DOCUMENTS}/spec.yaml --name {name} --store {DOCUMENTS}/store.yaml"
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "gradsweep", **labels, **queue},
            "annotations": {POOL: write_pool(pool)},
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
            "submitterPodTemplate": _pod(
                labels, "submitter", "gradsweep-worker", {"restartPolicy": "Never"}, submitter
            ),
            "rayClusterSpec": {
                "rayVersion": RAY_VERSION,
                # Anyone who can reach Ray's dashboard can run code as us; the operator makes a token for every cluster.
                "authOptions": {"mode": "token"},
                # Kueue reserves a job's resources as a whole: behind a queue the cluster has its full size at once.
                **({} if pool.queue else _autoscaling(pool.workers.idle_seconds)),
                **redis,
                "headGroupSpec": {
                    # No CPUs: packs never compete with the driver for the head.
                    "rayStartParams": {"num-cpus": "0", **_OBJECT_STORE},
                    "template": _head(spec, pool, packs, labels),
                },
                "workerGroupSpecs": [_workers(pool, labels)],
            },
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


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, "|" if "\n" in text else None)
)


def _head(spec: str, pool: Pool, packs: int | None, labels: Object) -> Object:
    places = pool.places
    # So many packs wait at once, and the autoscaler sees the whole demand.
    room = {} if packs is None else {"GRADSWEEP_PACKS": str(packs)}
    secrets = {
        "GRADSWEEP_LEDGER_URL": places.ledger_url,
        "MLFLOW_TRACKING_USERNAME": places.mlflow_username,
        "MLFLOW_TRACKING_PASSWORD": places.mlflow_password,
    }
    # The store file, which names passwords and has none.
    store = {"ledger": {"env": "GRADSWEEP_LEDGER_URL"}, "mlflow": places.mlflow_uri, "folder": SHARED}
    annotations = {
        SPEC: spec,
        STORE: yaml.safe_dump(store, sort_keys=False),
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
    documents = [
        {"path": f"{name.rpartition('/')[2]}.yaml", "fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}}
        for name in (SPEC, STORE)
    ]
    ports = {"gcs-server": 6379, "dashboard": 8265, "metrics": 8080}
    container = _container(
        "ray-head",
        pool,
        [*_plain({**_RAY, **_HEALTH, **room}), *({"name": name, **_secret(key)} for name, key in secrets.items())],
        _amounts(**vars(pool.head)),
        {"name": "documents", "mountPath": DOCUMENTS, "readOnly": True},
        _STORE_MOUNT,
    )
    container["ports"] = [{"name": name, "containerPort": port} for name, port in ports.items()]
    # `stop` sends the driver SIGTERM through Ray and then deletes this Pod: the driver has this long to end.
    container["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "30"]}}}
    volumes = [
        {"name": "autoscaler-tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "documents", "downwardAPI": {"items": documents}},
        _claim(pool),
        {"name": "api-access", "projected": {"sources": _API_ACCESS}},
    ]
    template = _pod(labels, "head", "gradsweep-head", {"terminationGracePeriodSeconds": 90}, container, *volumes)
    template["metadata"]["annotations"] = annotations
    return template


def _workers(pool: Pool, labels: Object) -> Object:
    workers = pool.workers
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    placement = {
        "nodeSelector": dict(workers.node_selector),
        "tolerations": [*([gpu] if workers.size.gpus else []), *map(dict, workers.tolerations)],
    }
    replicas = workers.maximum if pool.queue else workers.minimum
    # No credentials: only the driver connects to databases and MLflow.
    container = _container("ray-worker", pool, _plain(_RAY), _amounts(**vars(workers.size)), _STORE_MOUNT)
    return {
        "groupName": "gpu-workers" if workers.size.gpus else "cpu-workers",
        "replicas": replicas,
        "minReplicas": replicas,
        "maxReplicas": workers.maximum,
        "rayStartParams": _OBJECT_STORE,
        "template": _pod(labels, "worker", "gradsweep-worker", placement, container, _claim(pool)),
    }


def _autoscaling(idle_seconds: int) -> Object:
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    options = {
        "version": "v2",
        "idleTimeoutSeconds": idle_seconds,
        "imagePullPolicy": "IfNotPresent",
        "env": _plain({"HOME": "/tmp"}),
        "resources": _amounts("500m", "1Gi"),
        "securityContext": _RESTRICTED,
        "volumeMounts": [
            {"name": "autoscaler-tmp", "mountPath": "/tmp"},
            {"name": "api-access", "mountPath": account, "readOnly": True},
        ],
    }
    return {"enableInTreeAutoscaling": True, "autoscalerOptions": options}


def _pod(labels: Object, component: str, account: str, more: Object, container: Object, *volumes: Object) -> Object:
    return {
        "metadata": {"labels": {**labels, "app.kubernetes.io/component": component}},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                **_SECCOMP,
            },
            **more,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}}, *volumes],
        },
    }


def _container(name: str, pool: Pool, environment: list[Object], resources: Object, *mounts: Object) -> Object:
    return {
        "name": name,
        "image": pool.image,
        "imagePullPolicy": "IfNotPresent",
        "env": environment,
        "resources": resources,
        "securityContext": _RESTRICTED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],
    }


def _amounts(cpus: int | str, memory: str, gpus: int = 0) -> Object:
    """The same as requests and limits."""
    amounts = {"cpu": str(cpus), "memory": memory} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    return {"requests": amounts, "limits": dict(amounts)}


def _plain(values: Mapping[str, str]) -> list[Object]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _secret(key: SecretKey) -> Object:
    return {"valueFrom": {"secretKeyRef": {"name": key.secret, "key": key.key}}}


def _claim(pool: Pool) -> Object:
    return {"name": "store", "persistentVolumeClaim": {"claimName": pool.places.claim}}
