"""Sweeps in a Kubernetes namespace: create, list, read and delete their RayJobs.

It needs no more than the Role of k8s/base grants: create, get, list and delete RayJobs, read Pods and logs.
Whatever goes wrong becomes a TargetError: one line of what, where, and what would be right.

    namespace = Namespace("gradsweep")
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import urllib3
import yaml
from kubernetes import client, config

from sweeps.targets.kubernetes.rayjob import MARK, SUBMITTER
from sweeps.targets.kubernetes.rayjob_status import ENDED, flat, status_of
from sweeps.targets.target import SweepStatus, split_lines, wait_until
from trainers.errors import FAILED, TargetError

TIMEOUT = (5, 30)  # seconds to connect and to answer
POLL_SECONDS = 1.0
SILENT_SECONDS = 86400  # a driver may print nothing for this long
GONE_SECONDS = 240  # the head's Pod has 90 to end, after the operator's turn
OURS = "=".join(MARK)

Object = dict[str, Any]


class NoSuchSweep(TargetError):
    """The namespace has no RayJob of this name, or no longer."""


class NameTaken(TargetError):
    """The namespace has a RayJob of this name already."""


class Namespace:
    """The sweeps of one namespace, through the kubeconfig's current context, or from inside of a Pod.

    Doesn't connect before a method. Everything raises TargetError.
    """

    def __init__(self, name: str) -> None:
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
                f"no Kubernetes cluster is configured ({flat(error)}): set a context, see kubectl config get-contexts"
            ) from None
        settings.retries = False  # a dead address fails at once, not after three more tries
        self.name = name
        self.host = settings.host
        api = client.ApiClient(settings)
        # Any: the client's types say of every field that it may be missing.
        self._objects: Any = client.CustomObjectsApi(api)
        self._core: Any = client.CoreV1Api(api)

    def create(self, rayjob: Mapping[str, Any]) -> None:
        """Create the RayJob, unknown fields refused."""
        name, strict = rayjob["metadata"]["name"], {"field_validation": "Strict", "field_manager": "gradsweep"}
        try:
            self._rayjobs("create", name, dict(rayjob), **strict)
        except NameTaken:
            self.rayjob(name)  # which raises where it is no sweep
            raise

    def list(self) -> list[SweepStatus]:
        """All sweeps of the namespace, the oldest first."""
        rayjobs = self._rayjobs("list", "", label_selector=OURS)["items"]
        if not rayjobs:
            # The API lists nothing, and no error, for a namespace that doesn't exist.
            with self._speaking("read the namespace"):
                try:
                    self._core.read_namespace(self.name, _request_timeout=TIMEOUT)
                except client.ApiException as error:
                    if error.status != 403:  # the Role does not grant it
                        raise
        return [*map(status_of, sorted(rayjobs, key=lambda rayjob: rayjob["metadata"].get("creationTimestamp", "")))]

    def rayjob(self, name: str) -> Object:
        """The RayJob of a sweep as the cluster has it."""
        rayjob: Object = self._rayjobs("get", name, name)
        label, value = MARK
        if rayjob["metadata"].get("labels", {}).get(label) != value:
            raise TargetError(f"the RayJob {name} in namespace {self.name} is no sweep: choose another --name")
        return rayjob

    def status(self, name: str) -> SweepStatus:
        """The sweep's state now."""
        return status_of(self.rayjob(name))

    def pods(self, name: str, component: str = "") -> Sequence[Object]:
        """The sweep's Pods, or those that are its `component` (head, worker or submitter)."""
        selector = f"{OURS},app.kubernetes.io/instance={name}"
        selector += f",app.kubernetes.io/component={component}" if component else ""
        with self._speaking("list pods", name):
            answer = self._core.list_namespaced_pod(
                self.name, label_selector=selector, _preload_content=False, _request_timeout=TIMEOUT
            )
            pods: Sequence[Object] = json.loads(answer.data)["items"]
        return pods

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
            started = self._started_submitters(name)
            if started and started[-1] not in seen:
                seen |= set(started)
                yield from self._output(name, started[-1], follow=follow)
                if not follow:
                    return
            elif not follow:
                raise TargetError(f"sweep {name} has no output yet: {status.detail}", FAILED)
            elif status.state in ENDED:
                return
            else:
                time.sleep(POLL_SECONDS)

    def last_line(self, name: str) -> str:
        """What the driver printed last; "" where it has printed nothing."""
        started = self._started_submitters(name)
        return next(self._output(name, started[-1], tail_lines=1), "") if started else ""

    def delete(self, name: str) -> None:
        """Delete the RayJob: KubeRay stops the driver, which writes what it has, and removes the cluster.

        Returns when RayJob and driver are gone. The sweep's records stay in its store. One that is no sweep's stays.
        """
        only = {"preconditions": {"uid": self.rayjob(name)["metadata"]["uid"]}}
        self._rayjobs("delete", name, name, body=only, propagation_policy="Background")
        if not wait_until(lambda: self._is_gone(name), GONE_SECONDS, POLL_SECONDS):
            raise TargetError(
                f"sweep {name} is still being deleted after {GONE_SECONDS} s: does KubeRay's operator run?", FAILED
            )

    def _rayjobs(self, verb: str, sweep: str, *arguments: Any, **options: Any) -> Any:
        """One request about the RayJob of a sweep; "" is all of them."""
        method = getattr(self._objects, f"{verb}_namespaced_custom_object")
        with self._speaking(verb, sweep):
            return method("ray.io", "v1", self.name, "rayjobs", *arguments, _request_timeout=TIMEOUT, **options)

    def _is_gone(self, name: str) -> bool:
        try:
            return not self.rayjob(name)
        except NoSuchSweep:
            return not self.pods(name, "head")

    def _started_submitters(self, name: str) -> Sequence[str]:
        """The names of the Pods that print, or have printed, the driver's output; the newest is the last."""
        started = [pod["metadata"] for pod in self.pods(name, "submitter") if pod["status"].get("phase") != "Pending"]
        return [pod["name"] for pod in sorted(started, key=lambda pod: str(pod["creationTimestamp"]))]

    def _output(self, name: str, pod: str, *, follow: bool = False, tail_lines: int | None = None) -> Iterator[str]:
        with self._speaking("read the log of", name):
            answer = self._core.read_namespaced_pod_log(
                pod,
                self.name,
                container=SUBMITTER,
                follow=follow,
                _preload_content=False,
                _request_timeout=(TIMEOUT[0], SILENT_SECONDS if follow else TIMEOUT[1]),
                tail_lines=tail_lines,
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
            raise _refusal(doing, name, self.name, self.host, error) from None
        except urllib3.exceptions.HTTPError as error:
            raise TargetError(f"the cluster at {self.host} does not answer: {flat(error)}", FAILED) from None


def _refusal(doing: str, sweep: str, namespace: str, host: str, error: client.ApiException) -> TargetError:
    """What an API server's refusal means, in one line; `sweep` is "" where it is about all of them."""
    status, body = error.status, error.body or ""
    try:
        answer = json.loads(body)
        message, kind = answer.get("message"), (answer.get("details") or {}).get("kind", "")
    except (ValueError, AttributeError):  # something else than the API has answered
        message, kind = None, ""
    message = flat(message or error.reason or "no reason given")
    here, to = f"namespace {namespace} at {host}", f"--to k8s://{namespace}"
    if status == 401:
        return TargetError(f"the cluster at {host} does not know you: log in again")
    if status == 403 and "exceeded quota" in message:
        return TargetError(f"{here} is full: {message}", FAILED)
    if status == 403 and "denied the request" in message:
        return TargetError(f"{here} refuses sweep {sweep}: {message}")
    if status == 403:
        return TargetError(
            f"no rights to {doing} in {here}: {message}; its owner gives them with the Role gradsweep-user"
        )
    if status == 404 and kind == "namespaces":
        return TargetError(f"no {here}: see kubectl get namespaces")
    if status == 404 and kind:
        return NoSuchSweep(f"no sweep {sweep} in {here}: see gradsweep list {to}")
    if status == 404:
        return TargetError(f"the cluster at {host} has no rayjobs.ray.io/v1: its owner installs KubeRay's operator")
    if status == 409:
        return NameTaken(f"sweep {sweep} is already in {here}: gradsweep resume {sweep} {to}, or choose another --name")
    if status in (400, 422) and doing == "create":
        return TargetError(f"the KubeRay at {host} does not take this RayJob: {message}")
    return TargetError(f"cannot {doing} {sweep or 'sweeps'} in {here}: {status} {message}", FAILED)
