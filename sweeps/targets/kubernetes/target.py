"""Sweeps in a Kubernetes namespace, `--to k8s://NAMESPACE`: one RayJob each, on the pool that its owner describes.

Everything of a sweep is in its RayJob, so to submit is one request, and to resume is to make the RayJob anew from the
documents that it carries. The driver inside does the rest: its entrypoint goes on with what is in the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.targets.kubernetes.errors import KubernetesError, NoSuchSweep
from sweeps.targets.kubernetes.kuberay_rules import problems
from sweeps.targets.kubernetes.pool import Pool, SweepJob, read_pool
from sweeps.targets.kubernetes.rayjob import SHARED, as_yaml, documents_of, render
from sweeps.targets.kubernetes.rayjob_status import RayJobStatus, pods_in_words
from sweeps.targets.target import Standing, Submission, Submitted, commands
from trainers.errors import WRONG_REQUEST, TargetError

if TYPE_CHECKING:
    from sweeps.targets.kubernetes.client import Namespace

POOL_VARIABLE = "GRADSWEEP_POOL"


def place(to: str, store: str | None, pool: Path | None) -> KubernetesPlace:
    """The namespace of the current context. Speaks to nobody yet. Raises TargetError."""
    name = to.partition("://")[2]
    if "/" in name:
        raise TargetError(f"--to {to}: must be k8s://NAMESPACE, like k8s://gradsweep", WRONG_REQUEST)
    return KubernetesPlace(name, store, pool)


class KubernetesPlace:
    """The sweeps of one namespace; `store` is where their books can be read from here, `pool` the file of `--pool`."""

    def __init__(self, name: str, store: str | None, pool: Path | None) -> None:
        self._name = name
        self._to = f"k8s://{name}"
        self._store = store
        self._pool = pool

    def submit(self, sweep: Submission) -> Submitted:
        """Create its RayJob; with `dry_run` only say what it would be, and speak to nobody."""
        if self._store is not None:
            raise TargetError("--store: on Kubernetes the pool says where records go, as `places`", WRONG_REQUEST)
        job = _job(sweep.name, sweep.spec, self._read_pool())
        rayjob = _rendered(job)
        if sweep.dry_run:
            return Submitted(sweep.name, self._to, manifest=as_yaml(rayjob))
        namespace = self._connect()
        if sweep.resume:
            self._make_room(namespace, sweep.name)
        namespace.create(rayjob)
        return self._submitted(sweep.name)

    def list(self) -> list[Standing]:
        """What the RayJobs say."""
        return [_standing(one) for one in self._connect().list()]

    def status(self, name: str) -> Standing:
        """What RayJob, Pods and driver say, and the store, where there is a way to it from here."""
        namespace, books = self._connect(), self._books(name)
        try:
            found = namespace.status(name)
        except NoSuchSweep:
            if books is None:
                raise
            return Standing(name, books["state"], f"no RayJob in {self._to} any more", books=books)
        standing = _standing(found, pods_in_words(namespace.pods(name)))
        with suppress(KubernetesError):  # its Pod may go in this moment
            standing = replace(standing, said=namespace.last_line(name))
        return replace(standing, books=books)

    def logs(self, name: str, follow: bool) -> Iterator[str]:
        """The driver's output, as the submitter's Pod prints it."""
        return self._connect().logs(name, follow=follow)

    def stop(self, name: str) -> Standing:
        """Delete its RayJob; of a sweep that has ended too, which takes its output away."""
        namespace = self._connect()
        before = namespace.status(name)
        namespace.delete(name)
        state = before.state if before.finished else "stopped"
        return Standing(name, state, f"RayJob deleted from {self._to}; what it recorded stays in its store")

    def resume(self, name: str) -> Submitted:
        """Make its RayJob anew from the spec and the pool that it carries."""
        again = f"gradsweep submit SPEC --resume --to {self._to} goes on with what is in the store"
        namespace = self._connect()
        try:
            documents = documents_of(namespace.rayjob(name))
        except NoSuchSweep as error:
            raise NoSuchSweep(f"{error}; {again}", WRONG_REQUEST) from None
        if documents is None:
            raise TargetError(f"the RayJob {name} carries no spec and pool of gradsweep's: {again}", WRONG_REQUEST)
        spec, pool = documents
        rayjob = _rendered(_job(name, spec, _parsed(pool, f"the pool of RayJob {name}")))
        self._make_room(namespace, name)
        try:
            namespace.create(rayjob)
        except TargetError as error:
            raise TargetError(f"{error}; the old RayJob is gone: {again}", error.exit_code) from None
        return self._submitted(name)

    def _connect(self) -> Namespace:
        from sweeps.targets.kubernetes.client import connect

        return connect(self._name)

    def _read_pool(self) -> Pool:
        chosen = self._pool or os.environ.get(POOL_VARIABLE)
        if not chosen:
            raise TargetError(
                f"--pool FILE (or ${POOL_VARIABLE}) is needed: what the cluster is like, see k8s/overlays/*/pool.yaml",
                WRONG_REQUEST,
            )
        try:
            return _parsed(Path(chosen).read_text(encoding="utf-8"), f"--pool {chosen}")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not a text"
            raise TargetError(f"--pool {chosen}: can't be read: {reason}", WRONG_REQUEST) from None

    def _make_room(self, namespace: Namespace, name: str) -> None:
        """Take an ended RayJob of this name away, if there is one."""
        try:
            found = namespace.status(name)
        except NoSuchSweep:
            return
        if not found.finished:
            raise TargetError(
                f"the sweep {name!r} is {found.state} in {self._to}: gradsweep logs {name} -f --to {self._to}",
                WRONG_REQUEST,
            )
        namespace.delete(name)

    def _books(self, name: str) -> dict[str, Any] | None:
        """How far it is, where `--store` names a way to its store from here."""
        if self._store is None:
            return None
        from sweeps.driver.status import look_at
        from sweeps.store_file import open_store
        from trainers.errors import SearchError

        with suppress(SearchError):  # its driver has not begun it yet
            return look_at(name, open_store(self._store))
        return None

    def _submitted(self, name: str) -> Submitted:
        ui = f"kubectl --namespace {self._name} port-forward service/mlflow 5000, then http://localhost:5000"
        return Submitted(name, self._to, commands(name, self._to) | {"ui": ui})


def _job(name: str, spec: str, pool: Pool) -> SweepJob:
    from sweeps.spec.reading import parse

    parsed = parse(spec, name)
    for fields in (parsed.base, *parsed.arms.values()):
        kind, _, folder = str(fields.get("data", "")).partition(":")
        if kind == "folder" and not Path(os.path.normpath(folder)).is_relative_to(SHARED):
            raise TargetError(
                f"data: folder:{folder}: Pods see no folder but {SHARED}, the pool's claim", WRONG_REQUEST
            )
    try:
        packs = pool.workers.packs_at_once(parsed.resources.cpus, parsed.resources.gpus)
        return SweepJob(name, spec, pool, packs)
    except ValueError as error:
        raise TargetError(str(error), WRONG_REQUEST) from None


def _parsed(text: str, where: str) -> Pool:
    try:
        return read_pool(text)
    except ValueError as error:
        raise TargetError(f"{where}: {'; '.join(str(error).splitlines())}", WRONG_REQUEST) from None


def _rendered(job: SweepJob) -> dict[str, Any]:
    rayjob = render(job)
    if broken := problems(rayjob):
        raise TargetError(f"KubeRay would refuse this RayJob: {'; '.join(broken)}", WRONG_REQUEST)
    return rayjob


def _standing(found: RayJobStatus, pods: str = "") -> Standing:
    detail = f"{found.words}; {pods}" if pods else found.words
    return Standing(found.name, found.state, detail, found.started or found.created, found.ended)
