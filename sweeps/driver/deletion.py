"""A sweep deleted: its copies in MLflow and Optuna, its files, and last its ledger, after which its name is free.

A delete that was killed, or that a mirror kept waiting, is finished by the next: the ledger knows the sweep to the end.
Only what has the sweep's mark is deleted. Until both mirrors are gone nothing is lost that can't be made again.
"""

from __future__ import annotations

import shlex
import shutil
from contextlib import ExitStack, closing
from dataclasses import dataclass

from sweeps.driver import marks
from sweeps.driver.status import stored_spec
from sweeps.targets.target import wait_until
from tracking.database import cause
from tracking.ledger import opened
from tracking.locks import driver_lock, mirror_lock
from tracking.store import Store
from trainers.errors import GradsweepError, SearchError

SYNC_SECONDS = 30.0  # in which a `gradsweep sync` lets go of a mirror


@dataclass(frozen=True)
class Deleted:
    """What was deleted of a sweep, and what is left, in a line each; `gone` is whether its name is free."""

    name: str
    gone: bool
    deleted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def delete(name: str, store: Store) -> Deleted:
    """Delete a sweep. Raises SearchError where there is none, or it is running."""
    uri = stored_spec(name, store).tracking.uri
    from tracking.mirrors.mlflow import MlflowMirror
    from tracking.mirrors.optuna import OptunaMirror

    deleted: list[str] = []
    left: list[str] = []
    with ExitStack() as held:
        try:
            held.enter_context(driver_lock(store.ledger_url, name, store.lock_file(name)))
        except SearchError as error:
            stop = f"gradsweep stop {name} --store {shlex.quote(str(store.where))}"
            raise SearchError(f"{error}; to stop it: {stop}") from None
        ledger, sweep = held.enter_context(opened(name, store))
        for mirror in (MlflowMirror(store, ledger, uri), OptunaMirror(store, ledger)):
            with closing(mirror):
                lock_file = store.mirror_lock_file(name, mirror.name)
                own = held.enter_context(mirror_lock(store.ledger_url, name, mirror.name, lock_file))
                if not wait_until(own, SYNC_SECONDS, 0.2):
                    left.append(f"{mirror.title}: another gradsweep is still writing there")
                    continue
                try:
                    deleted += [f"{mirror.title}: {gone}" for gone in mirror.delete(sweep)]
                    ledger.forget(sweep, mirror.name)
                except Exception as error:
                    ours = isinstance(error, GradsweepError)
                    left.append(str(error) if ours else f"{mirror.title}: {cause(error)}")
        if left:
            return Deleted(name, False, tuple(deleted), tuple(left))
        try:
            marks.release(store, sweep, states=True)
        except GradsweepError as error:
            return Deleted(name, False, tuple(deleted), (str(error),))
        for path in store.files(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        count = len(ledger.configurations(sweep))
        ledger.delete(sweep)
        deleted.append(f"the records of {count} configuration{'s' * (count != 1)}, and its files")
        # Without our mark: somebody else's.
        places = store.states(name), store.kept(name), store.artifacts / name
        remain = [str(folder) for folder in places if folder.exists()]
        if not store.folder.is_dir():
            remain.append(f"what there is of it in {store.folder}, which is not on this machine")
    return Deleted(name, True, tuple(deleted), tuple(remain))
