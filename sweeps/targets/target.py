"""Where sweeps run: this machine, a Ray cluster, a Kubernetes namespace, each behind the same interface.

    >>> target = target_at("http://head:8265", store="store.yaml")
    >>> target.submit("alpha-r", spec=text).look["logs"]
    'gradsweep logs alpha-r -f --to http://head:8265'
    >>> target.status("alpha-r").state
    'running'

To add a target, write a class with the methods of `Target` and add its line to TARGETS: every command, its help and
its error messages know it then. What goes wrong is a GradsweepError of one line.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

from trainers.errors import SearchError, StoreError, TargetError

if TYPE_CHECKING:
    from sweeps.driver.deletion import Deleted

# queued: accepted, and waiting for its turn; stopped: it can be resumed, as a failed one can.
STATES = ("queued", "starting", "running", "stopping", "stopped", "finished", "failed")
UNDER_WAY = STATES[:4]

# Set for a driver in the background: the commands with which its user continues the sweep, sees it in MLflow, and
# writes what MLflow lacks. The driver's own would name paths of the machine that it runs on.
RESUME_COMMAND, UI_COMMAND, SYNC_COMMAND = (f"GRADSWEEP_{word}_COMMAND" for word in ("RESUME", "UI", "SYNC"))
# Such a driver prints this when training begins: whatever is wrong with the request has been refused by then.
READY_LINE = "gradsweep: the sweep is running"


@dataclass(frozen=True)
class Kind:
    """A kind of target: the schemes of its addresses, an example of one, what that is, and its class.

    The class is called with the address, `--store` and `--pool`, each as given; `pool` says whether it takes the last.
    """

    schemes: tuple[str, ...]
    example: str
    what: str
    target: str
    pool: bool = False


TARGETS = (
    Kind(("",), "", "this machine", "sweeps.targets.local:LocalTarget"),
    Kind(("http", "https"), "http://HEAD:8265", "a Ray cluster", "sweeps.targets.ray:RayTarget"),
    Kind(
        ("k8s",), "k8s://NAMESPACE", "a Kubernetes namespace", "sweeps.targets.kubernetes.target:KubernetesTarget", True
    ),
)


@dataclass(frozen=True)
class Submitted:
    """A submitted sweep: `look` maps what to do next (logs, status, stop, ui ...) to a command or an address.

    `manifest` is the text of a dry run, and "" otherwise.
    """

    name: str
    to: str
    look: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""


@dataclass(frozen=True)
class SweepStatus:
    """The status of a submitted sweep: `state` is one of STATES, `detail` the target's own words in one line.

    Times are RFC 3339 in UTC, "" where unknown. `last_line` is the last that its driver has printed. `recorded` is the
    document of `sweeps.driver.status.look_at`, None where the sweep's store can't be read from here. `next` is what its
    user does next: the command that continues it, or puts right what does not go on by itself; "" where nothing is
    to be done.
    """

    name: str
    state: str
    detail: str = ""
    started: str = ""
    ended: str = ""
    last_line: str = ""
    recorded: Mapping[str, Any] | None = None
    next: str = ""


class Target(Protocol):
    """Where sweeps run. Every method raises GradsweepError, and then leaves nothing half-created behind."""

    def submit(self, name: str, spec: str, resume: bool = False, dry_run: bool = False) -> Submitted:
        """Start the sweep and return; a name that exists is refused, unless `resume` is set and it does not run.

        `spec` is YAML with every setting in it and no relative path. `dry_run`: only say what would be submitted.
        """

    def list(self) -> Sequence[SweepStatus]:
        """All sweeps here, oldest first; `last_line` and `recorded` may be left out."""

    def status(self, name: str) -> SweepStatus:
        """The status of one sweep."""

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        """The driver's output line by line; with `follow`, until the sweep has ended."""

    def stop(self, name: str) -> SweepStatus:
        """Stop the driver, which writes what it has, and return when it has ended; an error if it does not run."""

    def resume(self, name: str) -> Submitted:
        """Continue a sweep that has stopped or failed, with the spec that it was submitted with."""

    def delete(self, name: str) -> Deleted:
        """Delete a sweep that does not run, with its records; may be repeated where something was left."""


def target_at(to: str | None, store: str | None = None, pool: Path | None = None) -> Target:
    """The target that `--to` names, this machine for None; `store` and `pool` are the options of these names.

    It may or may not connect yet. Raises TargetError.
    """
    scheme, separator, rest = (to or "").partition("://")
    kind = next((kind for kind in TARGETS if scheme in kind.schemes), None)
    if kind is None or (to is not None and not (separator and rest)):
        raise TargetError(f"--to {to}: must be {addresses()}")
    if pool is not None and not kind.pool:
        takers = " or ".join(f"{kind.what} (--to {kind.example})" for kind in TARGETS if kind.pool)
        raise TargetError(f"--pool: only for {takers}")
    target: Target = resolve_name(kind.target)(to or "", store, pool)
    return target


def addresses() -> str:
    """What `--to` may be, for its help and its errors."""
    examples = [f"{kind.example} ({kind.what})" for kind in TARGETS if kind.example]
    return f"{', '.join(examples[:-1])} or {examples[-1]}; without --to, this machine"


def commands(name: str, to: str, store: str | None = None) -> dict[str, str]:
    """The commands for a submitted sweep, ready to copy: for `Submitted.look`."""
    options = [*(["--to", to] if to else []), *(["--store", store] if store else [])]
    words = {"logs": ["logs", name, "-f"], **{word: [word, name] for word in ("status", "stop", "resume")}}
    return {what: shlex.join(["gradsweep", *command, *options]) for what, command in words.items()}


def recorded(name: str, store: str | None) -> Mapping[str, Any] | None:
    """What the store of `--store` says of a sweep; None where it can't be read from here, or has nothing yet."""
    from sweeps.driver.status import look_at
    from sweeps.store_file import open_store

    try:
        return look_at(name, open_store(store)) if store else None
    except (StoreError, SearchError):
        return None


def with_records(status: SweepStatus, records: Mapping[str, Any] | None) -> SweepStatus:
    """With what its store says: a driver whose time was up has ended well, but its sweep is not finished."""
    stopped = status.state == "finished" and records is not None and records["state"] == "stopped"
    return replace(status, state="stopped" if stopped else status.state, recorded=records)


def with_next(status: SweepStatus, to: str, store: str | None = None) -> SweepStatus:
    """With the command that continues a sweep which has stopped or failed."""
    ended = status.state in ("stopped", "failed")
    return replace(status, next=commands(status.name, to, store)["resume"]) if ended else status


def wait_until(done: Callable[[], bool], seconds: float, pause: float) -> bool:
    """Whether it is done within so many seconds; asked again after each pause."""
    end = time.monotonic() + seconds
    while not (answer := done()) and time.monotonic() < end:
        time.sleep(pause)
    return answer


def refuse_dry_run(dry_run: bool) -> None:
    """For a target that has no manifest to show."""
    if dry_run:
        raise TargetError("--dry-run: only for Kubernetes (--to k8s://NAMESPACE); see gradsweep plan")
