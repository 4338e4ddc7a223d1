"""The status of a sweep on Kubernetes, read from its RayJob and its Pods: plain data, no cluster.

>>> status_of({"metadata": {"name": "a"}, "status": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}})
SweepStatus(name='a', state='finished', detail='RayJob Complete, Ray job SUCCEEDED', ...)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sweeps.targets.target import SweepStatus

# KubeRay's JobDeploymentStatus in our words; Running and Complete are refined by Ray's own.
DEPLOYMENT = {
    "": "queued",
    "Initializing": "starting",
    "Waiting": "starting",
    "Running": "running",
    "Retrying": "starting",
    "Suspending": "queued",
    "Suspended": "queued",
    "Complete": "finished",
    "Failed": "failed",
    "ValidationFailed": "failed",
}
ENDED = frozenset({"finished", "failed", "stopped"})  # it has stopped for good


def flat(text: object) -> str:
    """A text without line breaks."""
    return " ".join(str(text).split())


def status_of(rayjob: Mapping[str, Any]) -> SweepStatus:
    """What a RayJob says of itself; `detail` is KubeRay's and Ray's own words for it."""
    metadata, status = rayjob["metadata"], rayjob.get("status") or {}
    deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    state = DEPLOYMENT.get(deployment, "running")
    if state == "finished" and job in ("STOPPED", "FAILED"):
        state = job.lower()
    if state == "running" and job in ("", "PENDING"):
        state = "starting"
    if metadata.get("deletionTimestamp"):
        state = "stopping"
    parts = [f"RayJob {deployment}" if deployment else "KubeRay's operator has not looked at it yet"]
    parts += [f"Ray job {job}"] if job else []
    # Each retry is a fresh cluster.
    parts += [f"{status['failed']} clusters failed"] if status.get("failed") else []
    message = flat(status.get("message") or status.get("reason") or "")
    return SweepStatus(
        metadata["name"],
        state,
        ", ".join(parts) + (f": {message}" if message else ""),
        started=status.get("startTime") or metadata.get("creationTimestamp", ""),
        ended=status.get("endTime") or "",
    )


def pods_in_words(pods: Iterable[Mapping[str, Any]]) -> str:
    """How many of a sweep's Pods run, and what keeps the others from it; "" where there are none."""
    alive = [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    if not alive:
        return ""
    running = sum(pod["status"].get("phase") == "Running" for pod in alive)
    reasons = Counter(reason for pod in alive if (reason := _waits_for(pod)))
    waiting = "; ".join(f"{count} x {reason}" if count > 1 else reason for reason, count in reasons.items())
    return f"{running} of {len(alive)} Pods run" + (f" ({waiting})" if waiting else "")


def _waits_for(pod: Mapping[str, Any]) -> str:
    """Why a Pod does not run: no node for it, an image or a Secret that can't be had; "" where it runs or starts."""
    status = pod["status"]
    component = pod["metadata"].get("labels", {}).get("app.kubernetes.io/component", "Pod")
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return flat(f"{component}: {condition.get('message') or condition.get('reason', '')}")
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("message") or waiting.get("reason", "").endswith(("BackOff", "Error")):
            return flat(f"{component}: {waiting.get('reason', '')} {waiting.get('message', '')}")
    return ""
