"""The status of a sweep on Kubernetes, read from its RayJob and its Pods: plain data, no cluster.

>>> status_of({"metadata": {"name": "a"}, "status": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}})
RayJobStatus(name='a', state='finished', ...)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.targets.kubernetes.errors import flat

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
ENDED = frozenset({"finished", "failed", "stopped"})


@dataclass(frozen=True)
class RayJobStatus:
    """A RayJob's state in our words, with KubeRay's beside it; times are RFC 3339 texts, "" where unknown."""

    name: str
    state: str  # one of sweeps.targets.target.STATES
    deployment: str  # KubeRay's jobDeploymentStatus
    job: str  # Ray's job status
    message: str
    failures: int  # clusters that failed so far; each retry is a fresh one
    created: str
    started: str
    ended: str

    @property
    def finished(self) -> bool:
        """Whether it has stopped for good."""
        return self.state in ENDED

    @property
    def words(self) -> str:
        """KubeRay's and Ray's own, in one line."""
        parts = [f"RayJob {self.deployment}" if self.deployment else "KubeRay's operator has not looked at it yet"]
        parts += [f"Ray job {self.job}"] if self.job else []
        parts += [f"{self.failures} clusters failed"] if self.failures else []
        return ", ".join(parts) + (f": {self.message}" if self.message else "")


def status_of(rayjob: Mapping[str, Any]) -> RayJobStatus:
    """What a RayJob says of itself."""
    metadata, status = rayjob["metadata"], rayjob.get("status") or {}
    deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
    state = DEPLOYMENT.get(deployment, "running")
    if state == "finished" and job in ("STOPPED", "FAILED"):
        state = job.lower()
    if state == "running" and job in ("", "PENDING"):
        state = "starting"
    if metadata.get("deletionTimestamp"):
        state = "stopping"
    return RayJobStatus(
        name=metadata["name"],
        state=state,
        deployment=deployment,
        job=job,
        message=flat(status.get("message") or status.get("reason") or ""),
        failures=int(status.get("failed") or 0),
        created=metadata.get("creationTimestamp", ""),
        started=status.get("startTime") or "",
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
