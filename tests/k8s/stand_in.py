"""A stand-in for the Kubernetes API server: it keeps RayJobs and Pods in dictionaries and answers over real HTTP.

It answers in the shapes of a real one (tests/k8s/test_apiserver.py asks a real one the same). Its operator is the
test, which sets a RayJob's status and takes it away.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Object = dict[str, Any]
NAMESPACE = "gradsweep"
RAYJOBS = f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayjobs"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def failure(code: int, reason: str, message: str, **details: str) -> Object:
    """The API's Status object."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return status | {"code": code, "reason": reason, "message": message, "details": details}


class Cluster:
    """What the stand-in holds."""

    def __init__(self) -> None:
        self.rayjobs: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.logs: dict[str, list[str]] = {}  # POD, for a submitter's, or POD/CONTAINER
        self.fault: tuple[int, Object | str] | None = None  # what every request is answered with
        self.strict = False  # nobody may read the namespace itself, as with our Role
        self.no_logs = False  # a Pod is gone when its log is asked for
        self.slow_to_delete = False  # a deleted RayJob stays until the operator takes it
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.changed = threading.Condition()

    def put(self, kind: str, one: Object) -> None:
        with self.changed:
            getattr(self, kind)[one["metadata"]["name"]] = one
            self.changed.notify_all()

    def take(self, kind: str, name: str) -> None:
        with self.changed:
            del getattr(self, kind)[name]

    def set_status(self, name: str, **status: Any) -> None:
        """What KubeRay's operator does."""
        self.put("rayjobs", deepcopy(self.rayjobs[name]) | {"status": status})

    def add_pod(
        self, sweep: str, component: str, uid: str, created: str = "2026-08-19T10:00:00Z", **status: Any
    ) -> None:
        labels = {"part-of": "gradsweep", "instance": sweep, "component": component}
        metadata = {
            "name": f"{sweep}-{uid}",
            "uid": uid,
            "creationTimestamp": created,
            "labels": {f"app.kubernetes.io/{key}": value for key, value in labels.items()},
        }
        self.put("pods", {"metadata": metadata, "spec": {"nodeName": "a"}, "status": {"phase": "Running"} | status})

    def run(self, sweep: str, **status: Any) -> None:
        """As a sweep is whose driver runs, in a head of its own."""
        self.add_pod(sweep, "head", "head")
        self.set_status(sweep, jobDeploymentStatus="Running", jobStatus="RUNNING", **status)

    def end(self, sweep: str, deployment: str = "Complete", job: str = "SUCCEEDED", **status: Any) -> None:
        """As a sweep is that has ended, and its head with it."""
        self.pods.pop(f"{sweep}-head", None)
        self.set_status(sweep, jobDeploymentStatus=deployment, jobStatus=job, **status)

    def wait_until_deleting(self, name: str) -> None:
        """Until a RayJob has been asked to go, and waits for the operator."""
        with self.changed:
            going = self.changed.wait_for(lambda: "deletionTimestamp" in self.rayjobs[name]["metadata"], timeout=30)
            assert going, name

    def wait_for(self, what: str) -> None:
        """Until a request of this method or to this path has come."""
        with self.changed:
            assert self.changed.wait_for(lambda: [r for r in self.requests if what in r[:2]], timeout=30), what


class Handler(BaseHTTPRequestHandler):
    """Create, get, list and delete, as far as the client asks for them."""

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
        with self.cluster.changed:
            self.cluster.requests.append((self.command, address.path, query))
            self.cluster.changed.notify_all()
        if self.cluster.fault:
            self.send(*self.cluster.fault)
            return None
        return address.path, query

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (begun := self.begin()) is None:
            return
        if begun[0] != RAYJOBS:
            return self.no_namespace(begun[0].split("/")[-2])
        name = body["metadata"]["name"]
        with self.cluster.changed:
            taken = name in self.cluster.rayjobs
            if not taken:
                made = {"creationTimestamp": f"2026-08-19T10:00:{len(self.cluster.rayjobs):02}Z", "uid": name}
                body["metadata"] |= made
                self.cluster.put("rayjobs", body)
        if taken:
            text = f'rayjobs.ray.io "{name}" already exists'
            return self.send(409, failure(409, "AlreadyExists", text, name=name, group="ray.io", kind="rayjobs"))
        return self.send(201, body)

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if (begun := self.begin()) is None:
            return
        name = begun[0].rpartition("/")[2]
        if name not in self.cluster.rayjobs:
            return self.not_found(name)
        if self.cluster.slow_to_delete:
            going = deepcopy(self.cluster.rayjobs[name])
            going["metadata"]["deletionTimestamp"] = "2026-08-19T11:00:00Z"
            self.cluster.put("rayjobs", going)
            return self.send(200, going)
        self.cluster.take("rayjobs", name)
        return self.send(200, {"kind": "Status", "status": "Success"})

    def do_GET(self) -> None:
        if (begun := self.begin()) is None:
            return
        path, query = begun
        kind, name = "pods" if path.startswith(PODS) else "rayjobs", path.rpartition("/")[2]
        if path in (RAYJOBS, PODS):
            return self.list(kind, query)
        if path.startswith("/api/v1/namespaces/") and path.count("/") == 4:
            if self.cluster.strict:
                return self.send(403, failure(403, "Forbidden", "namespaces is forbidden", kind="namespaces"))
            return self.send(200, {"metadata": {"name": name}}) if name == NAMESPACE else self.no_namespace(name)
        if path.endswith("/log"):
            return self.log(path.split("/")[-2], query)
        elsewhere = not path.startswith(RAYJOBS)  # in another namespace, which reading does not miss
        if elsewhere and name in ("pods", "rayjobs"):
            return self.send(200, {"items": [], "metadata": {"resourceVersion": "1"}})
        if elsewhere or name not in self.cluster.rayjobs:
            return self.not_found(name)
        return self.send(200, self.cluster.rayjobs[name])

    def not_found(self, name: str) -> None:
        text = f'rayjobs.ray.io "{name}" not found'
        self.send(404, failure(404, "NotFound", text, name=name, group="ray.io", kind="rayjobs"))

    def no_namespace(self, name: str) -> None:
        self.send(404, failure(404, "NotFound", f'namespaces "{name}" not found', name=name, kind="namespaces"))

    def selected(self, one: Object, query: dict[str, str]) -> bool:
        labels = one["metadata"].get("labels", {})
        pairs = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
        return all(labels.get(key) == value for key, value in pairs)

    def list(self, kind: str, query: dict[str, str]) -> None:
        with self.cluster.changed:
            items = [one for one in getattr(self.cluster, kind).values() if self.selected(one, query)]
        self.send(200, {"items": items, "metadata": {"resourceVersion": "1"}})

    def log(self, pod: str, query: dict[str, str]) -> None:
        if pod not in self.cluster.pods or self.cluster.no_logs:
            return self.send(404, failure(404, "NotFound", f'pods "{pod}" not found', name=pod, kind="pods"))
        for container in self.cluster.pods[pod]["status"].get("containerStatuses", []):
            if waiting := container["state"].get("waiting"):
                what = f'container "{container["name"]}" in pod "{pod}"'
                text = f"{what} is waiting to start: {waiting['reason']}"
                return self.send(400, failure(400, "BadRequest", text))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        container = query["container"]
        text = "".join(self.cluster.logs.get(pod if container == "ray-job-submitter" else f"{pod}/{container}", []))
        lines = text.splitlines(keepends=True)
        for line in lines[-int(query.get("tailLines", len(lines) or 1)) :]:
            self.wfile.write(line.encode())
        self.close_connection = True


@contextmanager
def serving(cluster: Cluster) -> Iterator[str]:
    """The stand-in's address while the block runs."""
    handler = type("Bound", (Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(server: str, token: str, file: Path, authority: Path | None = None) -> Path:
    """A kubeconfig whose current context is this server with this token."""
    named = {"name": "here"}
    cluster = {"server": server} | ({"certificate-authority": str(authority)} if authority else {})
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [named | {"cluster": cluster}],
        "users": [named | {"user": {"token": token}}],
        "contexts": [named | {"context": {"cluster": "here", "user": "here"}}],
    }
    file.write_text(yaml.safe_dump(document))
    return file
