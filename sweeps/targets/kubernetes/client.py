"""Sweeps in a Kubernetes namespace: create, list, read and delete their RayJobs.

It needs no more than the Role of k8s/base grants: create, get, list, watch and delete RayJobs, read Pods and logs.
Whatever goes wrong becomes a TargetError: one line of what, where, and what would be right.

    namespace = connect("gradsweep")
    namespace.create(render(job))
    for line in namespace.logs("alpha-r", follow=True): print(line)
    namespace.status("alpha-r").state        # "finished"
    namespace.delete("alpha-r")
"""

from __future__ import annotations

import codecs
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import urllib3
import yaml
from kubernetes import client, config, watch

from sweeps.targets.kubernetes.errors import NoSuchNamespace, NoSuchSweep, flat, refusal
from sweeps.targets.kubernetes.rayjob import SUBMITTER
from sweeps.targets.kubernetes.rayjob_status import RayJobStatus, status_of
from sweeps.targets.target import split_lines
from trainers.errors import FAILED, WRONG_REQUEST, TargetError

GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
TIMEOUT = (5, 30)  # seconds to connect and to answer
WATCH_SECONDS = 10  # the length of one watch request; another one follows
SILENT_SECONDS = 86400  # a driver may print nothing for this long
GONE_SECONDS = 240  # the head's Pod has 90 to end, after the operator's turn
OURS = "app.kubernetes.io/part-of=gradsweep"

Object = dict[str, Any]


def connect(namespace: str) -> Namespace:
    """The namespace through the kubeconfig's current context, or from inside of a Pod.

    Doesn't connect yet. Raises TargetError where no cluster is configured.
    """
    settings = client.Configuration()
    loading: Any = config  # untyped
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
            loading.load_incluster_config(client_configuration=settings)
        else:
            # The client looks at KUBECONFIG when it is imported, and never again.
            loading.load_kube_config(config_file=os.environ.get("KUBECONFIG"), client_configuration=settings)
    except (config.ConfigException, OSError, yaml.YAMLError) as error:
        raise TargetError(
            f"no Kubernetes cluster is configured ({flat(error)}): set a context, see kubectl config get-contexts",
            WRONG_REQUEST,
        ) from None
    settings.retries = False  # a dead address fails at once, not after three more tries
    return Namespace(namespace, settings)


class Namespace:
    """The sweeps of one namespace. Every method raises TargetError."""

    def __init__(self, name: str, settings: client.Configuration) -> None:
        self.name = name
        self.host = settings.host
        self._rayjobs = (GROUP, VERSION, name, PLURAL)
        api = client.ApiClient(settings)
        # Any: the client's types say of every field that it may be missing.
        self._objects: Any = client.CustomObjectsApi(api)
        self._core: Any = client.CoreV1Api(api)

    def create(self, rayjob: Mapping[str, Any]) -> None:
        """Create the RayJob, unknown fields refused."""
        with self._speaking("create", rayjob["metadata"]["name"]):
            self._objects.create_namespaced_custom_object(
                *self._rayjobs,
                dict(rayjob),
                field_validation="Strict",
                field_manager="gradsweep",
                _request_timeout=TIMEOUT,
            )

    def list(self) -> list[RayJobStatus]:
        """All sweeps of the namespace, the oldest first."""
        with self._speaking("list"):
            answer = self._objects.list_namespaced_custom_object(
                *self._rayjobs, label_selector=OURS, _request_timeout=TIMEOUT
            )
        if not answer["items"]:
            self._check_existence()
        return sorted(map(status_of, answer["items"]), key=lambda status: status.created)

    def _check_existence(self) -> None:
        """The API lists nothing, and no error, for a namespace that doesn't exist."""
        try:
            with self._speaking("read the namespace"):
                self._core.read_namespace(self.name, _request_timeout=TIMEOUT)
        except NoSuchNamespace:
            raise
        except TargetError:
            pass  # the Role does not grant it

    def rayjob(self, name: str) -> Object:
        """The RayJob as the cluster has it."""
        with self._speaking("get", name):
            rayjob: Object = self._objects.get_namespaced_custom_object(*self._rayjobs, name, _request_timeout=TIMEOUT)
        return rayjob

    def status(self, name: str) -> RayJobStatus:
        """The sweep's state now."""
        return status_of(self.rayjob(name))

    def pods(self, name: str, component: str = "") -> Sequence[Object]:
        """The sweep's Pods, or those that are its `component`: head, worker or submitter."""
        return self._list_pods(name, component)[0]

    def logs(self, name: str, *, follow: bool = False) -> Iterator[str]:
        """The driver's output as the submitter prints it, line by line.

        With `follow`, waits for it to begin, and continues across KubeRay's retries until the sweep has finished.
        """
        seen: set[str] = set()
        while True:
            try:
                status = self.status(name)
            except NoSuchSweep:
                if not seen:
                    raise
                return
            pods, version = self._list_pods(name, "submitter")
            pod = _newest([pod for pod in pods if pod["metadata"]["uid"] not in seen])
            if pod:
                seen |= {pod["metadata"]["uid"] for pod in pods if _has_started(pod)}
                yield from self._output(name, pod["metadata"]["name"], follow=follow)
                if not follow:
                    return
            elif not follow:
                raise TargetError(f"sweep {name} has no output yet: {status.words}", FAILED)
            elif status.finished:
                return
            else:
                self._wait_for_pods(name, "submitter", version)

    def last_line(self, name: str) -> str:
        """What the driver printed last; "" where it has printed nothing."""
        pod = _newest(self.pods(name, "submitter"))
        lines = list(self._output(name, pod["metadata"]["name"], tail_lines=1)) if pod else []
        return lines[-1] if lines else ""

    def delete(self, name: str) -> None:
        """Delete the RayJob: KubeRay stops the driver, which writes what it has, and removes the cluster.

        Returns when RayJob and driver are gone. The sweep's records stay in its store.
        """
        with self._speaking("delete", name):
            self._objects.delete_namespaced_custom_object(
                *self._rayjobs, name, propagation_policy="Background", _request_timeout=TIMEOUT
            )
        end = time.monotonic() + GONE_SECONDS
        for is_gone in (self._rayjob_is_gone, self._head_is_gone):
            while not is_gone(name):
                if time.monotonic() > end:
                    raise TargetError(
                        f"sweep {name} is still being deleted after {GONE_SECONDS} s: does KubeRay's operator run?",
                        FAILED,
                    )

    def _rayjob_is_gone(self, name: str) -> bool:
        """Whether it is; waits for that for some seconds."""
        try:
            version = self.rayjob(name)["metadata"].get("resourceVersion", "")
        except NoSuchSweep:
            return True
        with self._speaking("watch", name):
            fetch = self._objects.list_namespaced_custom_object
            events = _watch(fetch, self._rayjobs, version, field_selector=f"metadata.name={name}")
            return any(event["type"] == "DELETED" for event in events)

    def _head_is_gone(self, name: str) -> bool:
        pods, version = self._list_pods(name, "head")
        if pods:
            self._wait_for_pods(name, "head", version)
        return not pods

    def _list_pods(self, name: str, component: str) -> tuple[Sequence[Object], str]:
        """The Pods, and the version from which to watch for changes."""
        with self._speaking("list pods", name):
            answer = self._core.list_namespaced_pod(
                self.name, label_selector=_selector(name, component), _preload_content=False, _request_timeout=TIMEOUT
            )
            pods = json.loads(answer.data)
        return pods["items"], pods["metadata"]["resourceVersion"]

    def _wait_for_pods(self, name: str, component: str, version: str) -> None:
        """Return when they change, or after some seconds: the RayJob may have changed instead."""
        with self._speaking("watch pods", name):
            fetch = self._core.list_namespaced_pod
            next(_watch(fetch, (self.name,), version, label_selector=_selector(name, component)), None)

    def _output(self, name: str, pod: str, *, follow: bool = False, tail_lines: int | None = None) -> Iterator[str]:
        with self._speaking("read the log of", name):
            answer = self._core.read_namespaced_pod_log(
                pod,
                self.name,
                container=SUBMITTER,
                follow=follow,
                _preload_content=False,
                _request_timeout=(TIMEOUT[0], SILENT_SECONDS if follow else TIMEOUT[1]),
                **({} if tail_lines is None else {"tail_lines": tail_lines}),
            )
            try:
                yield from split_lines(codecs.iterdecode(answer.stream(2**14), "utf-8", errors="replace"))
            finally:
                answer.release_conn()

    @contextmanager
    def _speaking(self, doing: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except client.ApiException as error:
            raise refusal(doing, name, self.name, self.host, error.status, error.reason, error.body) from None
        except urllib3.exceptions.HTTPError as error:
            raise TargetError(f"the cluster at {self.host} does not answer: {flat(error)}", FAILED) from None


def _selector(name: str, component: str) -> str:
    selector = f"{OURS},app.kubernetes.io/instance={name}"
    return f"{selector},app.kubernetes.io/component={component}" if component else selector


def _newest(pods: Sequence[Object]) -> Object | None:
    """The last one made of those that have started."""
    started = filter(_has_started, pods)
    return max(started, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def _has_started(pod: Object) -> bool:
    return bool(pod["status"].get("phase") != "Pending")


def _watch(fetch: Callable[..., Any], where: Sequence[str], version: str, **selector: str) -> Iterator[Object]:
    """The events after a version, for WATCH_SECONDS."""
    watcher: Any = watch.Watch  # untyped
    try:
        yield from watcher().stream(
            fetch,
            *where,
            resource_version=version,
            timeout_seconds=WATCH_SECONDS,
            _request_timeout=(TIMEOUT[0], WATCH_SECONDS + TIMEOUT[1]),
            **selector,
        )
    except client.ApiException as error:
        if error.status != 410:  # the version has expired: the caller reads anew
            raise
