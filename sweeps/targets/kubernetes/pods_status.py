"""What a sweep's Pods say of it: plain data in, words out.

>>> pods_in_words([{"metadata": {}, "status": {"phase": "Running"}}])
'1 of 1 Pods run'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sweeps.targets.kubernetes.rayjob import NOT_FAILED, PREFLIGHT
from sweeps.targets.output import last_words
from trainers.errors import flat

Object = Mapping[str, Any]
COMPONENT, INSTANCE = "app.kubernetes.io/component", "app.kubernetes.io/instance"  # labels of our Pods
AUTOSCALER = "autoscaler"  # KubeRay's name of that container


def pods_in_words(pods: Iterable[Object], checks: Mapping[str, str] = MappingProxyType({})) -> str:
    """How many of a sweep's Pods run, and what keeps the others from it; "" where there are none.

    `checks` is what the checks that hold a Pod have said last, by Pod.
    """
    alive = [pod for pod in pods if _counts(pod)]
    if not alive:
        return ""
    running = sum(pod["status"].get("phase") == "Running" for pod in alive)
    reasons = Counter(reason for pod in alive if (reason := _waits_for(pod, checks)))
    waiting = "; ".join(f"{count} x {reason}" if count > 1 else reason for reason, count in reasons.items())
    return f"{running} of {len(alive)} Pods run" + (f" ({waiting})" if waiting else "")


def of_head(pods: Iterable[Object]) -> Sequence[Object]:
    """The heads among a sweep's Pods; there is more than one while KubeRay replaces it."""
    return [pod for pod in pods if pod["metadata"].get("labels", {}).get(COMPONENT) == "head"]


def has_head(pods: Iterable[Object]) -> bool:
    """Whether a driver can run: there is a head that has started, and has not been told to end."""
    return any(
        pod["status"].get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
        for pod in of_head(pods)
    )


def running_check(pod: Object) -> str:
    """The name of the check that holds a Pod, "" where none does; what it says is in its log."""
    for container in pod["status"].get("initContainerStatuses", []):
        if container["name"] in (PREFLIGHT, NOT_FAILED) and container.get("state", {}).get("running"):
            return str(container["name"])
    return ""


def dead_autoscaler(pods: Iterable[Object]) -> str:
    """How the autoscaler of a head that runs has ended; "" where it runs, or there is none.

    With autoscaler v2 the head's restartPolicy is Never (KubeRay's common/pod.go): nothing starts it again.
    """
    for pod in of_head(pods):
        for container in pod["status"].get("containerStatuses", []):
            ended = container.get("state", {}).get("terminated")
            if container["name"] == AUTOSCALER and ended and has_head([pod]):
                return f"exit code {ended['exitCode']}, {ended.get('reason') or 'no reason given'}"
    return ""


def _counts(pod: Object) -> bool:
    """Whether a Pod is one of those that the sweep needs: it has not ended, or was not let start.

    KubeRay replaces a head whose init container has failed, again and again: there is no other trace of it.
    """
    phase = pod["status"].get("phase")
    return phase != "Succeeded" and (phase != "Failed" or any(_failed_checks(pod)))


def _waits_for(pod: Object, checks: Mapping[str, str]) -> str:
    """Why a Pod does not run: no node for it, no image or Secret, a check that failed; "" where it runs or starts."""
    status, component = pod["status"], pod["metadata"].get("labels", {}).get(COMPONENT, "Pod")
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{component}: {flat(condition.get('message') or condition.get('reason', ''))}"
    if line := checks.get(pod["metadata"].get("name", ""), ""):
        return f"{component}: {running_check(pod)}: {flat(line)}"
    for line in _failed_checks(pod):
        return f"{component}: {line}"
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("message") or waiting.get("reason", "").endswith(("BackOff", "Error")):
            return f"{component}: {flat(waiting.get('reason', '') + ' ' + waiting.get('message', ''))}"
    return ""


def _failed_checks(pod: Object) -> Iterator[str]:
    """What init containers that have failed say: their last line, which is their termination message.

    Where such a container is started again and again, it is that of the last time.
    """
    for container in pod["status"].get("initContainerStatuses", []):
        states = container.get("state", {}), container.get("lastState", {})
        ended = next((state["terminated"] for state in states if state.get("terminated")), None)
        if ended and ended["exitCode"]:
            message = last_words(ended.get("message", "")) or f"exit code {ended['exitCode']}"
            yield f"{container['name']}: {flat(message)}"
