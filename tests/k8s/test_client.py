"""The real client over real HTTP, against a stand-in for the API server that keeps RayJobs in a dictionary."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from sweeps.kubernetes import KubernetesError, Namespace, connect, namespace_of
from sweeps.rayjob import render

Object = dict[str, Any]
RAYJOBS = "/apis/ray.io/v1/namespaces/gradsweep/rayjobs"
PODS = "/api/v1/namespaces/gradsweep/pods"


class Cluster:
    """What the stand-in holds; every change is an event for those who watch."""

    def __init__(self) -> None:
        self.rayjobs: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.logs: dict[str, list[str]] = {}
        self.fault: tuple[int, Object | str] | None = None
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.version = 1
        self.events: list[tuple[int, str, str, Object]] = []  # version, kind, type, object
        self.changed = threading.Condition()

    def put(self, kind: str, one: Object, change: str = "MODIFIED") -> None:
        with self.changed:
            self.version += 1
            one["metadata"]["resourceVersion"] = str(self.version)
            getattr(self, kind)[one["metadata"]["name"]] = one
            self.events.append((self.version, kind, change, deepcopy(one)))
            self.changed.notify_all()

    def take(self, kind: str, name: str) -> None:
        with self.changed:
            self.version += 1
            self.events.append((self.version, kind, "DELETED", getattr(self, kind).pop(name)))
            self.changed.notify_all()

    def set_status(self, name: str, **status: Any) -> None:
        self.put("rayjobs", deepcopy(self.rayjobs[name]) | {"status": status})

    def add_submitter(self, sweep: str, uid: str, created: str, phase: str = "Running") -> None:
        labels = {"part-of": "gradsweep", "instance": sweep, "component": "submitter"}
        metadata = {
            "name": f"{sweep}-{uid}",
            "uid": uid,
            "creationTimestamp": created,
            "labels": {f"app.kubernetes.io/{key}": value for key, value in labels.items()},
        }
        self.put("pods", {"metadata": metadata, "status": {"phase": phase}}, "ADDED")


def failure(code: int, reason: str, message: str, **details: str) -> Object:
    return {
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, *arguments: Any) -> None:
        pass

    def send(self, code: int, body: Object | str) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin(self) -> tuple[str, dict[str, str]] | None:
        """The request's path and query; None where the fault of the day has answered it."""
        address = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        self.cluster.requests.append((self.command, address.path, query))
        if self.cluster.fault:
            self.send(*self.cluster.fault)
            return None
        return address.path, query

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (begun := self.begin()) is None:
            return
        path, query = begun
        assert path == RAYJOBS, path
        name = body["metadata"]["name"]
        if name in self.cluster.rayjobs:
            text = f'rayjobs.ray.io "{name}" already exists'
            return self.send(409, failure(409, "AlreadyExists", text, name=name, group="ray.io", kind="rayjobs"))
        body["metadata"] |= {"creationTimestamp": f"2026-08-19T10:00:{len(self.cluster.rayjobs):02}Z", "uid": name}
        if "dryRun" not in query:
            self.cluster.put("rayjobs", body, "ADDED")
        return self.send(201, body)

    def do_DELETE(self) -> None:
        if (begun := self.begin()) is None:
            return
        name = begun[0].rpartition("/")[2]
        if name not in self.cluster.rayjobs:
            return self.not_found(name)
        self.cluster.take("rayjobs", name)
        return self.send(200, {"kind": "Status", "status": "Success"})

    def do_GET(self) -> None:
        if (begun := self.begin()) is None:
            return
        path, query = begun
        kind = "pods" if path.startswith(PODS) else "rayjobs"
        if path in (RAYJOBS, PODS):
            return self.watch(kind, query) if query.get("watch") in ("true", "True") else self.list(kind, query)
        if path.endswith("/log"):
            return self.log(path.split("/")[-2])
        name = path.rpartition("/")[2]
        if name not in self.cluster.rayjobs:
            return self.not_found(name)
        return self.send(200, self.cluster.rayjobs[name])

    def not_found(self, name: str) -> None:
        text = f'rayjobs.ray.io "{name}" not found'
        self.send(404, failure(404, "NotFound", text, name=name, group="ray.io", kind="rayjobs"))

    def selected(self, one: Object, query: dict[str, str]) -> bool:
        labels = one["metadata"].get("labels", {})
        pairs = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
        name = query.get("fieldSelector", "").removeprefix("metadata.name=")
        return all(labels.get(key) == value for key, value in pairs) and name in ("", one["metadata"]["name"])

    def list(self, kind: str, query: dict[str, str]) -> None:
        items = [one for one in getattr(self.cluster, kind).values() if self.selected(one, query)]
        self.send(200, {"items": items, "metadata": {"resourceVersion": str(self.cluster.version)}})

    def watch(self, kind: str, query: dict[str, str]) -> None:
        """Every event after the version asked for; closes after one, as a server may at any time."""
        after = int(query["resourceVersion"])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()

        def news() -> list[tuple[str, Object]]:
            return [
                (change, one)
                for version, what, change, one in self.cluster.events
                if what == kind and version > after and self.selected(one, query)
            ]

        with self.cluster.changed:
            self.cluster.changed.wait_for(news, timeout=float(query["timeoutSeconds"]) if kind == "rayjobs" else 0.05)
        for change, one in news():
            self.wfile.write(json.dumps({"type": change, "object": one}).encode() + b"\n")
        self.close_connection = True

    def log(self, pod: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        for line in self.cluster.logs[pod]:
            self.wfile.write(line.encode())
        self.close_connection = True


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def address(cluster: Cluster) -> Iterator[str]:
    handler = type("Bound", (Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def use(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the address the current context's."""
    named = {"name": "here"}
    file = folder / "kubeconfig"
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [named | {"cluster": {"server": address}}],
                "users": [named | {"user": {"token": "a-token"}}],
                "contexts": [named | {"context": {"cluster": "here", "user": "here"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(file))


@pytest.fixture
def namespace(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    use(address, tmp_path, monkeypatch)
    return connect("gradsweep")


@pytest.fixture
def made(parts: SimpleNamespace) -> Object:
    return render(parts.job("dev"))


def test_an_address_names_a_namespace() -> None:
    assert namespace_of("k8s://gradsweep") == "gradsweep"
    for wrong in ("k8s://", "http://head:8265", "k8s://a/b", "gradsweep"):
        with pytest.raises(KubernetesError, match="k8s://NAMESPACE") as error:
            namespace_of(wrong)
        assert error.value.exit_code == 2


def test_create_is_strict_and_one_request(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    ((method, path, query),) = cluster.requests
    assert (method, path) == ("POST", RAYJOBS)
    assert query == {"fieldValidation": "Strict", "fieldManager": "gradsweep"}
    assert cluster.rayjobs["alpha-r"]["spec"] == made["spec"]


def test_a_dry_run_leaves_nothing(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made, dry_run=True)
    assert cluster.requests[0][2]["dryRun"] == "All" and not cluster.rayjobs


def test_what_kuberay_would_refuse_is_never_sent(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    made["spec"]["backoffLimit"] = -1
    with pytest.raises(KubernetesError, match="backoffLimit") as error:
        namespace.create(made)
    assert error.value.exit_code == 2 and not cluster.requests


def test_list_gives_our_sweeps_newest_first(namespace: Namespace, cluster: Cluster, parts: SimpleNamespace) -> None:
    for name in ("first", "second"):
        namespace.create(render(parts.job("dev", name)))
    cluster.put("rayjobs", {"metadata": {"name": "not-ours", "creationTimestamp": "2026-08-19T12:00:00Z"}}, "ADDED")
    assert [one.name for one in namespace.list()] == ["second", "first"]


@pytest.mark.parametrize(
    ("status", "state", "finished"),
    [
        ({}, "created", False),
        ({"jobDeploymentStatus": "Initializing"}, "starting", False),
        ({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, "running", False),
        ({"jobDeploymentStatus": "Retrying", "failed": 1}, "retrying", False),
        ({"jobDeploymentStatus": "Suspended"}, "queued", False),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, "done", True),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, "stopped", True),
        ({"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "exit\ncode 1"}, "failed", True),
        ({"jobDeploymentStatus": "ValidationFailed", "reason": "ValidationFailed"}, "refused", True),
        ({"jobDeploymentStatus": "SomethingNew"}, "somethingnew", False),
    ],
)
def test_kuberays_status_in_our_words(
    status: Object, state: str, finished: bool, namespace: Namespace, cluster: Cluster, made: Object
) -> None:
    namespace.create(made)
    cluster.set_status("alpha-r", **status)
    found = namespace.status("alpha-r")
    assert (found.state, found.finished) == (state, finished)
    assert found.failures == status.get("failed", 0)
    assert "\n" not in found.message


def test_a_suspended_job_that_kuberay_has_not_seen_is_queued(namespace: Namespace, parts: SimpleNamespace) -> None:
    namespace.create(render(parts.job("gpu-pool")))
    assert namespace.status("alpha-r").state == "queued"


def test_watch_tells_every_change_until_the_end(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    watched = namespace.watch("alpha-r")
    assert next(watched).state == "created"
    states = []
    for deployment, job in (("Initializing", ""), ("Running", "RUNNING"), ("Complete", "SUCCEEDED")):
        cluster.set_status("alpha-r", jobDeploymentStatus=deployment, jobStatus=job)
        states.append(next(watched).state)
    assert states == ["starting", "running", "done"]
    assert list(watched) == []


def test_watch_ends_when_the_job_is_deleted(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    watched = namespace.watch("alpha-r")
    next(watched)
    cluster.take("rayjobs", "alpha-r")
    assert list(watched) == []


def test_logs_are_the_newest_submitters_line_by_line(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    cluster.add_submitter("alpha-r", "old", "2026-08-19T10:00:00Z", "Failed")
    cluster.add_submitter("alpha-r", "new", "2026-08-19T11:00:00Z")
    cluster.logs = {"alpha-r-old": ["old\n"], "alpha-r-new": ["epoch 1\nepo", "ch 2 ü\n", "no end of line"]}
    assert list(namespace.logs("alpha-r")) == ["epoch 1", "epoch 2 ü", "no end of line"]


def test_logs_that_are_not_there_yet_say_why(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    cluster.set_status("alpha-r", jobDeploymentStatus="Initializing", message="no node fits")
    with pytest.raises(KubernetesError, match="no output yet, it is starting: no node fits") as error:
        list(namespace.logs("alpha-r"))
    assert error.value.exit_code == 1


def test_following_waits_and_goes_on_through_a_retry(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    cluster.logs = {"alpha-r-one": ["lost\n"], "alpha-r-two": ["resumed\n"]}
    following = namespace.logs("alpha-r", follow=True)
    first: list[str] = []
    reader = threading.Thread(target=lambda: first.append(next(following)))
    reader.start()
    cluster.add_submitter("alpha-r", "one", "2026-08-19T10:00:00Z")
    reader.join(timeout=30)
    assert first == ["lost"]
    cluster.set_status("alpha-r", jobDeploymentStatus="Retrying", failed=1)
    cluster.add_submitter("alpha-r", "two", "2026-08-19T11:00:00Z")
    assert next(following) == "resumed"
    cluster.set_status("alpha-r", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    assert list(following) == []


def test_delete_takes_it_away(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    namespace.delete("alpha-r", wait=True)
    assert not cluster.rayjobs
    assert [request[2] for request in cluster.requests if request[0] == "DELETE"] == [
        {"propagationPolicy": "Background"}
    ]


def test_a_second_one_of_the_name_is_refused(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    with pytest.raises(KubernetesError, match="alpha-r is already in namespace gradsweep") as error:
        namespace.create(made)
    assert error.value.exit_code == 2


def test_a_sweep_that_is_not_there(namespace: Namespace) -> None:
    for method in (namespace.status, namespace.delete, lambda name: list(namespace.logs(name))):
        with pytest.raises(KubernetesError, match="no sweep nobody in namespace gradsweep") as error:
            method("nobody")
        assert error.value.exit_code == 2


FORBIDDEN = 'rayjobs.ray.io is forbidden: User "ann" cannot create resource "rayjobs" in API group "ray.io"'
QUOTA = 'rayjobs.ray.io "alpha-r" is forbidden: exceeded quota: gradsweep, requested: count/rayjobs.ray.io=1'
WEBHOOK = 'admission webhook "vrayjob.kb.io" denied the request: spec.suspend'
STRICT = 'RayJob in version "v1" cannot be handled: strict decoding error: unknown field "spec.x"'


@pytest.mark.parametrize(
    ("code", "body", "words", "exit_code"),
    [
        (401, failure(401, "Unauthorized", "Unauthorized"), "log in again", 2),
        (
            403,
            failure(403, "Forbidden", FORBIDDEN, kind="rayjobs"),
            'no rights to create .*"ann".*Role gradsweep-user',
            2,
        ),
        (403, failure(403, "Forbidden", QUOTA, kind="rayjobs"), "is full: .*exceeded quota", 1),
        (403, failure(403, "Forbidden", WEBHOOK), "refuses sweep alpha-r: .*spec.suspend", 2),
        (404, failure(404, "NotFound", 'namespaces "x" not found', kind="namespaces"), "no namespace gradsweep", 2),
        (404, "404 page not found\n", "has no rayjobs.ray.io/v1: .*KubeRay", 2),
        (404, failure(404, "NotFound", "the server could not find the requested resource"), "has no rayjobs.ray.io", 2),
        (400, failure(400, "BadRequest", STRICT), 'does not take this RayJob: .*unknown field "spec.x"', 2),
        (422, failure(422, "Invalid", "spec.x: Invalid value"), "does not take this RayJob: spec.x", 2),
        (500, failure(500, "InternalError", "etcd is\naway"), "500 etcd is away", 1),
        (503, "upstream connect error", "503", 1),
    ],
)
def test_a_refusal_is_one_clear_line(
    code: int, body: Object | str, words: str, exit_code: int, namespace: Namespace, cluster: Cluster, made: Object
) -> None:
    cluster.fault = (code, body)
    with pytest.raises(KubernetesError, match=words) as error:
        namespace.create(made)
    assert error.value.exit_code == exit_code
    assert "\n" not in str(error.value)
    assert "a-token" not in str(error.value)
    assert len(cluster.requests) == 1 and not cluster.rayjobs


def test_a_cluster_that_is_not_there(made: Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        use(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path, monkeypatch)
        namespace = connect("gradsweep")
        for call in (lambda: namespace.create(made), namespace.list, lambda: namespace.status("alpha-r")):
            with pytest.raises(KubernetesError, match=r"http://127.0.0.1:\d+ does not answer: .*refused") as error:
                call()
            assert error.value.exit_code == 1 and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "current-context: gone", ": : :", None])
def test_no_cluster_configured(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(KubernetesError, match="no Kubernetes cluster is configured") as error:
        connect("gradsweep")
    assert error.value.exit_code == 2 and "\n" not in str(error.value)


def test_a_context_that_is_not_there(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(address, tmp_path, monkeypatch)
    with pytest.raises(KubernetesError, match="elsewhere") as error:
        connect("gradsweep", context="elsewhere")
    assert error.value.exit_code == 2
