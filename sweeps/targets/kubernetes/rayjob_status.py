"""The status of a sweep on Kubernetes, read from its RayJob and its Pods: plain data, no cluster.

>>> status_of({"metadata": {"name": "a"}, "status": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}}, [])
SweepStatus(name='a', state='finished', detail='RayJob Complete, Ray job SUCCEEDED', ...)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.targets.kubernetes.pods_status import dead_autoscaler, has_head, pods_in_words
from sweeps.targets.output import message
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
WAITS_SECONDS = "300"  # so long KubeRay waits for a head that is away, unless its operator is told otherwise
# What KubeRay's reasons for a failure mean (JobFailedReason in its rayjob_types.go). The first two are not retried,
# whatever `retries` says; of those that are not here its message says enough.
REASONS = {
    "JobStatusCheckTimeoutExceeded": "the head was away for longer than KubeRay waits ({seconds} s, "
    "RAYJOB_STATUS_CHECK_TIMEOUT_SECONDS of its operator), which is not retried",
    "DeadlineExceeded": "it has taken longer than deadline_seconds of its pool, which is not retried",
    "PreRunningDeadlineExceeded": "its Pods were not up within preRunningDeadlineSeconds",
    "SubmissionFailed": "the submitter could not start the driver, or lost it",
    "JobDeploymentStatusTransitionGracePeriodExceeded": "the driver has ended, and KubeRay could not see how",
}


def status_of(
    rayjob: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], checks: Mapping[str, str] | None = None
) -> SweepStatus:
    """What a RayJob and its Pods say; `detail` is KubeRay's and Ray's own words, and what they mean.

    `checks` is what the checks that hold a Pod have said last, by Pod.
    """
    metadata, status = rayjob["metadata"], rayjob.get("status") or {}
    state, why = _state(rayjob, pods), _why(status)
    facts = [_kuberays_words(status) + (f": {why}" if why else "")]
    if state not in ENDED:
        facts += _troubles(status, pods)
    facts += filter(None, [pods_in_words(pods, checks or {})])
    return SweepStatus(
        metadata["name"],
        state,
        "; ".join(facts),
        started=status.get("startTime") or metadata.get("creationTimestamp", ""),
        ended=status.get("endTime") or "",
    )


def _state(rayjob: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    status = rayjob.get("status") or {}
    state, job = DEPLOYMENT.get(status.get("jobDeploymentStatus", ""), "running"), status.get("jobStatus", "")
    if rayjob["metadata"].get("deletionTimestamp"):
        return "stopping"
    if state == "finished" and job in ("STOPPED", "FAILED"):
        return str(job.lower())
    if state == "running" and (job in ("", "PENDING") or _has_lost_its_head(status, pods)):
        return "starting"
    return state


def _has_lost_its_head(status: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> bool:
    """KubeRay goes on saying RUNNING of a driver whose head is gone, until there is another."""
    return status.get("jobStatus") == "RUNNING" and not has_head(pods)


def _kuberays_words(status: Mapping[str, Any]) -> str:
    deployment, job, failed = (status.get(key) for key in ("jobDeploymentStatus", "jobStatus", "failed"))
    parts = [f"RayJob {deployment}" if deployment else "KubeRay's operator has not looked at it yet"]
    parts += [f"Ray job {job}"] if job else []
    # Each retry is a fresh cluster.
    parts += [f"{failed} cluster{'s' * (failed > 1)} failed"] if failed else []
    return ", ".join(parts)


def _why(status: Mapping[str, Any]) -> str:
    """What a RayJob gives as its reason, in plain words where KubeRay's are not."""
    reason, text = status.get("reason") or "", message(status.get("message"))
    if reason not in REASONS:
        return text or reason
    seconds = re.search(r"timeout of (\d+)s", text)
    return f"{REASONS[reason].format(seconds=seconds[1] if seconds else WAITS_SECONDS)} ({reason})"


def _troubles(status: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with a sweep that has not ended, though KubeRay's words do not show it."""
    lost = ["there is no head now, and a new one continues"] if _has_lost_its_head(status, pods) else []
    if since := status.get("jobStatusCheckFailureStartTime"):
        lost.append(
            f"KubeRay has heard nothing of the driver since {since}, and gives up after {WAITS_SECONDS} s "
            "unless its operator was told otherwise"
        )
    if ended := dead_autoscaler(pods):
        lost.append(f"the autoscaler in the head's Pod has ended ({ended}), and no worker comes or goes any more")
    return lost
