"""Sweeps in a Kubernetes namespace: create, watch, list, read and delete their RayJobs. The only user of the client.

It asks for no more than the Role of k8s/base gives: create, get, list, watch and delete RayJobs, read Pods and logs.
Whatever goes wrong becomes a KubernetesError: one line of what, where, and what would be right.

    namespace = connect(namespace_of("k8s://gradsweep"))
    namespace.create(render(job))
    for line in namespace.logs("alpha-r", follow=True): print(line)
    namespace.status("alpha-r").state        # "done"
    namespace.delete("alpha-r")
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3
import yaml
from kubernetes import client, config, watch

from sweeps.kuberay_rules import problems
from sweeps.rayjob import SUBMITTER

SCHEME = "k8s://"
GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
TIMEOUT = (5, 30)  # seconds to connect and to answer
WATCH_SECONDS = 30  # one watch request's length; a new one takes its place
SILENT_SECONDS = 86400  # so long a driver may print nothing
OURS = "app.kubernetes.io/part-of=gradsweep"
WRONG_REQUEST, FAILED = 2, 1

# KubeRay's JobDeploymentStatus; while it says Running or Complete, Ray's own job status says more.
DEPLOYMENT = {
    "": "created",
    "Initializing": "starting",
    "Waiting": "starting",
    "Running": "running",
    "Retrying": "retrying",
    "Suspending": "queued",
    "Suspended": "queued",
    "Complete": "done",
    "Failed": "failed",
    "ValidationFailed": "refused",
}
FINISHED = frozenset({"done", "failed", "stopped", "refused"})


class KubernetesError(Exception):
    """One line of what went wrong in the cluster; `exit_code` is 2 where the request was wrong, else 1."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NoSuchSweep(KubernetesError):
    """The namespace has no RayJob of this name, or no more."""


@dataclass(frozen=True)
class SweepStatus:
    """A RayJob's state in our words, with KubeRay's beside it; times are RFC 3339 texts, "" where unknown."""

    name: str
    state: str  # created | queued | starting | running | retrying | done | failed | stopped | refused | stopping
    deployment: str  # KubeRay's jobDeploymentStatus
    job: str  # Ray's job status
    message: str
    cluster: str  # the RayCluster's name
    failures: int  # clusters that failed so far; each retry is a fresh one
    created: str
    started: str
    ended: str

    @property
    def finished(self) -> bool:
        """Whether it runs no more and will not by itself."""
        return self.state in FINISHED


def namespace_of(address: str) -> str:
    """The namespace in `k8s://NAMESPACE`; raises KubernetesError where there is none."""
    name = address.removeprefix(SCHEME)
    if not address.startswith(SCHEME) or not name or "/" in name:
        raise KubernetesError(f"--to {address}: must be k8s://NAMESPACE, like k8s://gradsweep", WRONG_REQUEST)
    return name


def connect(namespace: str, context: str | None = None) -> Namespace:
    """The namespace through the kubeconfig's current context, or the one named, or from inside of a Pod.

    Speaks to nobody yet. Raises KubernetesError where no cluster is configured.
    """
    settings = client.Configuration()
    loading: Any = config  # untyped
    try:
        if context is None and "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            loading.load_incluster_config(client_configuration=settings)
        else:
            # The client looks at KUBECONFIG when it is imported, and never again.
            file = os.environ.get("KUBECONFIG")
            loading.load_kube_config(config_file=file, context=context, client_configuration=settings)
    except (config.ConfigException, OSError, yaml.YAMLError) as error:
        raise KubernetesError(
            f"no Kubernetes cluster is configured ({_one_line(error)}): set a context, see kubectl config get-contexts",
            WRONG_REQUEST,
        ) from None
    settings.retries = False  # an address that is dead should say so at once, not after three more tries
    return Namespace(namespace, settings)


class Namespace:
    """The sweeps of one namespace. Every method raises KubernetesError and nothing else of the client's."""

    def __init__(self, name: str, settings: client.Configuration) -> None:
        self.name = name
        self.host = settings.host
        api = client.ApiClient(settings)
        # Any: the client's types say of every field that it may be missing.
        self._objects: Any = client.CustomObjectsApi(api)
        self._pods: Any = client.CoreV1Api(api)

    def create(self, rayjob: Mapping[str, Any], *, dry_run: bool = False) -> None:
        """Create the RayJob, unknown fields refused; a dry run asks the server and leaves nothing behind."""
        broken = problems(rayjob)
        if broken:
            raise KubernetesError(f"KubeRay would refuse this RayJob: {'; '.join(broken)}", WRONG_REQUEST)
        with self._speaking("create", rayjob["metadata"]["name"]):
            self._objects.create_namespaced_custom_object(
                GROUP,
                VERSION,
                self.name,
                PLURAL,
                dict(rayjob),
                field_validation="Strict",
                field_manager="gradsweep",
                _request_timeout=TIMEOUT,
                **({"dry_run": "All"} if dry_run else {}),
            )

    def list(self) -> list[SweepStatus]:
        """All sweeps of the namespace, the newest first."""
        with self._speaking("list"):
            answer = self._objects.list_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURAL, label_selector=OURS, _request_timeout=TIMEOUT
            )
        return sorted(map(_status, answer["items"]), key=lambda one: one.created, reverse=True)

    def status(self, name: str) -> SweepStatus:
        """The sweep's state now."""
        return _status(self._get(name))

    def watch(self, name: str) -> Iterator[SweepStatus]:
        """The sweep's state now and after every change, until it is finished or gone."""
        last: SweepStatus | None = None
        while True:
            try:
                found = self._get(name)
            except NoSuchSweep:
                if last is None:
                    raise
                return
            now = _status(found)
            if now != last:
                yield now
            last = now
            if now.finished:
                return
            with self._speaking("watch", name):
                for event in self._events(name, found["metadata"].get("resourceVersion", "")):
                    if event["type"] == "DELETED":
                        return
                    now = _status(event["object"])
                    if now != last:
                        yield now
                    last = now
                    if now.finished:
                        return

    def logs(self, name: str, *, follow: bool = False) -> Iterator[str]:
        """The driver's output as the submitter prints it, line by line.

        With `follow`, waits for it to begin, and goes on through KubeRay's retries until the sweep is finished.
        """
        seen: set[str] = set()
        while True:
            try:
                status = self.status(name)
            except NoSuchSweep:
                if not seen:
                    raise
                return
            pods, version = self._submitters(name)
            begun = [pod for pod in pods if pod.status.phase != "Pending" and pod.metadata.uid not in seen]
            if begun:
                pod = max(begun, key=lambda pod: pod.metadata.creation_timestamp)
                seen.add(pod.metadata.uid)
                yield from self._output(name, pod.metadata.name, follow)
                if not follow:
                    return
            elif not follow:
                why = f": {status.message}" if status.message else ""
                raise KubernetesError(f"sweep {name} has no output yet, it is {status.state}{why}", FAILED)
            elif status.finished:
                return
            else:
                self._wait_for_submitters(name, version)

    def delete(self, name: str, *, wait: bool = False) -> None:
        """Delete the RayJob: KubeRay stops the driver, which closes its books, and takes the cluster away.

        With `wait`, returns when the RayJob is gone. What the sweep recorded stays in its store.
        """
        with self._speaking("delete", name):
            self._objects.delete_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURAL, name, propagation_policy="Background", _request_timeout=TIMEOUT
            )
        while wait:
            try:
                found = self._get(name)
            except NoSuchSweep:
                return
            with self._speaking("watch", name):
                for event in self._events(name, found["metadata"].get("resourceVersion", "")):
                    if event["type"] == "DELETED":
                        return

    def _get(self, name: str) -> dict[str, Any]:
        with self._speaking("get", name):
            found: dict[str, Any] = self._objects.get_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURAL, name, _request_timeout=TIMEOUT
            )
        return found

    def _events(self, name: str, resource_version: str) -> Iterator[dict[str, Any]]:
        where = (GROUP, VERSION, self.name, PLURAL)
        fetch = self._objects.list_namespaced_custom_object
        return _watch(fetch, WATCH_SECONDS, *where, resource_version, field_selector=f"metadata.name={name}")

    def _selector(self, name: str) -> str:
        return f"{OURS},app.kubernetes.io/instance={name},app.kubernetes.io/component=submitter"

    def _submitters(self, name: str) -> tuple[Sequence[Any], str]:
        """The Pods that have submitted the sweep, one a try, and the version from which to watch for others."""
        with self._speaking("list pods", name):
            pods = self._pods.list_namespaced_pod(
                self.name, label_selector=self._selector(name), _request_timeout=TIMEOUT
            )
        return pods.items, pods.metadata.resource_version

    def _wait_for_submitters(self, name: str, version: str) -> None:
        """Return at the next change of a submitter, or after some seconds: the RayJob may have changed instead."""
        with self._speaking("watch pods", name):
            for _ in _watch(self._pods.list_namespaced_pod, 5, self.name, version, label_selector=self._selector(name)):
                return

    def _output(self, name: str, pod: str, follow: bool) -> Iterator[str]:
        with self._speaking("read the log of", name):
            answer = self._pods.read_namespaced_pod_log(
                pod,
                self.name,
                container=SUBMITTER,
                follow=follow,
                _preload_content=False,
                _request_timeout=(TIMEOUT[0], SILENT_SECONDS if follow else TIMEOUT[1]),
            )
            try:
                rest = b""
                for chunk in answer.stream(2**14):
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield line.decode(errors="replace")
                if rest:
                    yield rest.decode(errors="replace")
            finally:
                answer.release_conn()

    @contextmanager
    def _speaking(self, doing: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except client.ApiException as error:
            raise self._refusal(doing, name, error) from None
        except urllib3.exceptions.HTTPError as error:
            raise KubernetesError(f"the cluster at {self.host} does not answer: {_one_line(error)}", FAILED) from None

    def _refusal(self, doing: str, name: str, error: Any) -> KubernetesError:
        answer = _answer(error.body)
        message = _one_line(answer.get("message") or error.reason or "no reason given")
        kind = answer.get("details", {}).get("kind", "")
        here = f"namespace {self.name} at {self.host}"
        if error.status == 401:
            return KubernetesError(f"the cluster at {self.host} does not know you: log in again", WRONG_REQUEST)
        if error.status == 403 and "exceeded quota" in message:
            return KubernetesError(f"{here} is full: {message}", FAILED)
        if error.status == 403 and "denied the request" in message:
            return KubernetesError(f"{here} refuses sweep {name}: {message}", WRONG_REQUEST)
        if error.status == 403:
            return KubernetesError(
                f"no rights to {doing} in {here}: {message}; its owner gives them with the Role gradsweep-user",
                WRONG_REQUEST,
            )
        if error.status == 404 and kind == "namespaces":
            return KubernetesError(f"no {here}: see kubectl get namespaces", WRONG_REQUEST)
        if error.status == 404 and kind:
            return NoSuchSweep(f"no sweep {name} in {here}: see gradsweep list", WRONG_REQUEST)
        if error.status == 404:
            return KubernetesError(
                f"the cluster at {self.host} has no {PLURAL}.{GROUP}/{VERSION}: its owner installs KubeRay's operator",
                WRONG_REQUEST,
            )
        if error.status == 409:
            return KubernetesError(
                f"sweep {name} is already in {here}: choose another --name, or gradsweep stop {name} first",
                WRONG_REQUEST,
            )
        if error.status in (400, 422) and doing == "create":
            return KubernetesError(f"the KubeRay at {self.host} does not take this RayJob: {message}", WRONG_REQUEST)
        return KubernetesError(f"cannot {doing} {name or 'sweeps'} in {here}: {error.status} {message}", FAILED)


def _watch(
    fetch: Callable[..., Any], seconds: int, *where_and_version: str, **selector: str
) -> Iterator[dict[str, Any]]:
    """The events after a version, for some seconds; the last of `where_and_version` is the version."""
    *where, version = where_and_version
    watcher: Any = watch.Watch  # untyped
    try:
        yield from watcher().stream(
            fetch,
            *where,
            resource_version=version,
            timeout_seconds=seconds,
            _request_timeout=(TIMEOUT[0], seconds + TIMEOUT[1]),
            **selector,
        )
    except client.ApiException as error:
        if error.status != 410:  # the version has expired: the caller looks anew
            raise


def _status(rayjob: Mapping[str, Any]) -> SweepStatus:
    metadata, status = rayjob["metadata"], rayjob.get("status") or {}
    deployment = status.get("jobDeploymentStatus", "")
    job = status.get("jobStatus", "")
    state = DEPLOYMENT.get(deployment, deployment.lower())
    if deployment == "" and rayjob.get("spec", {}).get("suspend"):
        state = "queued"
    if state == "done" and job in ("STOPPED", "FAILED"):
        state = job.lower()
    if metadata.get("deletionTimestamp"):
        state = "stopping"
    return SweepStatus(
        name=metadata["name"],
        state=state,
        deployment=deployment,
        job=job,
        message=_one_line(status.get("message") or status.get("reason") or ""),
        cluster=status.get("rayClusterName", ""),
        failures=int(status.get("failed") or 0),
        created=metadata.get("creationTimestamp", ""),
        started=status.get("startTime") or "",
        ended=status.get("endTime") or "",
    )


def _answer(body: Any) -> dict[str, Any]:
    """The API's Status object, or {} where something else answered."""
    try:
        answer = json.loads(body)
    except (TypeError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
