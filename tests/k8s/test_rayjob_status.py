"""What `status` says of a RayJob and its Pods, in words that need no knowledge of KubeRay."""

from __future__ import annotations

import re

import pytest

from sweeps.targets.kubernetes.pods_status import pods_in_words
from sweeps.targets.kubernetes.rayjob_status import DEPLOYMENT, status_of
from sweeps.targets.target import STATES
from tests.k8s.stand_in import Object

RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}


def rayjob(**status: object) -> Object:
    return {"metadata": {"name": "alpha-r"}, "status": status}


def pod(component: str, phase: str = "Running", **status: object) -> Object:
    labels = {"app.kubernetes.io/component": component}
    return {"metadata": {"name": component, "labels": labels}, "status": {"phase": phase, **status}}


def waiting(reason: str, message: str = "", **last: object) -> list[Object]:
    return [{"name": "x", "state": {"waiting": {"reason": reason, "message": message}}, "lastState": last}]


def ended(name: str, code: int, message: str = "", reason: str = "Error") -> Object:
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}


@pytest.mark.parametrize(
    ("reason", "message", "words"),
    [
        (
            "JobStatusCheckTimeoutExceeded",
            "Job status checks have been failing since 2026-08-19 10:00:00; exceeded timeout of 300s",
            r"the head was away for longer than KubeRay waits \(300 s, .*\), which is not retried",
        ),
        (
            "JobStatusCheckTimeoutExceeded",
            "Job status checks have been failing since 2026-08-19 10:00:00; exceeded timeout of 1800s",
            r"waits \(1800 s, RAYJOB_STATUS_CHECK_TIMEOUT_SECONDS of its operator\)",
        ),
        (
            "DeadlineExceeded",
            "The RayJob has passed the activeDeadlineSeconds. StartTime: x. ActiveDeadlineSeconds: 60",
            "longer than deadline_seconds of its pool, which is not retried",
        ),
        (
            "PreRunningDeadlineExceeded",
            "The RayJob has passed",
            "its Pods were not up within preRunningDeadlineSeconds",
        ),
        ("SubmissionFailed", "Job submission has failed. Reason: BackoffLimitExceeded.", "could not start the driver"),
        ("AppFailed", "Job entrypoint command failed with exit code 1", "Job entrypoint command failed"),
        ("ValidationFailed", "the RayJob name is too long", "the RayJob name is too long"),
    ],
)
def test_why_a_rayjob_has_failed_in_plain_words(reason: str, message: str, words: str) -> None:
    status = status_of(rayjob(jobDeploymentStatus="Failed", jobStatus="RUNNING", reason=reason, message=message), [])
    assert status.state == "failed"
    assert re.search(words, status.detail), status.detail


def test_a_message_has_no_log_and_nothing_that_a_terminal_obeys() -> None:
    text = (
        "Job \x1b[31mentrypoint\x1b[39m command failed\nwith exit code 1\x07, last available logs (truncated):\nepoch 1"
    )
    status = status_of(rayjob(jobDeploymentStatus="Failed", reason="AppFailed", message=text), [])
    assert status.detail == r"RayJob Failed: Job entrypoint command failed with exit code 1\x07"


def test_a_driver_without_a_head_does_not_run() -> None:
    """KubeRay goes on saying RUNNING of it."""
    assert status_of(rayjob(**RUNNING), [pod("head")]).state == "running"
    terminating = pod("head")
    terminating["metadata"]["deletionTimestamp"] = "2026-08-19T11:00:00Z"
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    for heads in ([], [pod("head", "Failed")], [terminating], [pod("head", "Pending", conditions=[unschedulable])]):
        status = status_of(rayjob(**RUNNING), [*heads, pod("worker")])
        assert status.state == "starting"
        assert "there is no head now, and a new one continues" in status.detail
    assert "1 of 2 Pods run (head: 0/3 nodes are available)" in status.detail


def test_a_head_that_kuberay_does_not_reach() -> None:
    since = "2026-08-19T11:00:00Z"
    status = status_of(rayjob(**RUNNING, jobStatusCheckFailureStartTime=since), [pod("head")])
    assert status.state == "running"
    assert f"KubeRay has heard nothing of the driver since {since}, and gives up after 300 s" in status.detail
    over = rayjob(jobDeploymentStatus="Failed", jobStatus="RUNNING", jobStatusCheckFailureStartTime=since)
    assert since not in status_of(over, []).detail


def test_a_dead_autoscaler_is_named_with_its_exit_code() -> None:
    """It is never restarted: the head's restartPolicy is Never."""
    alive = {"name": "autoscaler", "state": {"running": {"startedAt": "2026-08-19T11:00:00Z"}}}
    dead = ended("autoscaler", 137, reason="OOMKilled")
    words = (
        "the autoscaler in the head's Pod has ended (exit code 137, OOMKilled), and no worker comes or goes any more"
    )
    assert words in status_of(rayjob(**RUNNING), [pod("head", containerStatuses=[dead])]).detail
    assert "autoscaler" not in status_of(rayjob(**RUNNING), [pod("head", containerStatuses=[alive])]).detail
    over = rayjob(jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    assert "autoscaler" not in status_of(over, [pod("head", containerStatuses=[dead])]).detail


ROOT_OWNED = "gradsweep: /mnt/gradsweep belongs to user 0, and user 10001 can't write it\n"


def test_a_check_that_fails_is_told_in_its_own_words() -> None:
    """The head's init container says why; with autoscaler v2 its Pod has failed, and KubeRay makes another one."""
    line = "head: preflight: /mnt/gradsweep belongs to user 0, and user 10001 can't write it"
    failed = pod("head", "Failed", initContainerStatuses=[ended("preflight", 1, ROOT_OWNED)])
    assert pods_in_words([failed]) == f"0 of 1 Pods run ({line})"
    terminated = ended("preflight", 1, ROOT_OWNED)["state"]["terminated"]
    again = waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container", terminated=terminated)
    again[0]["name"] = "preflight"
    assert pods_in_words([pod("head", "Pending", initContainerStatuses=again)]) == f"0 of 1 Pods run ({line})"
    silent = pod("head", "Failed", initContainerStatuses=[ended("preflight", 139)])
    assert pods_in_words([silent]) == "0 of 1 Pods run (head: preflight: exit code 139)"
    through = pod("head", initContainerStatuses=[ended("preflight", 0, "gradsweep: all is well")])
    assert pods_in_words([through, pod("submitter", "Failed")]) == "1 of 1 Pods run"


def test_why_pods_do_not_run() -> None:
    assert pods_in_words([]) == ""
    assert pods_in_words([pod("head", "Pending", containerStatuses=waiting("ContainerCreating"))]) == "0 of 1 Pods run"
    image = waiting("ImagePullBackOff", "Back-off pulling gradsweep:0.2.0")
    secret = waiting("CreateContainerConfigError", 'secret "gradsweep-database" not found')
    words = pods_in_words(
        [
            pod("head", "Pending", containerStatuses=secret),
            pod("worker", "Pending", initContainerStatuses=image),
            pod("worker", "Pending", initContainerStatuses=image),
            pod("submitter", "Succeeded"),
        ]
    )
    assert words == (
        '0 of 3 Pods run (head: CreateContainerConfigError secret "gradsweep-database" not found; '
        "2 x worker: ImagePullBackOff Back-off pulling gradsweep:0.2.0)"
    )


def test_every_state_is_one_of_the_contracts() -> None:
    assert set(DEPLOYMENT.values()) <= set(STATES)
