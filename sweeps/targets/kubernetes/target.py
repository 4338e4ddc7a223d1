"""A Kubernetes namespace as a target, `--to k8s://NAMESPACE`: one RayJob per sweep, on the pool its owner describes.

A RayJob holds everything of its sweep: to submit is one request, and to resume is to make the RayJob anew from the
documents that it carries. Its entrypoint continues what is in the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweeps.driver.deletion import Deleted, delete
from sweeps.spec.reading import parse
from sweeps.store_file import open_store
from sweeps.targets.kubernetes.client import Namespace
from sweeps.targets.kubernetes.environment import SHARED
from sweeps.targets.kubernetes.pods_status import dead_autoscaler
from sweeps.targets.kubernetes.pool import Pool, read_pool
from sweeps.targets.kubernetes.rayjob import as_yaml, documents_of, render, version_of
from sweeps.targets.kubernetes.rayjob_status import ENDED, status_of
from sweeps.targets.kubernetes.refusals import NoSuchSweep
from sweeps.targets.target import (
    RESUME_COMMAND,
    UI_COMMAND,
    Submitted,
    SweepStatus,
    commands,
    recorded,
    with_next,
    with_records,
)
from trainers.errors import SearchError, TargetError

POOL_VARIABLE = "GRADSWEEP_POOL"
SPEC_BYTES = 200_000  # of the 256 KiB that an object's annotations may have together


class KubernetesTarget:
    """See the module, and sweeps.targets.target.Target; uses the current context, and doesn't connect before a method.

    `store` is where the records can be read from here, `pool` the file of `--pool`.
    """

    def __init__(self, address: str, store: str | None, pool: Path | None) -> None:
        self._to, self._name = address, address.partition("://")[2]
        if "/" in self._name:
            raise TargetError(f"--to {address}: must be k8s://NAMESPACE, like k8s://gradsweep")
        self._store = store
        self._pool = pool
        self._again = f"gradsweep submit SPEC --resume --to {address}"

    def submit(self, name: str, spec: str, resume: bool = False, dry_run: bool = False) -> Submitted:
        """Create its RayJob; with `dry_run` only return it as YAML, without connecting."""
        if self._store is not None:
            raise TargetError("--store: on Kubernetes the pool says where records go, as `places`")
        rayjob = _rendered(name, spec, self._read_pool(), self._to)
        if dry_run:
            return Submitted(name, self._to, manifest=as_yaml(rayjob))
        return self._create(name, rayjob, resume)

    def list(self) -> list[SweepStatus]:
        """What the RayJobs say."""
        return Namespace(self._name).list()

    def status(self, name: str) -> SweepStatus:
        """What RayJob, Pods and driver say, and the store, where it can be read from here."""
        namespace, stored = Namespace(self._name), recorded(name, self._store)
        try:
            rayjob, pods = namespace.rayjob(name), namespace.pods(name)
        except NoSuchSweep:
            if stored is None:
                raise
            again = "" if stored["state"] == "finished" else self._again
            return SweepStatus(name, stored["state"], f"no RayJob in {self._to} any more", recorded=stored, next=again)
        status = with_records(status_of(rayjob, pods, namespace.checks(pods)), stored)
        with suppress(TargetError):  # its Pod may end at this moment
            status = replace(status, last_line=namespace.last_line(name))
        if status.state not in ENDED and dead_autoscaler(pods):
            return replace(status, next=f"gradsweep stop {name} --to {self._to}, then {self._again}")
        return with_next(status, self._to)

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        """The driver's output, as the submitter's Pod prints it."""
        return Namespace(self._name).logs(name, follow=follow)

    def stop(self, name: str) -> SweepStatus:
        """Delete its RayJob; for a sweep that has ended this deletes its output."""
        namespace = Namespace(self._name)
        before = namespace.status(name)
        namespace.delete(name)
        state = before.state if before.state in ENDED else "stopped"
        again = "" if state == "finished" else self._again
        return SweepStatus(name, state, f"RayJob deleted from {self._to}; its records stay in its store", next=again)

    def resume(self, name: str) -> Submitted:
        """Make its RayJob anew from the spec and the pool that it carries."""
        try:
            before = Namespace(self._name).rayjob(name)
        except NoSuchSweep as error:
            raise NoSuchSweep(f"{error}; to continue from its store: {self._again}") from None
        if (documents := documents_of(before)) is None:
            raise TargetError(
                f"the RayJob {name} carries no spec and pool of gradsweep's; to continue from its store: {self._again}"
            )
        theirs, ours = version_of(before) or "an older version", version("gradsweep")
        if theirs != ours:  # the pool that it carries names an image of theirs
            raise TargetError(
                f"sweep {name!r} was submitted with gradsweep {theirs}, and this is {ours}: resume it with that, "
                f"or name an image with {ours} in pool.yaml: {self._again} --pool FILE"
            )
        spec, pool = documents
        rayjob = _rendered(name, spec, _parsed(pool, f"the pool of RayJob {name}"), self._to)
        return self._create(name, rayjob, resume=True)

    def delete(self, name: str) -> Deleted:
        """Delete its RayJob, if it is still there, and what is in the store that `--store` leads to from here."""
        if self._store is None:
            raise TargetError(
                f"--store: says where the records of {name} can be reached from here, to delete them too; "
                f"gradsweep stop {name} --to {self._to} deletes the RayJob alone"
            )
        store, namespace, deleted = open_store(self._store), Namespace(self._name), []
        with suppress(NoSuchSweep):
            if (state := namespace.status(name).state) not in ENDED:
                raise TargetError(f"sweep {name!r} is {state} in {self._to}: gradsweep stop {name} --to {self._to}")
            namespace.delete(name)
            deleted = [f"the RayJob {name}"]
        try:
            records = delete(name, store)
        except SearchError:
            if not deleted:
                raise
            return Deleted(name, True, tuple(deleted))
        return replace(records, deleted=(*deleted, *records.deleted))

    def _read_pool(self) -> Pool:
        chosen = self._pool or os.environ.get(POOL_VARIABLE)
        if not chosen:
            raise TargetError(
                f"--pool FILE (or ${POOL_VARIABLE}) is needed: it describes the cluster, see k8s/overlays/*/pool.yaml"
            )
        try:
            return _parsed(Path(chosen).read_text(encoding="utf-8"), f"--pool {chosen}")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not a text"
            raise TargetError(f"--pool {chosen}: can't be read: {reason}") from None

    def _create(self, name: str, rayjob: dict[str, Any], resume: bool) -> Submitted:
        """Create a RayJob; with `resume` in the place of one that has ended, if there is one."""
        namespace = Namespace(self._name)
        gone = self._make_room(namespace, name, resume)
        try:
            namespace.create(rayjob)
        except TargetError as error:
            raise TargetError(f"{error}{gone}", error.exit_code) from None
        return Submitted(name, self._to, {**commands(name, self._to), "ui": _ui(self._to)})

    def _make_room(self, namespace: Namespace, name: str, resume: bool) -> str:
        """Return once no driver of an earlier RayJob can run, with what to say of that if the new one is refused.

        Where one is that must not be replaced, creating another is refused.
        """
        try:
            state = namespace.status(name).state
        except NoSuchSweep:
            # Its head may be there for another minute.
            namespace.wait_until_gone(name)
            return ""
        if not resume:
            return ""
        if state not in (*ENDED, "stopping"):
            raise TargetError(f"sweep {name!r} is {state} in {self._to}: gradsweep logs {name} -f --to {self._to}")
        namespace.delete(name)
        return f"; the old RayJob is gone; to continue from its store: {self._again}"


def _rendered(name: str, spec: str, pool: Pool, to: str) -> dict[str, Any]:
    """The RayJob, with how many packs the pool has room for. Raises TargetError, SpecError."""
    if (size := len(spec.encode())) > SPEC_BYTES:
        raise TargetError(f"the spec must have at most {SPEC_BYTES} bytes, but got {size}")
    parsed = parse(spec, name)
    for fields in (parsed.base, *parsed.arms.values()):
        kind, _, folder = str(fields.get("data", "")).partition(":")
        if kind == "folder" and not Path(os.path.normpath(folder)).is_relative_to(SHARED):
            raise TargetError(f"data: folder:{folder}: Pods see no folder but {SHARED}, the pool's claim")
    try:
        packs = pool.packs_at_once(parsed.resources.cpus, parsed.resources.gpus)
    except ValueError as error:
        raise TargetError(str(error)) from None
    return render(name, spec, pool, packs, {RESUME_COMMAND: commands(name, to)["resume"], UI_COMMAND: _ui(to)})


def _ui(to: str) -> str:
    """How to see the records in MLflow."""
    namespace = to.partition("://")[2]
    return f"kubectl --namespace {namespace} port-forward service/mlflow 5000, then http://localhost:5000"


def _parsed(text: str, where: str) -> Pool:
    try:
        return read_pool(text)
    except ValueError as error:
        raise TargetError(f"{where}: {'; '.join(str(error).splitlines())}") from None
