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
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import urllib3
import yaml
from kubernetes import client, config

from sweeps.targets.kubernetes.pods_status import COMPONENT, INSTANCE, running_check
from sweeps.targets.kubernetes.rayjob import MARK, SUBMITTER
from sweeps.targets.kubernetes.rayjob_status import ENDED, status_of
from sweeps.targets.kubernetes.refusals import NameTaken, NoSuchSweep, refusal
from sweeps.targets.output import last_line, split_lines
from sweeps.targets.target import SweepStatus
from trainers.errors import FAILED, TargetError, flat

log = logging.getLogger("gradsweep")

TIMEOUT = (5, 30)  # seconds to connect and to answer
POLL_SECONDS = 0.5
TELL_SECONDS = 5.0  # whoever waits hears so often what for
SILENT_SECONDS = 86400  # a driver may print nothing for this long
GONE_SECONDS = 240  # the head's Pod has 60 to end, after the operator's turn
LAST_LINES = 50  # of an output: Ray's frame around it is shorter
OURS = "=".join(MARK)

Object = dict[str, Any]


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
            hint = "set a context, see kubectl config get-contexts"
            raise TargetError(f"no Kubernetes cluster is configured ({flat(str(error))}): {hint}") from None
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
        pods: dict[str, list[Object]] = {}
        for pod in self.pods() if rayjobs else ():
            pods.setdefault(pod["metadata"]["labels"].get(INSTANCE, ""), []).append(pod)
        oldest_first = sorted(rayjobs, key=lambda rayjob: rayjob["metadata"].get("creationTimestamp", ""))
        return [status_of(rayjob, pods.get(rayjob["metadata"]["name"], ())) for rayjob in oldest_first]

    def rayjob(self, name: str) -> Object:
        """The RayJob of a sweep as the cluster has it."""
        rayjob: Object = self._rayjobs("get", name, name)
        label, value = MARK
        if rayjob["metadata"].get("labels", {}).get(label) != value:
            raise TargetError(f"the RayJob {name} in namespace {self.name} is no sweep: choose another --name")
        return rayjob

    def status(self, name: str) -> SweepStatus:
        """The sweep's state now, from its RayJob and its Pods."""
        return status_of(self.rayjob(name), self.pods(name))

    def pods(self, name: str = "", component: str = "") -> Sequence[Object]:
        """The Pods of a sweep, or of all; those that are its `component` (head, worker or submitter), or all."""
        labels = {INSTANCE: name, COMPONENT: component}
        selector = ",".join([OURS, *(f"{label}={value}" for label, value in labels.items() if value)])
        with self._speaking("list pods", name):
            answer = self._core.list_namespaced_pod(
                self.name, label_selector=selector, _preload_content=False, _request_timeout=TIMEOUT
            )
            pods: Sequence[Object] = json.loads(answer.data)["items"]
        return pods

    def checks(self, pods: Sequence[Object]) -> Mapping[str, str]:
        """What checks that still hold their Pods have said last, by Pod."""
        last = {}
        for pod in pods:
            if check := running_check(pod):
                name = pod["metadata"]["name"]
                with suppress(TargetError):  # it may have ended meanwhile
                    last[name] = last_line(self._output("", name, container=check, tail_lines=LAST_LINES))
        return last

    def logs(self, name: str, *, follow: bool = False) -> Iterator[str]:
        """The driver's output as the submitter prints it, line by line.

        With `follow`, waits for it to begin, and continues across KubeRay's retries until the sweep has finished.
        """
        seen: set[str] = set()
        while True:
            try:
                rayjob, pods = self.rayjob(name), self.pods(name)
            except NoSuchSweep:
                if not seen:
                    raise
                return
            status, started = status_of(rayjob, pods), _started_submitters(pods)
            if started and started[-1] not in seen:
                seen |= set(started)
                # Its Pod may be deleted at this moment, with the sweep.
                with suppress(*([NoSuchSweep] if follow else [])):
                    yield from self._output(name, started[-1], follow=follow)
                if not follow:
                    return
            elif not follow:
                why = status_of(rayjob, pods, self.checks(pods)).detail
                raise TargetError(f"sweep {name} has no output yet: {why}", FAILED)
            elif status.state in ENDED:
                return
            else:
                time.sleep(POLL_SECONDS)

    def last_line(self, name: str) -> str:
        """What the driver printed last; "" where it has printed nothing."""
        started = _started_submitters(self.pods(name, "submitter"))
        return last_line(self._output(name, started[-1], tail_lines=LAST_LINES)) if started else ""

    def delete(self, name: str) -> None:
        """Delete the RayJob: KubeRay stops the driver, which writes what it has, and removes the cluster.

        Returns when RayJob and driver are gone. The sweep's records stay in its store. One that is no sweep's stays.
        """
        only = {"preconditions": {"uid": self.rayjob(name)["metadata"]["uid"]}}
        self._rayjobs("delete", name, name, body=only, propagation_policy="Background")
        self.wait_until_gone(name)

    def wait_until_gone(self, name: str) -> None:
        """Return when neither the RayJob nor a Pod in which its driver could run is there; tells what it waits for."""
        began, told, before = time.monotonic(), 0.0, ""
        while what := self._still_there(name):
            now = time.monotonic()
            if now - began >= GONE_SECONDS:
                raise TargetError(f"sweep {name} is not gone after {GONE_SECONDS} s: still waiting for {what}", FAILED)
            if what != before or now - told >= TELL_SECONDS:
                told, before = now, what
                log.info("%s: waiting for %s (%.0f s)", name, what, now - began)
            time.sleep(POLL_SECONDS)

    def _still_there(self, name: str) -> str:
        """What a sweep that ends still has, in words; "" where nothing is left."""
        try:
            self.rayjob(name)
        except NoSuchSweep:
            heads = self.pods(name, "head")
            names = ", ".join(
                f"{head['metadata']['name']} on node {head.get('spec', {}).get('nodeName', 'none')}" for head in heads
            )
            return f"the head's Pod to end ({names})" if heads else ""
        return "KubeRay's operator to stop the driver"

    def _rayjobs(self, verb: str, sweep: str, *arguments: Any, **options: Any) -> Any:
        """One request about the RayJob of a sweep; "" is all of them."""
        method = getattr(self._objects, f"{verb}_namespaced_custom_object")
        with self._speaking(verb, sweep):
            return method("ray.io", "v1", self.name, "rayjobs", *arguments, _request_timeout=TIMEOUT, **options)

    def _output(
        self, name: str, pod: str, *, container: str = SUBMITTER, follow: bool = False, tail_lines: int | None = None
    ) -> Iterator[str]:
        with self._speaking("read the log of", name):
            answer = self._core.read_namespaced_pod_log(
                pod,
                self.name,
                container=container,
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
            raise refusal(doing, name, self.name, self.host, error) from None
        except urllib3.exceptions.HTTPError as error:
            raise TargetError(f"the cluster at {self.host} does not answer: {flat(str(error))}", FAILED) from None


def _started_submitters(pods: Sequence[Object]) -> Sequence[str]:
    """The names of the Pods that print, or have printed, the driver's output; the newest is the last."""
    started = [pod["metadata"] for pod in pods if _prints(pod)]
    return [pod["name"] for pod in sorted(started, key=lambda pod: str(pod["creationTimestamp"]))]


def _prints(pod: Object) -> bool:
    """Whether a Pod's container has begun to print the driver's output; that of a failed Pod may never have."""
    containers = pod["status"].get("containerStatuses", [])
    waits = any(container["name"] == SUBMITTER and "waiting" in container["state"] for container in containers)
    is_submitter = pod["metadata"]["labels"].get(COMPONENT) == "submitter"
    return is_submitter and pod["status"].get("phase") != "Pending" and not waits
