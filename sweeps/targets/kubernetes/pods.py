"""Our Pods, under Pod Security "restricted": what all of them have, and what a pool says of each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.targets.kubernetes.environment import SHARED
from sweeps.targets.kubernetes.pool import Pod, Pool, SecretKey

Object = dict[str, Any]

USER = 10001  # the image's user, see k8s/image/Dockerfile
LIGHT = ("500m", "1Gi")  # processors and memory of what runs beside Ray
STORE_MOUNT = {"name": "store", "mountPath": SHARED}
# What the kubelet would mount into every container; here only a container that asks the API server has it.
TOKEN = {
    "name": "api-access",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]
    },
}
TOKEN_MOUNT = {"name": "api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
_SECCOMP = {"seccompProfile": {"type": "RuntimeDefault"}}
# What "restricted" asks of a container, and a read-only root file system.
RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    **_SECCOMP,
}


def pod(
    labels: Object, component: str, pool: Pool, kind: Pod, container: Object, volumes: Sequence[Object], **spec: object
) -> Object:
    """The template of one kind of Pod; `labels` are the sweep's, `spec` is what else the specification has."""
    placement = {
        "nodeSelector": dict(kind.node_selector),
        "tolerations": list(kind.tolerations),
        "affinity": dict(kind.affinity),
        "topologySpreadConstraints": list(kind.topology_spread_constraints),
        "priorityClassName": kind.priority_class,
        "runtimeClassName": kind.runtime_class,
        "imagePullSecrets": [{"name": secret} for secret in pool.image_pull_secrets],
    }
    annotations = {**pool.annotations, **kind.annotations}
    return {
        "metadata": {
            "labels": {**labels, "app.kubernetes.io/component": component, **kind.labels},
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {
            "serviceAccountName": kind.service_account,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                **_SECCOMP,
            },
            **{key: value for key, value in placement.items() if value},
            **spec,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": kind.ephemeral_storage or "10Gi"}}, *volumes],
        },
    }


def container(name: str, pool: Pool, environment: Sequence[Object], resources: Object, *mounts: Object) -> Object:
    """A container of the pool's image, with /tmp to write to."""
    return {
        "name": name,
        "image": pool.image,
        "imagePullPolicy": pool.image_pull_policy,
        "env": list(environment),
        "resources": resources,
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],
    }


def init_container(
    name: str, pool: Pool, command: Sequence[str], environment: Sequence[Object], *mounts: Object
) -> Object:
    """A container that must end well before the others start; its last line says why it did not."""
    return {
        **container(name, pool, environment, amounts(*LIGHT), *mounts),
        "command": list(command),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def in_pod(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of `sweeps.targets.kubernetes.in_pod`."""
    return ["python", "-m", f"sweeps.targets.kubernetes.in_pod.{module}", *arguments]


def amounts(cpus: int | str, memory: str, others: Mapping[str, int | str | None] | None = None) -> Object:
    """Resources as requests and limits alike; `others` only where there is an amount."""
    amounts = {"cpu": str(cpus), "memory": memory}
    amounts |= {resource: str(amount) for resource, amount in (others or {}).items() if amount}
    return {"requests": amounts, "limits": dict(amounts)}


def environment(*variables: Mapping[str, str | SecretKey]) -> list[Object]:
    """Variables as a container has them: a text, or one key of a Secret."""
    return [
        {"name": name, **(secret(value) if isinstance(value, SecretKey) else {"value": value})}
        for mapping in variables
        for name, value in mapping.items()
    ]


def secret(key: SecretKey) -> Object:
    """The value of a variable that comes from a Secret."""
    return {"valueFrom": {"secretKeyRef": {"name": key.secret, "key": key.key}}}


def claim(pool: Pool) -> Object:
    """The volume that every node of the sweep sees."""
    return {"name": "store", "persistentVolumeClaim": {"claimName": pool.places.claim}}
