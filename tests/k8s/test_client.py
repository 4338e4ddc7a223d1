"""The real client over real HTTP, against a stand-in for the API server that keeps RayJobs in a dictionary."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from logging import LogRecord, getLogger
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from sweeps.targets.kubernetes.client import Namespace
from sweeps.targets.kubernetes.rayjob import render
from sweeps.targets.kubernetes.rayjob_status import ENDED
from tests.k8s.stand_in import PODS, RAYJOBS, Cluster, Object, failure, kubeconfig
from trainers.errors import TargetError


@pytest.fixture
def namespace(address: str) -> Namespace:
    return Namespace("gradsweep")


@pytest.fixture
def made(parts: SimpleNamespace) -> Object:
    return render(*parts.job("dev"))


def test_create_is_strict_and_one_request(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    ((method, path, query),) = cluster.requests
    assert (method, path) == ("POST", RAYJOBS)
    assert query == {"fieldValidation": "Strict", "fieldManager": "gradsweep"}
    assert cluster.rayjobs["alpha-r"]["spec"] == made["spec"]


def test_list_gives_our_sweeps_oldest_first(namespace: Namespace, cluster: Cluster, parts: SimpleNamespace) -> None:
    for name in ("first", "second"):
        namespace.create(render(*parts.job("dev", name)))
    cluster.put("rayjobs", {"metadata": {"name": "not-ours", "creationTimestamp": "2026-08-19T12:00:00Z"}})
    assert [one.name for one in namespace.list()] == ["first", "second"]


@pytest.mark.parametrize(
    ("status", "state", "finished"),
    [
        ({}, "queued", False),
        ({"jobDeploymentStatus": "Initializing"}, "starting", False),
        ({"jobDeploymentStatus": "Running"}, "starting", False),
        ({"jobDeploymentStatus": "Running", "jobStatus": "PENDING"}, "starting", False),
        ({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, "running", False),
        ({"jobDeploymentStatus": "Retrying", "failed": 1}, "starting", False),
        ({"jobDeploymentStatus": "Suspended"}, "queued", False),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, "finished", True),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"}, "stopped", True),
        ({"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "exit\ncode 1"}, "failed", True),
        ({"jobDeploymentStatus": "ValidationFailed", "reason": "ValidationFailed"}, "failed", True),
        ({"jobDeploymentStatus": "SomethingNew", "jobStatus": "RUNNING"}, "running", False),
    ],
)
def test_kuberays_status_in_our_words(
    status: Object, state: str, finished: bool, namespace: Namespace, cluster: Cluster, made: Object
) -> None:
    namespace.create(made)
    cluster.run("alpha-r")
    cluster.set_status("alpha-r", **status)
    found = namespace.status("alpha-r")
    assert (found.state, found.state in ENDED) == (state, finished)
    assert ("1 cluster failed" in found.detail) == ("failed" in status)
    assert found.detail and "\n" not in found.detail
    assert status.get("jobDeploymentStatus", "") in found.detail and status.get("jobStatus", "") in found.detail


def test_logs_are_the_newest_submitters_line_by_line(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    cluster.add_pod("alpha-r", "submitter", "old", "2026-08-19T10:00:00Z", phase="Failed")
    cluster.add_pod("alpha-r", "submitter", "new", "2026-08-19T11:00:00Z")
    cluster.add_pod("alpha-r", "submitter", "coming", "2026-08-19T12:00:00Z", phase="Pending")
    cluster.logs = {"alpha-r-old": ["old\n"], "alpha-r-new": ["epoch 1\nepo", "ch 2 ü\n", "no end of line"]}
    assert list(namespace.logs("alpha-r")) == ["epoch 1", "epoch 2 ü", "no end of line"]
    assert namespace.last_line("alpha-r") == "no end of line"


def test_logs_that_are_not_there_yet_say_why(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    cluster.set_status("alpha-r", jobDeploymentStatus="Initializing", message="no node fits")
    with pytest.raises(TargetError, match="no output yet: RayJob Initializing: no node fits") as error:
        list(namespace.logs("alpha-r"))
    assert error.value.exit_code == 1
    assert namespace.last_line("alpha-r") == ""


def test_following_waits_and_goes_on_through_a_retry(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    cluster.logs = {"alpha-r-one": ["lost\n"], "alpha-r-two": ["resumed\n"]}
    following = namespace.logs("alpha-r", follow=True)
    first: list[str] = []
    reader = threading.Thread(target=lambda: first.append(next(following)))
    reader.start()
    cluster.wait_for(PODS)
    cluster.add_pod("alpha-r", "submitter", "one", "2026-08-19T10:00:00Z")
    reader.join(timeout=30)
    assert first == ["lost"]
    cluster.set_status("alpha-r", jobDeploymentStatus="Retrying", failed=1)
    cluster.add_pod("alpha-r", "submitter", "two", "2026-08-19T11:00:00Z")
    assert next(following) == "resumed"
    cluster.set_status("alpha-r", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    assert list(following) == []


def test_following_does_not_go_back_to_tries_before_the_newest(
    namespace: Namespace, cluster: Cluster, made: Object
) -> None:
    namespace.create(made)
    cluster.set_status("alpha-r", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    cluster.logs = {"alpha-r-one": ["lost\n"], "alpha-r-two": ["resumed\n"]}
    cluster.add_pod("alpha-r", "submitter", "one", "2026-08-19T10:00:00Z", phase="Failed")
    cluster.add_pod("alpha-r", "submitter", "two", "2026-08-19T11:00:00Z", phase="Succeeded")
    assert list(namespace.logs("alpha-r", follow=True)) == ["resumed"]


def test_a_submitter_that_never_started_has_no_output(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    """Its check has failed: the API server would refuse to read the log of its container."""
    namespace.create(made)
    never = {"name": "ray-job-submitter", "state": {"waiting": {"reason": "PodInitializing"}}}
    cluster.add_pod("alpha-r", "submitter", "old", "2026-08-19T10:00:00Z", phase="Failed")
    cluster.add_pod("alpha-r", "submitter", "new", "2026-08-19T11:00:00Z", phase="Failed", containerStatuses=[never])
    cluster.logs = {"alpha-r-old": ["epoch 1\n"]}
    assert list(namespace.logs("alpha-r")) == ["epoch 1"]


def test_the_last_line_is_the_drivers(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    cluster.add_pod("alpha-r", "submitter", "s", phase="Succeeded")
    ray = "2026-08-19 10:00:00,092\tSUCC cli.py:66 -- \x1b[32m{}\x1b[39m\n"
    frame = [ray.format(line) for line in ("-" * 29, "Job 'alpha-r-x7d9f' succeeded", "-" * 29)]
    cluster.logs["alpha-r-s"] = ["epoch 1\n", "\x1b[1mthe claim is confirmed\x1b[0m\n", *frame, "\n"]
    assert namespace.last_line("alpha-r") == "the claim is confirmed"
    assert not any("\x1b" in line for line in namespace.logs("alpha-r"))


def test_following_ends_where_the_pod_is_deleted_with_the_sweep(
    namespace: Namespace, cluster: Cluster, made: Object
) -> None:
    namespace.create(made)
    cluster.add_pod("alpha-r", "submitter", "one")
    cluster.logs = {"alpha-r-one": ["epoch 1\n", "epoch 2\n"]}
    following = namespace.logs("alpha-r", follow=True)
    assert next(following) == "epoch 1"
    cluster.add_pod("alpha-r", "submitter", "two", "2026-08-19T11:00:00Z")
    cluster.no_logs = True  # gone between the list of Pods and the request for the log
    assert next(following) == "epoch 2"
    threading.Timer(0, cluster.take, ("rayjobs", "alpha-r")).start()
    assert list(following) == []


@pytest.fixture
def told() -> Iterator[Callable[[], str]]:
    """The next line that a user hears, without its seconds."""
    lines: SimpleQueue[LogRecord] = SimpleQueue()
    handler, log = QueueHandler(lines), getLogger("gradsweep")
    log.addHandler(handler)
    level, _ = log.level, log.setLevel("INFO")
    yield lambda: re.sub(r" \(\d+ s\)$", "", lines.get(timeout=30).getMessage())
    log.setLevel(level)
    log.removeHandler(handler)


def test_delete_returns_when_the_rayjob_and_the_head_are_gone(
    namespace: Namespace, cluster: Cluster, made: Object, told: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.create(made)
    cluster.slow_to_delete = True
    cluster.add_pod("alpha-r", "head", "head")
    deleting = threading.Thread(target=namespace.delete, args=("alpha-r",))
    deleting.start()
    assert told() == "alpha-r: waiting for KubeRay's operator to stop the driver"
    monkeypatch.setattr("sweeps.targets.kubernetes.client.TELL_SECONDS", 0)
    assert told() == "alpha-r: waiting for KubeRay's operator to stop the driver"  # again, as nothing has changed
    cluster.take("rayjobs", "alpha-r")
    while "operator" in (line := told()):
        pass
    assert line == "alpha-r: waiting for the head's Pod to end (alpha-r-head on node a)"
    assert deleting.is_alive()
    cluster.take("pods", "alpha-r-head")
    deleting.join(timeout=30)
    assert not deleting.is_alive()
    assert [request[2] for request in cluster.requests if request[0] == "DELETE"] == [
        {"propagationPolicy": "Background"}
    ]


def test_a_rayjob_that_never_goes_is_said(
    namespace: Namespace, cluster: Cluster, made: Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.targets.kubernetes.client.GONE_SECONDS", 0)
    namespace.create(made)
    cluster.slow_to_delete = True
    with pytest.raises(
        TargetError, match="alpha-r is not gone after 0 s: still waiting for KubeRay's operator"
    ) as error:
        namespace.delete("alpha-r")
    assert error.value.exit_code == 1
    assert namespace.status("alpha-r").state == "stopping"


def test_a_second_one_of_the_name_is_refused(namespace: Namespace, cluster: Cluster, made: Object) -> None:
    namespace.create(made)
    with pytest.raises(TargetError, match="alpha-r is already in namespace gradsweep") as error:
        namespace.create(made)
    assert error.value.exit_code == 2


def test_a_sweep_that_is_not_there(namespace: Namespace) -> None:
    for method in (namespace.status, namespace.delete, lambda name: list(namespace.logs(name))):
        with pytest.raises(TargetError, match="no sweep nobody in namespace gradsweep") as error:
            method("nobody")
        assert error.value.exit_code == 2


FORBIDDEN = 'rayjobs.ray.io is forbidden: User "ann" cannot create resource "rayjobs" in API group "ray.io"'
QUOTA = 'rayjobs.ray.io "alpha-r" is forbidden: exceeded quota: gradsweep, requested: count/rayjobs.ray.io=1'
WEBHOOK = 'admission webhook "vrayjob.kb.io" denied the request: spec.suspend'
# The API server's own words; the code is the one that the policy's validation names.
POLICY = (
    "rayjobs.ray.io \"alpha-r\" is forbidden: ValidatingAdmissionPolicy 'gradsweep-rayjobs' with binding "
    "'gradsweep-rayjobs' denied request: containers must run the image of the pool"
)
DENIED = (
    "namespace gradsweep .*refuses sweep alpha-r: containers must run the image of the pool "
    r"\(a rule of the policy 'gradsweep-rayjobs', which the cluster's owner has set\)"
)
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
        (403, failure(403, "Forbidden", POLICY, name="alpha-r", kind="rayjobs"), DENIED, 2),
        (422, failure(422, "Invalid", POLICY, name="alpha-r", kind="rayjobs"), DENIED, 2),
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
    with pytest.raises(TargetError, match=words) as error:
        namespace.create(made)
    assert error.value.exit_code == exit_code
    assert "\n" not in str(error.value)
    assert "a-token" not in str(error.value)
    assert len(cluster.requests) == 1 and not cluster.rayjobs


def test_a_cluster_that_is_not_there(made: Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(url, "a-token", tmp_path / "kubeconfig")))
        namespace = Namespace("gradsweep")
        calls: list[Callable[[], object]] = [
            lambda: namespace.create(made),
            namespace.list,
            lambda: namespace.status("alpha-r"),
        ]
        for call in calls:
            with pytest.raises(TargetError, match=r"http://127.0.0.1:\d+ does not answer: .*refused") as error:
                call()
            assert error.value.exit_code == 1 and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "current-context: gone", ": : :", None])
def test_no_cluster_configured(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(TargetError, match="no Kubernetes cluster is configured") as error:
        Namespace("gradsweep")
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
