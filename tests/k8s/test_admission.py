"""The policy of k8s/components/admission on a real API server: what we render is admitted, and each rule refuses one.

Every request is a dry run, which passes admission and creates nothing, with the rights of the Role gradsweep-user.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.targets.kubernetes.client import Namespace
from sweeps.targets.kubernetes.pool import Redis
from sweeps.targets.kubernetes.rayjob import render
from tests.k8s.apiserver import Object, Server
from trainers.errors import TargetError

pytestmark = pytest.mark.apiserver

CLUSTER = "spec.rayClusterSpec"
HEAD = f"{CLUSTER}.headGroupSpec.template"
WORKER = f"{CLUSTER}.workerGroupSpecs.0.template"
SUBMITTER = "spec.submitterPodTemplate"
PODS = {"head": HEAD, "worker": WORKER, "submitter": SUBMITTER}
GONE = object()

Create = Callable[..., str]


@pytest.fixture
def create(ready: Server) -> Create:
    """What the server says to a RayJob from someone with the Role; nothing where it takes it."""
    user = "--as=system:serviceaccount:gradsweep:gradsweep-user"

    def ask(rayjob: Object, validate: str = "strict") -> str:
        command = ("create", "--dry-run=server", f"--validate={validate}", "--namespace=gradsweep", user, "-f", "-")
        done = ready.kubectl(*command, stdin=json.dumps(rayjob), check=False)
        assert not done.returncode or "ValidatingAdmissionPolicy 'gradsweep'" in done.stderr, done.stderr
        return done.stderr if done.returncode else ""

    return ask


@pytest.fixture
def sweep(parts: SimpleNamespace) -> Object:
    """A RayJob with everything that ours may have: an autoscaler, Redis, an init container in every Pod."""
    name, spec, pool = parts.job("dev")
    rayjob = render(name, spec, replace(pool, redis=Redis()))
    for path in PODS.values():
        pod = at(rayjob, f"{path}.spec")
        pod.setdefault("initContainers", []).append(pod["containers"][0] | {"name": "first"})
    return rayjob


def at(rayjob: Any, path: str) -> Any:
    for key in path.split("."):
        rayjob = rayjob[int(key) if key.isdecimal() else key]
    return rayjob


def changed(rayjob: Object, path: str, value: object) -> Object:
    """With this value at a path; with `+` as its last key the value is one more of a list."""
    rayjob = json.loads(json.dumps(rayjob))  # a copy in which no two places share an object
    parent, _, key = path.rpartition(".")
    place = at(rayjob, parent)
    if key == "+":
        place.append(value)
    elif value is GONE:
        del place[key]
    else:
        place[int(key) if key.isdecimal() else key] = value
    return rayjob


def assert_refused(answer: str, message: str) -> None:
    assert re.search(message, answer), answer or "it was admitted"


def test_what_we_render_is_admitted(create: Create, sweep: Object, parts: SimpleNamespace) -> None:
    assert create(render(*parts.job("dev"))) == ""
    assert create(sweep) == ""


def test_the_gpu_pools_settings_fit_its_pool(ready: Server, parts: SimpleNamespace) -> None:
    """Its policy is put beside the overlay dev's, under another name and for another namespace."""
    ready.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pool"}})
    objects = {one["kind"]: one for one in parts.overlay("overlays/gpu-pool")}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "pool"}}
    binding = {"policyName": "pool", "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}}
    ready.apply(
        objects["ValidatingAdmissionPolicy"] | {"metadata": {"name": "pool"}},
        objects["ValidatingAdmissionPolicyBinding"] | {"metadata": {"name": "pool"}, "spec": binding},
    )
    rayjob = render(*parts.job("gpu-pool"))

    def ask(rayjob: Object) -> str:
        command = ("create", "--dry-run=server", "--namespace=pool", "-f", "-")
        return ready.kubectl(*command, stdin=json.dumps(rayjob), check=False).stderr

    wrong = changed(rayjob, f"{WORKER}.spec.containers.0.image", "gradsweep:0.2.0")
    while not (answer := ask(wrong)):
        time.sleep(0.1)  # the server knows the policy a moment later
    assert_refused(answer, "must begin with one of registry.example.com/gradsweep:")
    assert ask(rayjob) == ""


@pytest.mark.parametrize("kind", PODS)
@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.containers.0.image", "docker.io/library/python:3.11.9", "image: must begin with one of gradsweep:"),
        ("spec.initContainers.0.image", "gradsweep-not:1.0.0", "image: must begin"),
        ("spec.serviceAccountName", "gradsweep-mlflow", "serviceAccountName: .*gradsweep-mlflow"),
        ("spec.serviceAccountName", GONE, "serviceAccountName: .*default"),
        ("spec.automountServiceAccountToken", True, "automountServiceAccountToken: must be false"),
        ("spec.automountServiceAccountToken", GONE, "automountServiceAccountToken: must be false"),
        ("spec.hostNetwork", True, "hostNetwork: a Pod of a sweep may not"),
        ("spec.hostPID", True, "hostPID: a Pod of a sweep may not"),
        ("spec.hostIPC", True, "hostIPC: a Pod of a sweep may not"),
        ("spec.shareProcessNamespace", True, "shareProcessNamespace: a Pod of a sweep may not"),
        ("spec.serviceAccount", "gradsweep-mlflow", "serviceAccount: a Pod of a sweep may not"),
        ("spec.nodeName", "node-1", "nodeName: a Pod of a sweep may not"),
        ("spec.priorityClassName", "system-node-critical", "priorityClassName: "),
        ("spec.volumes.+", {"name": "v", "secret": {"secretName": "gradsweep-database"}}, "volumes: only"),
        ("spec.volumes.+", {"name": "v", "configMap": {"name": "postgres-databases"}}, "volumes: only"),
        ("spec.volumes.+", {"name": "v", "hostPath": {"path": "/"}}, "volumes: only"),
        ("spec.volumes.+", {"name": "v", "nfs": {"server": "10.0.0.1", "path": "/"}}, "volumes: only"),
        ("spec.volumes.+", {"name": "v", "csi": {"driver": "secrets-store.csi.k8s.io"}}, "volumes: only"),
        (
            "spec.volumes.+",
            {"name": "v", "persistentVolumeClaim": {"claimName": "mlflow-artifacts"}},
            "volumes: only",
        ),
        (
            "spec.volumes.+",
            {"name": "v", "projected": {"sources": [{"secret": {"name": "gradsweep-mlflow"}}]}},
            "volumes: only",
        ),
        (
            "spec.volumes.+",
            {"name": "v", "projected": {"sources": [{"configMap": {"name": "postgres-databases"}}]}},
            "volumes: only",
        ),
        ("spec.containers.0.envFrom", [{"secretRef": {"name": "gradsweep-database"}}], "envFrom: "),
        ("spec.initContainers.0.envFrom", [{"configMapRef": {"name": "any"}}], "envFrom: "),
        (
            "spec.containers.0.env.+",
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "gradsweep-database", "key": "postgres-password"}}},
            "env: of Secrets only",
        ),
        (
            "spec.initContainers.0.env.+",
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "gradsweep-bucket", "key": "secret-access-key"}}},
            "env: of Secrets only",
        ),
        (
            "spec.containers.0.env.+",
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "any", "key": "any"}}},
            "env: of Secrets only",
        ),
        ("metadata.labels", {"app.kubernetes.io/component": "mlflow"}, "component must be head, worker or sub.*mlflow"),
        ("metadata.labels", {}, "component must be head, worker or submitter.*none"),
    ],
)
def test_no_pod_may(kind: str, path: str, value: object, message: str, create: Create, sweep: Object) -> None:
    assert_refused(create(changed(sweep, f"{PODS[kind]}.{path}", value)), message)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "spec.clusterSelector",
            {"ray.io/cluster": "another"},
            "clusterSelector: a sweep may not",
        ),
        (SUBMITTER, GONE, "submitterPodTemplate: is missing"),
        (f"{CLUSTER}.networkPolicy", {"mode": "DenyAll"}, "networkPolicy: a sweep may not"),
        (f"{CLUSTER}.tlsOptions", {"enabled": True}, "tlsOptions: a sweep may not"),
        (f"{CLUSTER}.headServiceAnnotations", {"a": "b"}, "headServiceAnnotations: a sweep may not"),
        (f"{CLUSTER}.authOptions.secretName", "another", "authOptions.secretName: a sweep may not"),
        (f"{CLUSTER}.autoscalerOptions.image", "gradsweep:0.2.0", "autoscalerOptions.image: a sweep may not"),
        (f"{CLUSTER}.autoscalerOptions.command", ["sh"], "runs only KubeRay's command"),
        (f"{CLUSTER}.autoscalerOptions.args", ["-c"], "autoscalerOptions.args: a sweep may not"),
        (f"{CLUSTER}.autoscalerOptions.envFrom", [], "autoscalerOptions.envFrom: a sweep may not"),
        (f"{CLUSTER}.autoscalerOptions.env", [{"name": "LD_PRELOAD", "value": "/tmp/a.so"}], "only HOME=/tmp"),
        (f"{CLUSTER}.autoscalerOptions.env", [{"name": "HOME", "value": "/tmp/ray"}], "only HOME=/tmp"),
        (f"{CLUSTER}.autoscalerOptions.volumeMounts.+", {"name": "store", "mountPath": "/tmp/.local"}, "mounts only"),
        (f"{HEAD}.spec.containers.0.volumeMounts.+", {"name": "api-access", "mountPath": "/a"}, "autoscaler alone"),
        (
            f"{HEAD}.spec.initContainers.0.volumeMounts.+",
            {"name": "autoscaler-tmp", "mountPath": "/a"},
            "autosc.* alone",
        ),
        (
            f"{HEAD}.spec.volumes.1",
            {"name": "autoscaler-tmp", "persistentVolumeClaim": {"claimName": "gradsweep-store"}},
            "autoscaler alone",
        ),
        (
            f"{CLUSTER}.gcsFaultToleranceOptions.redisPassword.valueFrom.secretKeyRef.name",
            "another",
            "env: of Secrets only",
        ),
        (
            f"{CLUSTER}.gcsFaultToleranceOptions.storage",
            {"claimName": "data-postgres-0"},
            "gcsFaultToleranceOptions.storage: a sweep may not",
        ),
        (f"{CLUSTER}.headGroupSpec.serviceType", "LoadBalancer", "headGroupSpec.serviceType: a sweep may not"),
        (f"{CLUSTER}.headGroupSpec.enableIngress", True, "headGroupSpec.enableIngress: a sweep may not"),
        (f"{CLUSTER}.headGroupSpec.headService", {"spec": {}}, "headGroupSpec.headService: a sweep may not"),
        (f"{CLUSTER}.headGroupSpec.labels", {"a": "b"}, "headGroupSpec.labels: a sweep may not"),
        (f"{CLUSTER}.workerGroupSpecs.0.labels", {"a": "b"}, "workerGroupSpecs.labels: a sweep may not"),
        (f"{WORKER}.spec.serviceAccountName", "gradsweep-head", "serviceAccountName: "),
        (f"{SUBMITTER}.spec.serviceAccountName", "gradsweep-head", "serviceAccountName: "),
        (f"{SUBMITTER}.metadata.labels", {"app.kubernetes.io/component": "head"}, "component must be"),
    ],
)
def test_no_sweep_may(path: str, value: object, message: str, create: Create, sweep: Object) -> None:
    assert_refused(create(changed(sweep, path, value)), message)


def test_an_older_version_of_kuberays_api_is_no_way_around(create: Create, sweep: Object) -> None:
    wrong = changed(sweep, f"{WORKER}.spec.containers.0.image", "docker.io/library/python:3.11.9")
    assert_refused(create(wrong | {"apiVersion": "ray.io/v1alpha1"}, "ignore"), "image: must begin")


def test_a_user_is_told_in_one_line(namespace: Namespace, sweep: Object) -> None:
    wrong = changed(sweep, f"{HEAD}.spec.containers.0.image", "docker.io/library/python:3.11.9")
    with pytest.raises(TargetError, match="refuses sweep alpha-r: image: must begin with") as error:
        namespace.create(wrong)
    assert "\n" not in str(error.value) and error.value.exit_code == 2


def test_the_autoscaler_may_scale_and_nothing_else(ready: Server, sweep: Object) -> None:
    """KubeRay makes a RayCluster of the RayJob, and gives the head's account the right to patch it."""
    cluster = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "scaled", "namespace": "gradsweep"},
        "spec": at(sweep, CLUSTER),
    }
    ready.apply(cluster)

    def patch(path: str, value: object) -> str:
        change = json.dumps([{"op": "replace", "path": f"/spec/workerGroupSpecs/0/{path}", "value": value}])
        where = ("rayclusters.ray.io", "scaled", "--namespace=gradsweep")
        done = ready.kubectl("patch", *where, "--type=json", f"-p={change}", check=False)
        return done.stderr if done.returncode else ""

    assert patch("replicas", 2) == ""
    assert_refused(patch("template/spec/containers/0/image", "docker.io/library/python:3.11.9"), "image: must begin")
    assert_refused(patch("template/spec/serviceAccountName", "gradsweep-mlflow"), "serviceAccountName")


def test_what_was_there_before_the_policy_can_end(ready: Server, sweep: Object) -> None:
    """KubeRay takes its finalizer from a RayJob that would not be admitted today."""
    old = changed(sweep, f"{HEAD}.spec.containers.0.image", "docker.io/library/python:3.11.9")
    old["metadata"] |= {"name": "old", "namespace": "elsewhere", "finalizers": ["ray.io/rayjob-finalizer"]}
    ready.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}})
    ready.apply(old)
    ready.kubectl("label", "namespace", "elsewhere", "app.kubernetes.io/part-of=gradsweep")

    def patch(change: Object) -> str:
        where = ("rayjobs.ray.io", "old", "--namespace=elsewhere", "--type=merge")
        done = ready.kubectl("patch", *where, f"-p={json.dumps(change)}", check=False)
        return done.stderr if done.returncode else ""

    seconds = count(100)  # each time another number, so that the specification is new
    while not (answer := patch({"spec": {"ttlSecondsAfterFinished": next(seconds)}})):
        time.sleep(0.1)  # the server is told of the label a moment later
    assert_refused(answer, "image: must begin")
    assert patch({"metadata": {"finalizers": []}}) == ""
    ready.kubectl("delete", "rayjobs.ray.io", "old", "--namespace=elsewhere")
