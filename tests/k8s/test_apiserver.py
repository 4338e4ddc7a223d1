"""The manifests and the client against a real API server, where KUBEBUILDER_ASSETS names its programs.

No kubelet, no controllers, no KubeRay: a test plays the operator and sets a RayJob's status; but for one head, Pods are
only ever asked for with a dry run, which passes every admission and creates nothing.
"""

from __future__ import annotations

import json
import threading
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.targets.kubernetes.client import Namespace
from sweeps.targets.kubernetes.rayjob import render
from sweeps.targets.kubernetes.target import KubernetesTarget
from sweeps.targets.target import target_at
from tests.k8s.apiserver import ADMIN, NOBODY, Object, Server
from trainers.errors import TargetError

pytestmark = pytest.mark.apiserver


def pod(name: str, spec: Object) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "gradsweep"}, "spec": spec}


def finalize(server: Server, name: str, *finalizers: str) -> None:
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    server.kubectl("patch", "rayjobs.ray.io", name, "--namespace=gradsweep", "--type=merge", f"-p={patch}")


def set_status(server: Server, name: str, kind: str = "rayjobs.ray.io", **status: Any) -> None:
    patch = json.dumps({"status": status})
    server.kubectl("patch", kind, name, "--namespace=gradsweep", "--subresource=status", "--type=merge", f"-p={patch}")


def test_the_gpu_pool_is_accepted_but_for_kueues_own(ready: Server, parts: SimpleNamespace) -> None:
    objects = [one for one in parts.overlay("overlays/gpu-pool") if "kueue" not in one["apiVersion"]]
    # A claim's modes cannot be changed, so what dev has made is left out.
    ready.apply(*[one for one in objects if one["kind"] != "PersistentVolumeClaim"], dry_run=True)


def test_restricted_takes_every_pod_of_ours(ready: Server, parts: SimpleNamespace) -> None:
    specs = parts.pod_specs(render(*parts.job("dev"))) | {
        name: deepcopy(template["spec"])  # the overlay is every test's
        for name, template in parts.templates((*parts.overlay("overlays/dev"), *parts.samples())).items()
    }
    # What the StatefulSet's controller adds.
    specs["postgres"]["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": "data-postgres-0"}})
    for name, spec in specs.items():
        done = ready.apply(pod(name, spec), dry_run=True)
        assert "PodSecurity" not in done.stderr, done.stderr


def test_restricted_refuses_kuberays_default_submitter(ready: Server) -> None:
    container = {"name": "ray-job-submitter", "image": "gradsweep:0.2.0-cpu"}
    amounts = {"cpu": "1", "memory": "1Gi"}
    container |= {"resources": {"requests": amounts, "limits": amounts}}
    done = ready.apply(pod("default", {"containers": [container], "restartPolicy": "Never"}), dry_run=True, check=False)
    assert done.returncode and "restricted" in done.stderr


@pytest.fixture
def target(namespace: Namespace, parts: SimpleNamespace) -> KubernetesTarget:
    """`--to k8s://gradsweep --pool k8s/overlays/dev/pool.yaml`, with the rights of the Role."""
    return target_at("k8s://gradsweep", pool=parts.folder / "overlays" / "dev" / "pool.yaml")  # type: ignore[return-value]


def sweep(name: str, parts: SimpleNamespace) -> tuple[str, str]:
    return name, parts.job("dev", name)[1].replace("name: alpha-r", f"name: {name}")


def test_a_sweep_from_submit_to_its_end(ready: Server, target: KubernetesTarget, parts: SimpleNamespace) -> None:
    target.submit(*sweep("one", parts))
    assert target.status("one").state == "queued"
    set_status(ready, "one", jobDeploymentStatus="Running", jobStatus="RUNNING")
    found = target.status("one")
    assert found.state == "starting" and "RayJob Running" in found.detail and "there is no head now" in found.detail
    with pytest.raises(TargetError, match="no output yet"):
        list(target.logs("one", False))
    set_status(ready, "one", jobDeploymentStatus="Failed", jobStatus="FAILED", message="the head was lost")
    assert [one.state for one in target.list() if one.name == "one"] == ["failed"]
    target.resume("one")
    assert target.status("one").state == "queued"
    set_status(ready, "one", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    assert target.stop("one").state == "finished"
    with pytest.raises(TargetError, match="no sweep one"):
        target.status("one")


def test_stop_waits_until_the_operator_lets_go(ready: Server, target: KubernetesTarget, parts: SimpleNamespace) -> None:
    """KubeRay's finalizer holds the RayJob until it has stopped the driver."""
    target.submit(*sweep("held", parts))
    finalize(ready, "held", "ray.io/rayjob-finalizer")
    stopped: list[str] = []
    stopping = threading.Thread(target=lambda: stopped.append(target.stop("held").state))
    stopping.start()
    while target.status("held").state != "stopping":
        assert stopping.is_alive()
    finalize(ready, "held")
    stopping.join(timeout=60)
    assert stopped == ["stopped"]


def test_no_second_driver_while_the_old_head_is_there(
    ready: Server, target: KubernetesTarget, parts: SimpleNamespace
) -> None:
    target.submit(*sweep("again", parts))
    template = render(*parts.job("dev", "again"))["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    head = pod("again-head", template["spec"])
    head["metadata"]["labels"] = template["metadata"]["labels"]
    ready.apply(head)
    set_status(ready, "again-head", "pod", phase="Running")
    set_status(ready, "again", jobDeploymentStatus="Running", jobStatus="RUNNING")
    assert target.status("again").state == "running"
    set_status(ready, "again", jobDeploymentStatus="Failed", reason="JobStatusCheckTimeoutExceeded")
    assert "which is not retried" in target.status("again").detail
    resuming = threading.Thread(target=target.resume, args=("again",))
    resuming.start()
    with pytest.raises(TargetError, match="no sweep again"):
        while resuming.is_alive():
            target.status("again")
    assert resuming.is_alive()
    ready.kubectl("delete", "pod", "again-head", "--namespace=gradsweep", "--grace-period=0", "--force")
    resuming.join(timeout=60)
    assert target.status("again").state == "queued"
    assert target.stop("again").state == "stopped"


def test_what_the_server_stores_is_what_was_sent(namespace: Namespace, parts: SimpleNamespace) -> None:
    """Nothing is pruned, so nothing of ours is unknown to KubeRay."""
    name, spec, pool = parts.job("gpu-pool", "whole")
    sent = render(name, spec, replace(pool, image="gradsweep:0.2.0"))  # the overlay dev admits no other
    namespace.create(sent)
    stored = namespace.rayjob("whole")
    namespace.delete("whole")

    def missing(ours: Any, theirs: Any, where: str) -> list[str]:
        if isinstance(ours, dict):
            return [line for key in ours for line in missing(ours[key], theirs.get(key), f"{where}.{key}")]
        if isinstance(ours, list):
            return [line for one, other in zip(ours, theirs, strict=True) for line in missing(one, other, where)]
        return [] if ours == theirs else [f"{where}: {ours} became {theirs}"]

    assert missing(sent["spec"], stored["spec"], "spec") == []


def test_an_unknown_field_is_refused(namespace: Namespace, parts: SimpleNamespace) -> None:
    wrong = render(*parts.job("dev", "wrong"))
    wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["templat"] = {}
    with pytest.raises(TargetError, match="does not take this RayJob: .*templat") as error:
        namespace.create(wrong)
    assert error.value.exit_code == 2


def test_twice_the_same_name(namespace: Namespace, parts: SimpleNamespace) -> None:
    namespace.create(render(*parts.job("dev", "twice")))
    with pytest.raises(TargetError, match="twice is already in namespace gradsweep"):
        namespace.create(render(*parts.job("dev", "twice")))
    namespace.delete("twice")


def test_a_namespace_that_is_not_there(ready: Server, parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="no namespace nowhere"):
        ready.namespace(ADMIN, monkeypatch, "nowhere").create(render(*parts.job("dev")))
    with pytest.raises(TargetError, match="no namespace nowhere"):
        ready.namespace(ADMIN, monkeypatch, "nowhere").list()


def test_no_rights(ready: Server, parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="no rights to create .*Role gradsweep-user") as error:
        ready.namespace(NOBODY, monkeypatch).create(render(*parts.job("dev")))
    assert error.value.exit_code == 2


def test_a_wrong_token(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="log in again"):
        ready.namespace("wrong", monkeypatch).list()


def test_the_roles_limits(ready: Server) -> None:
    def may(verb: str, resource: str) -> bool:
        account = "--as=system:serviceaccount:gradsweep:gradsweep-user"
        done = ready.kubectl("auth", "can-i", verb, resource, account, "--namespace=gradsweep", check=False)
        return done.stdout.strip() == "yes"

    for verb in ("create", "get", "list", "delete"):
        assert may(verb, "rayjobs.ray.io"), verb
    assert may("get", "pods/log") and may("list", "pods")
    for verb, resource in (
        ("update", "rayjobs.ray.io"),
        ("patch", "rayjobs.ray.io"),
        ("deletecollection", "rayjobs.ray.io"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("get", "secrets"),
        ("get", "configmaps"),
        ("get", "rayclusters.ray.io"),
    ):
        assert not may(verb, resource), f"{verb} {resource}"


def test_the_quota_refuses_one_gpu_too_many(ready: Server, parts: SimpleNamespace) -> None:
    (quota,) = [one for one in parts.overlay("overlays/gpu-pool") if one["kind"] == "ResourceQuota"]
    quota = quota | {"metadata": {"name": "gpus", "namespace": "gradsweep"}}
    ready.apply(quota)
    ready.count(quota, {"requests.nvidia.com/gpu": "7"})  # of eight
    ready.kubectl("delete", "resourcequota", "gradsweep", "--namespace=gradsweep")  # dev's has none
    spec = parts.pod_specs(render(*parts.job("gpu-pool")))["gpu-workers"]
    assert ready.apply(pod("eighth", spec), dry_run=True).returncode == 0
    for amounts in spec["containers"][0]["resources"].values():
        amounts["nvidia.com/gpu"] = "2"
    done = ready.apply(pod("ninth", spec), dry_run=True, check=False)
    assert done.returncode and "exceeded quota" in done.stderr
