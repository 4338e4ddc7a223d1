"""What an API server's refusal means: one line that says what, where, and what would be right."""

from __future__ import annotations

import json
from typing import Any

from trainers.errors import FAILED, TargetError


class NoSuchSweep(TargetError):
    """The namespace has no RayJob of this name, or no longer."""


class NoSuchNamespace(TargetError):
    """There is no such namespace."""


def refusal(doing: str, sweep: str, namespace: str, host: str, status: int, reason: str, body: Any) -> TargetError:
    """The error for a refusing answer; `doing` is what was tried, `sweep` with which sweep, "" for all of them."""
    answer = _answer(body)
    message = flat(answer.get("message") or reason or "no reason given")
    kind = (answer.get("details") or {}).get("kind", "")
    here = f"namespace {namespace} at {host}"
    to = f"--to k8s://{namespace}"
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
        return NoSuchNamespace(f"no {here}: see kubectl get namespaces")
    if status == 404 and kind:
        return NoSuchSweep(f"no sweep {sweep} in {here}: see gradsweep list {to}")
    if status == 404:
        return TargetError(f"the cluster at {host} has no rayjobs.ray.io/v1: its owner installs KubeRay's operator")
    if status == 409:
        return TargetError(
            f"sweep {sweep} is already in {here}: gradsweep resume {sweep} {to}, or choose another --name"
        )
    if status in (400, 422) and doing == "create":
        return TargetError(f"the KubeRay at {host} does not take this RayJob: {message}")
    return TargetError(f"cannot {doing} {sweep or 'sweeps'} in {here}: {status} {message}", FAILED)


def flat(text: object) -> str:
    """A text without line breaks."""
    return " ".join(str(text).split())


def _answer(body: Any) -> dict[str, Any]:
    """The API's Status object, or {} where something else answered."""
    try:
        answer = json.loads(body)
    except (TypeError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}
