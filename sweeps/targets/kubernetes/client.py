"""Sweeps in a Kubernetes namespace: create, list, read and delete their RayJobs. The only user of the client.

It asks for no more than the Role of k8s/base gives: create, get, list, watch and delete RayJobs, read Pods and logs.
Whatever goes wrong becomes a KubernetesError: one line of what, where, and what would be right.

    namespace = connect("gradsweep")
    namespace.create(render(job))
    for line in namespace.logs("alpha-r", follow=True): print(line)
    namespace.status("alpha-r").state        # "finished"
    namespace.delete("alpha-r")
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import urllib3
import yaml
from kubernetes import client, config, watch

from sweeps.targets.kubernetes.errors import KubernetesError, NoSuchNamespace, NoSuchSweep, refusal
from sweeps.targets.kubernetes.rayjob import SUBMITTER
from sweeps.targets.kubernetes.rayjob_status import RayJobStatus, one_line, status_of
from trainers.errors import FAILED, WRONG_REQUEST

GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
TIMEOUT = (5, 30)  # seconds to connect and to answer
WATCH_SECONDS = 10  # one watch request's length; a new one takes its place
SILENT_SECONDS = 86400  # so long a driver may print nothing
GONE_SECONDS = 240  # the head's Pod has 90 to end, after the operator's turn
OURS = "app.kubernetes.io/part-of=gradsweep"

Object = dict[str, Any]


def connect(namespace: str) -> Namespace:
    """The namespace through the kubeconfig's current context, or from inside of a Pod.

    Speaks to nobody yet. Raises KubernetesError where no cluster is configured.
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
        raise KubernetesError(
            f"no Kubernetes cluster is configured ({one_line(error)}): set a context, see kubectl config get-contexts",
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
        self._core: Any = client.CoreV1Api(api)

    def create(self, rayjob: Mapping[str, Any]) -> None:
        """Create the RayJob, unknown fields refused."""
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
            )

    def list(self) -> list[RayJobStatus]:
        """All sweeps of the namespace, the oldest first."""
        with self._speaking("list"):
            answer = self._objects.list_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURAL, label_selector=OURS, _request_timeout=TIMEOUT
            )
        if not answer["items"]:
            self._see_that_it_is_there()
        return sorted(map(status_of, answer["items"]), key=lambda one: one.created)

    def _see_that_it_is_there(self) -> None:
        """For the API lists what is in a namespace that is not there: nothing."""
        try:
            with self._speaking("look at the namespace"):
                self._core.read_namespace(self.name, _request_timeout=TIMEOUT)
        except NoSuchNamespace:
            raise
        except KubernetesError:
            pass  # not a right of the Role's

    def rayjob(self, name: str) -> Object:
        """The RayJob as the cluster has it."""
        with self._speaking("get", name):
            found: Object = self._objects.get_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURAL, name, _request_timeout=TIMEOUT
            )
        return found

    def status(self, name: str) -> RayJobStatus:
        """The sweep's state now."""
        return status_of(self.rayjob(name))

    def pods(self, name: str, component: str = "") -> Sequence[Object]:
        """The sweep's Pods, or those that are its `component`: head, worker or submitter."""
        return self._list_pods(name, component)[0]

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
            pods, version = self._list_pods(name, "submitter")
            pod = _newest([pod for pod in pods if pod["metadata"]["uid"] not in seen])
            if pod:
                seen |= {pod["metadata"]["uid"] for pod in pods if _has_begun(pod)}
                yield from self._output(name, pod["metadata"]["name"], follow=follow)
                if not follow:
                    return
            elif not follow:
                raise KubernetesError(f"sweep {name} has no output yet: {status.words}", FAILED)
            elif status.finished:
                return
            else:
                self._wait_for_a_change_of_pods(name, "submitter", version)

    def last_line(self, name: str) -> str:
        """What the driver printed last; "" where it has printed nothing."""
        pod = _newest(self.pods(name, "submitter"))
        lines = list(self._output(name, pod["metadata"]["name"], tail_lines=1)) if pod else []
        return lines[-1] if lines else ""

    def delete(self, name: str) -> None:
        """Delete the RayJob: KubeRay stops the driver, which closes its books, and takes the cluster away.

        Returns when RayJob and driver are gone. What the sweep recorded stays in its store.
        """
        with self._speaking("delete", name):
            self._objects.delete_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURAL, name, propagation_policy="Background", _request_timeout=TIMEOUT
            )
        end = time.monotonic() + GONE_SECONDS
        for gone in (self._rayjob_is_gone, self._head_is_gone):
            while not gone(name):
                if time.monotonic() > end:
                    raise KubernetesError(
                        f"sweep {name} is still being deleted after {GONE_SECONDS} s: does KubeRay's operator run?",
                        FAILED,
                    )

    def _rayjob_is_gone(self, name: str) -> bool:
        """Whether it is, or else what comes first: it goes, or some seconds pass."""
        try:
            version = self.rayjob(name)["metadata"].get("resourceVersion", "")
        except NoSuchSweep:
            return True
        with self._speaking("watch", name):
            fetch = self._objects.list_namespaced_custom_object
            where = (GROUP, VERSION, self.name, PLURAL, version)
            for event in _watch(fetch, WATCH_SECONDS, *where, field_selector=f"metadata.name={name}"):
                if event["type"] == "DELETED":
                    return True
        return False

    def _head_is_gone(self, name: str) -> bool:
        pods, version = self._list_pods(name, "head")
        if pods:
            self._wait_for_a_change_of_pods(name, "head", version)
        return not pods

    def _list_pods(self, name: str, component: str) -> tuple[Sequence[Object], str]:
        """The Pods, and the version from which to watch for others."""
        with self._speaking("list pods", name):
            answer = self._core.list_namespaced_pod(
                self.name, label_selector=_selector(name, component), _preload_content=False, _request_timeout=TIMEOUT
            )
            found = json.loads(answer.data)
        return found["items"], found["metadata"]["resourceVersion"]

    def _wait_for_a_change_of_pods(self, name: str, component: str, version: str) -> None:
        """Return at the next one, or after some seconds: the RayJob may have changed instead."""
        with self._speaking("watch pods", name):
            fetch = self._core.list_namespaced_pod
            for _ in _watch(fetch, WATCH_SECONDS, self.name, version, label_selector=_selector(name, component)):
                return

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
            raise refusal(doing, name, self.name, self.host, error.status, error.reason, error.body) from None
        except urllib3.exceptions.HTTPError as error:
            raise KubernetesError(f"the cluster at {self.host} does not answer: {one_line(error)}", FAILED) from None


def _selector(name: str, component: str) -> str:
    selector = f"{OURS},app.kubernetes.io/instance={name}"
    return f"{selector},app.kubernetes.io/component={component}" if component else selector


def _newest(pods: Sequence[Object]) -> Object | None:
    """The last one made of those that have begun."""
    begun = filter(_has_begun, pods)
    return max(begun, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def _has_begun(pod: Object) -> bool:
    return bool(pod["status"].get("phase") != "Pending")


def _watch(fetch: Callable[..., Any], seconds: int, *where_and_version: str, **selector: str) -> Iterator[Object]:
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
