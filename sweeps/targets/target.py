"""Where sweeps run: this machine, a Ray cluster, a Kubernetes namespace; all of them behind one seam.

    >>> place = place_at("http://head:8265", store="store.yaml")
    >>> place.submit(Submission("alpha-r", spec=text)).look["logs"]
    'gradsweep logs alpha-r -f --to http://head:8265'
    >>> place.status("alpha-r").state
    'running'

What a place is asked for and what it answers are the plain data below. Whatever goes wrong is a TargetError of one line
with its exit status, or one of the rooms' own words for a wrong request.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from trainers.errors import WRONG_REQUEST, TargetError

# queued: accepted, and waiting for its turn; stopped: it can be resumed, as a failed one can.
STATES = ("queued", "starting", "running", "stopping", "stopped", "finished", "failed")


@dataclass(frozen=True)
class Submission:
    """A sweep to run: its name, and its whole spec as YAML, with every setting in it and no relative path.

    `resume`: go on with it where it is there already, which is an error without. `dry_run`: only say what would be
    submitted; a place that has nothing to show refuses.
    """

    name: str
    spec: str
    resume: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Submitted:
    """What became of it: `look` is what to do next (logs, status, stop, ui ...) -> a command or an address.

    `manifest` is the text of a dry run, and "" otherwise.
    """

    name: str
    to: str
    look: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""


@dataclass(frozen=True)
class Standing:
    """How a submitted sweep stands: `state` is one of STATES, `detail` the place's own words in one line.

    Times are RFC 3339 in UTC, "" where unknown. `said` is the driver's last line of output. `books` is the document of
    `sweeps.driver.status.look_at`, None where the sweep's store can't be read from here.
    """

    name: str
    state: str
    detail: str = ""
    started: str = ""
    ended: str = ""
    said: str = ""
    books: Mapping[str, Any] | None = None


class Place(Protocol):
    """A place where sweeps run. Every method raises TargetError, and then leaves nothing half-created behind."""

    def submit(self, sweep: Submission) -> Submitted:
        """Hand the sweep over and return; a name that is taken is refused, unless `resume` and it does not run."""

    def list(self) -> Sequence[Standing]:
        """All sweeps here, oldest first; `said` and `books` may be left out."""

    def status(self, name: str) -> Standing:
        """One sweep."""

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        """The driver's output line by line; with `follow`, until the sweep is through."""

    def stop(self, name: str) -> Standing:
        """Let the driver close its books, and return when it has ended; an error where it does not run."""

    def resume(self, name: str) -> Submitted:
        """Go on with a sweep that has stopped or failed, with the spec that it was submitted with."""


# Scheme of --to -> module, which has `place(to: str, store: str | None, pool: Path | None) -> Place`.
MODULES = {
    "": "sweeps.targets.local",
    "http": "sweeps.targets.ray",
    "https": "sweeps.targets.ray",
    "k8s": "sweeps.targets.kubernetes.target",
}


def place_at(to: str | None, *, store: str | None = None, pool: Path | None = None) -> Place:
    """The place that `--to` names; None is this machine. `store` is `--store` as given, `pool` `--pool`.

    It may or may not speak to anybody yet. Raises TargetError.
    """
    scheme, separator, rest = (to or "").partition("://")
    if to is not None and (scheme not in MODULES or not separator or not rest):
        raise TargetError(
            f"--to {to}: must be http://HEAD:8265 (a Ray cluster) or k8s://NAMESPACE; leave it out for this machine",
            WRONG_REQUEST,
        )
    if pool is not None and scheme != "k8s":
        raise TargetError("--pool: only a sweep on Kubernetes (--to k8s://NAMESPACE) has one", WRONG_REQUEST)
    make: Callable[[str, str | None, Path | None], Place] = import_module(MODULES[scheme]).place
    return make(to or "", store, pool)


def commands(name: str, to: str, store: str | None = None) -> dict[str, str]:
    """What can be done with a sweep that has been submitted, as commands to copy: for `Submitted.look`."""
    where = [*(["--to", to] if to else []), *(["--store", store] if store else [])]
    words = {"logs": ["logs", name, "-f"], **{word: [word, name] for word in ("status", "stop", "resume")}}
    return {what: shlex.join(["gradsweep", *command, *where]) for what, command in words.items()}
