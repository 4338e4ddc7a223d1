"""The manifests and the client against a real API server, where KUBEBUILDER_ASSETS names its programs.

No kubelet, no controllers, no KubeRay: a test plays the operator and sets a RayJob's status; Pods are only ever asked
for with a dry run, which passes every admission and creates nothing. On a server older than LEAST what the command
line asks for is checked, and what the manifests need is skipped.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.targets.kubernetes.client import Namespace
from sweeps.targets.kubernetes.rayjob import render
from sweeps.targets.kubernetes.target import KubernetesTarget
from sweeps.targets.target import target_at
from tests.k8s.stand_in import kubeconfig
from trainers.errors import TargetError

pytestmark = pytest.mark.apiserver

Object = dict[str, Any]
ADMIN, NOBODY = "admin-token", "nobody-token"
LEAST = 30  # 1.30: Pod Security, strict field validation, rules in definitions, policy/v1


@pytest.fixture(scope="module")
def assets() -> Path:
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS", ""))
    if not os.environ.get("KUBEBUILDER_ASSETS") or not (folder / "kube-apiserver").is_file():
        pytest.skip("KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd")
    return folder


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """etcd and kube-apiserver, and kubectl on them with a token of the caller's choice."""

    def __init__(self, assets: Path, folder: Path) -> None:
        self.folder = folder
        etcd, peer, secure = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{secure}"
        key = folder / "service-accounts.key"
        command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(key)]
        subprocess.run(command, check=True, capture_output=True)
        (folder / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n{NOBODY},nobody,2,""\n')
        self.log = (folder / "server.log").open("wb")
        self.processes = [
            self.start(
                assets / "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{etcd}",
                f"--advertise-client-urls=http://127.0.0.1:{etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
            ),
            self.start(
                assets / "kube-apiserver",
                f"--etcd-servers=http://127.0.0.1:{etcd}",
                f"--secure-port={secure}",
                "--bind-address=127.0.0.1",
                f"--cert-dir={folder / 'certs'}",
                "--service-cluster-ip-range=10.96.0.0/24",
                "--authorization-mode=RBAC",
                f"--token-auth-file={folder / 'tokens.csv'}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
            ),
        ]

    def start(self, *command: str | Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(one) for one in command], stdout=self.log, stderr=self.log)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(timeout=30)
        self.log.close()

    def kubeconfig(self, token: str) -> Path:
        authority = self.folder / "certs" / "apiserver.crt"  # its own, made at the start
        return kubeconfig(self.url, token, self.folder / f"{token[:30]}.yaml", authority)

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", f"--kubeconfig={self.kubeconfig(ADMIN)}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def apply(self, *objects: Object, check: bool = True, dry_run: bool = False) -> subprocess.CompletedProcess[str]:
        options = ["--dry-run=server"] if dry_run else []
        text = yaml.safe_dump_all(objects)
        return self.kubectl("apply", "--validate=strict", *options, "-f", "-", stdin=text, check=check)

    @cached_property
    def modern(self) -> bool:
        """Whether it is of the versions that k8s/README.md asks for."""
        version = json.loads(self.kubectl("get", "--raw=/version").stdout)["gitVersion"]
        return int(version.split(".")[1]) >= LEAST

    def count(self, quota: Object, used: Mapping[str, str] | None = None) -> None:
        """What the quota controller does: say how much is used; nothing is taken before."""
        hard = quota["spec"]["hard"]
        status = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0") | dict(used or {})}}
        where = ("resourcequota", quota["metadata"]["name"], "--namespace=gradsweep")
        self.kubectl("patch", *where, "--subresource=status", "--type=merge", f"-p={json.dumps(status)}")

    def wait_for(self, path: str) -> None:
        deadline = time.monotonic() + 90
        while self.kubectl("get", f"--raw={path}", check=False).returncode:
            assert all(process.poll() is None for process in self.processes), (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, f"the API server does not answer {path} after 90 seconds"
            time.sleep(0.2)  # it has no event to wait for


@pytest.fixture(scope="module")
def server(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(assets, tmp_path_factory.mktemp("apiserver"))
    try:
        one.wait_for("/readyz")
        yield one
    finally:
        one.stop()


def plain(schema: Any) -> Any:
    """Without what old servers don't know in definitions, or check by older rules."""
    if isinstance(schema, list):
        return [plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    unknown = {"x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}
    if not isinstance(schema.get("default"), dict):  # else it is a property of that name
        unknown.add("default")
    return {key: plain(value) for key, value in schema.items() if key not in unknown}


@pytest.fixture(scope="module")
def ready(server: Server, parts: SimpleNamespace) -> Server:
    """With KubeRay's definition and the overlay dev."""
    parts.kuberay_schema("rayjobs")  # skips where the definitions are not at hand
    definition = yaml.load((parts.kuberay_folder() / "ray.io_rayjobs.yaml").read_text(), Loader=yaml.CSafeLoader)
    definition = definition if server.modern else plain(definition)
    server.kubectl("create", "--validate=strict", "-f", "-", stdin=json.dumps(definition))
    server.wait_for("/apis/ray.io/v1/rayjobs")
    objects = parts.overlay("overlays/dev")
    server.apply(*(one for one in objects if server.modern or one["kind"] != "PodDisruptionBudget"))
    (quota,) = [one for one in objects if one["kind"] == "ResourceQuota"]
    server.count(quota)
    return server


@pytest.fixture
def modern(ready: Server) -> Server:
    if not ready.modern:
        pytest.skip(f"the API server is older than 1.{LEAST}")
    return ready


def use(server: Server, token: str, monkeypatch: pytest.MonkeyPatch, name: str = "gradsweep") -> Namespace:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(token)))
    return Namespace(name)


@pytest.fixture
def namespace(ready: Server, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """As the ServiceAccount of the base, with the rights of its Role and no others."""
    token = ready.kubectl("create", "token", "gradsweep-user", "--namespace=gradsweep").stdout.strip()
    return use(ready, token, monkeypatch)


def pod(name: str, spec: Object) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "gradsweep"}, "spec": spec}


def finalize(server: Server, name: str, *finalizers: str) -> None:
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    server.kubectl("patch", "rayjobs.ray.io", name, "--namespace=gradsweep", "--type=merge", f"-p={patch}")


def set_status(server: Server, name: str, **status: Any) -> None:
    patch = json.dumps({"status": status})
    server.kubectl(
        "patch", "rayjobs.ray.io", name, "--namespace=gradsweep", "--subresource=status", "--type=merge", f"-p={patch}"
    )


def test_the_gpu_pool_is_accepted_but_for_kueues_own(modern: Server, parts: SimpleNamespace) -> None:
    objects = [one for one in parts.overlay("overlays/gpu-pool") if "kueue" not in one["apiVersion"]]
    # A claim's modes cannot be changed, so what dev has made is left out.
    modern.apply(*[one for one in objects if one["kind"] != "PersistentVolumeClaim"], dry_run=True)


def test_restricted_takes_every_pod_of_ours(modern: Server, parts: SimpleNamespace) -> None:
    specs = parts.pod_specs(render(*parts.job("dev")))
    for one in parts.overlay("overlays/dev"):
        if one["kind"] == "Deployment":
            specs[one["metadata"]["name"]] = one["spec"]["template"]["spec"]
    for name, spec in specs.items():
        done = modern.apply(pod(name, spec), dry_run=True)
        assert "PodSecurity" not in done.stderr, done.stderr


def test_restricted_refuses_kuberays_default_submitter(modern: Server) -> None:
    container = {"name": "ray-job-submitter", "image": "gradsweep:0.2.0-cpu"}
    amounts = {"cpu": "1", "memory": "1Gi"}
    container |= {"resources": {"requests": amounts, "limits": amounts}}
    done = modern.apply(
        pod("default", {"containers": [container], "restartPolicy": "Never"}), dry_run=True, check=False
    )
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
    assert found.state == "running" and "RayJob Running" in found.detail
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


def test_what_the_server_stores_is_what_was_sent(namespace: Namespace, parts: SimpleNamespace) -> None:
    """Nothing is pruned, so nothing of ours is unknown to KubeRay."""
    sent = render(*parts.job("gpu-pool", "whole"))
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


def test_an_unknown_field_is_refused(modern: Server, namespace: Namespace, parts: SimpleNamespace) -> None:
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
        use(ready, ADMIN, monkeypatch, "nowhere").create(render(*parts.job("dev")))
    with pytest.raises(TargetError, match="no namespace nowhere"):
        use(ready, ADMIN, monkeypatch, "nowhere").list()


def test_no_rights(ready: Server, parts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="no rights to create .*Role gradsweep-user") as error:
        use(ready, NOBODY, monkeypatch).create(render(*parts.job("dev")))
    assert error.value.exit_code == 2


def test_a_wrong_token(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="log in again"):
        use(ready, "wrong", monkeypatch).list()


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
