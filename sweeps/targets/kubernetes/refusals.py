"""What an API server's refusal means, in one line: what, where, and what would be right."""

from __future__ import annotations

import json
import re

from kubernetes.client import ApiException

from trainers.errors import FAILED, TargetError, flat

# As the API server words it (plugin/policy/validating/dispatcher.go); the code is the policy's, 422 by itself.
POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']*)'(?: with binding '[^']*')? denied request: (.*)")
MOST_CHARACTERS = 2000


class NoSuchSweep(TargetError):
    """The namespace has no RayJob of this name, or no longer."""


class NameTaken(TargetError):
    """The namespace has a RayJob of this name already."""


def refusal(doing: str, sweep: str, namespace: str, host: str, error: ApiException) -> TargetError:
    """The error for an answer; `sweep` is "" where it was about all of them."""
    status, body = error.status, error.body or ""
    try:
        answer = json.loads(body)
        message, kind = answer.get("message"), (answer.get("details") or {}).get("kind", "")
    except (ValueError, AttributeError):  # something else than the API has answered
        message, kind = None, ""
    message = flat(str(message or error.reason or "no reason given"), MOST_CHARACTERS)
    here, to = f"namespace {namespace} at {host}", f"--to k8s://{namespace}"
    if policy := POLICY.search(message):
        rule = f"a rule of the policy {policy[1]!r}, which the cluster's owner has set"
        return TargetError(f"{here} refuses sweep {sweep}: {policy[2]} ({rule})")
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
        return NameTaken(f"sweep {sweep} is already in {here}: gradsweep status {sweep} {to}, or choose another --name")
    if status in (400, 422) and doing == "create":
        return TargetError(f"the KubeRay at {host} does not take this RayJob: {message}")
    return TargetError(f"cannot {doing} {sweep or 'sweeps'} in {here}: {status} {message}", FAILED)
