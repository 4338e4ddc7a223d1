"""A sweep from its first line to its last: the books opened, an executor run, the records delivered, the verdict.

    >>> with Interrupt() as interrupt:
    ...     outcome = run(read("alpha-r"), Store.at("store"), interrupt, executor="ray", resume=False, show=Display)

All that a later `resume` needs is in the store: Optuna's database, the spool, the states of members in training.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from search_spaces.search import Counts, Search, studies
from search_spaces.storage import alone
from sweeps.driver.lock import Locked, driver_lock
from sweeps.driver.orphans import mark
from sweeps.driver.packing import Books, Progress
from sweeps.driver.packs import other_data
from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.driver.status import opened
from sweeps.driver.versions import git_commit, versions
from sweeps.report_page import leave_for_mlflow
from sweeps.spec.reading import SweepSpec, parse
from tracking.delivery import Delivered, Delivery
from tracking.login import check_login
from tracking.results import load, outcomes
from tracking.spool import Spool, SpoolError, SweepRun
from tracking.store import Store
from tracking.verdict.claims import Claim
from tracking.verdict.verdict import Verdict, judge
from trainers.data import load as load_data
from trainers.errors import RequestError, one_line
from trainers.lanes import available

EXECUTORS = {"ray": "sweeps.executors.ray_tune", "in-process": "sweeps.executors.in_process"}
log = logging.getLogger("gradsweep")

# MLflow may be away for that long at the end; what it then lacks stays in the spool.
PATIENCE_SECONDS = 90.0
HURRY_SECONDS = 0.5
SAY_SECONDS = 5.0
# What is said about the results and trains nothing: it may be said anew when a sweep is gone on with.
SAID = ("question", "claim", "claims")
FIRST_SPEC = "first_spec"  # kept from the moment that claims change after the first results

Show = Callable[[str, Callable[[], Progress]], AbstractContextManager[object]]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `interrupted` is the exit status of the signal that ended it, else None; `verdict` is None where that came
    before it; `delivered` says what MLflow still lacks; `failures` how many failed for which reason.
    """

    spec: SweepSpec
    counts: Counts
    failures: Mapping[str, int]
    delivered: Delivered
    verdict: Verdict | None
    interrupted: int | None = None


def run(spec: SweepSpec, store: Store, interrupt: Interrupt, *, executor: str, resume: bool, show: Show) -> Outcome:
    """Run a sweep, or go on with one, until all of its configurations have ended or a signal came.

    Raises RequestError where it is there already, is another one or has a driver; DataError
    where its data can't be had; Interrupted for a signal before anything was begun.
    """
    with ExitStack() as opened:
        spec = with_absolute_paths(spec)
        _refuse(spec, store, resume)
        digests = {name: load_data(name).digest for name in data_of(spec)}
        store.create()
        try:
            opened.enter_context(driver_lock(store.lock_file(spec.name)))
        except Locked as error:
            raise RequestError(f"the sweep {spec.name!r} has a driver: {error}") from None
        locked_again = opened.enter_context(alone(store.optuna_url, spec.name))
        mark(store.spool_file(spec.name))
        interrupt.check()
        began = _began(store.spool_file(spec.name))
        _refuse_another(spec, store, began)
        _refuse_other_data(digests, began)
        if executor == "ray":
            log.info("starting Ray")  # half a minute, to import it too
        workers = importlib.import_module(EXECUTORS[executor])
        # Before anything is written: a cluster may be unfit for the sweep.
        machines = opened.enter_context(ExitStack())
        machines.enter_context(workers.opened(spec.resources, store, interrupt))
        search = _open(spec, store, resume)
        opened.callback(search.close)
        search.back = locked_again
        spool = Spool.at(store.spool_file(spec.name))
        opened.callback(spool.close)
        spool.begin(_sweep_run(spec, digests))
        books = Books(spec, search, spool, store.states(spec.name))
        delivery = Delivery(store, spec.name, spec.tracking.uri)
        delivery.start()
        # Noted first: to stop Ray takes seconds.
        interrupt.on_stop = lambda: spool.finish("KILLED", "Interrupted; `gradsweep run --resume` goes on with it.")
        verdict = ended = None
        try:
            with show(spec.name, lambda: books.progress):
                workers.run(books, spec.resources, interrupt, store.ray / spec.name, store.checkpoints)
            machines.close()
            verdict = verdict_of(spec, store)
            status = "FINISHED" if books.progress.counts.complete else "FAILED"
            leave_for_mlflow(spec, store, verdict, status)
            spool.finish(status, _description(spec, verdict))
            interrupt.on_stop = lambda: None
            _wait_for(spool, interrupt)
        except Interrupted as signal:
            ended = signal.exit_status
        except Exception as error:
            with suppress(SpoolError):
                spool.finish("FAILED", one_line(error))
            raise
        finally:
            delivered = delivery.drain(HURRY_SECONDS)
        failures = Counter(e.reason for e in search.ended() if e.state == "failed")
        return Outcome(spec, books.progress.counts, failures, delivered, verdict, ended)


def verdict_of(spec: SweepSpec, store: Store) -> Verdict:
    """The verdict on what has been recorded of a sweep. Raises ResultsError where nothing has, or can't be read."""
    found = outcomes(spec.name, store, spec.tracking.uri)
    frame = load(spec.name, store, spec.tracking.uri)
    later, left = _standing(spec, store)
    return judge(
        frame,
        found,
        [(o.metric, o.goal) for o in spec.objective],
        spec.judged_claims(),
        claim=spec.claim,
        sweep=spec.name,
        confirming=spec.confirm is not None,
        later=later,
        left=left,
    )


def _description(spec: SweepSpec, verdict: Verdict) -> str:
    """What MLflow says of the sweep: the question, then the answer."""
    return f"{spec.question}\n\n{verdict.markdown}" if spec.question else verdict.markdown


def _standing(spec: SweepSpec, store: Store) -> tuple[list[str], int]:
    """The claims stated after the sweep had its first results, by name; and how many configurations are to come."""
    search = Search.open(spec.name, store.optuna_url)
    try:
        first, counts = search.attributes.get(FIRST_SPEC), search.counts()
    finally:
        search.close()
    left = counts.total - counts.ended
    if first is None:
        return [], left

    def said(claim: Claim) -> Claim:
        return replace(claim, name="", says="")

    known = [said(claim) for claim in parse(first, spec.name).judged_claims()]
    return [claim.name for claim in spec.judged_claims() if said(claim) not in known], left


def stored_spec(name: str, store: Store) -> SweepSpec:
    """The spec a sweep was begun with. Raises SearchError where there is no such sweep."""
    search = opened(name, store)
    try:
        return parse(search.attributes["spec"], name)
    finally:
        search.close()


def data_of(spec: SweepSpec) -> list[str]:
    """Every data set that a configuration of this sweep may train on."""
    plan = spec.search_plan()
    names = [spec.members(arm)[0].data for arm in plan.arms.values()]
    if plan.configurations:
        names.append(spec.members({})[0].data)
    return list(dict.fromkeys(names))


def with_absolute_paths(spec: SweepSpec) -> SweepSpec:
    """The same sweep from wherever it is run: a worker or a later resume may have another current folder."""

    def absolute(fields: dict[str, object]) -> dict[str, object]:
        data = fields.get("data")
        if not isinstance(data, str) or not data.startswith("folder:"):
            return fields
        return fields | {"data": f"folder:{Path(os.path.expanduser(data.removeprefix('folder:'))).absolute()}"}

    return spec.model_copy(
        update={"base": absolute(spec.base), "arms": {name: absolute(arm) for name, arm in spec.arms.items()}}
    )


def _refuse(spec: SweepSpec, store: Store, resume: bool) -> None:
    """Before anything is written: without `resume` the sweep must not be there yet; the store must be one of ours.

    Raises RequestError, and SearchError, NoSpool, StoreError for a store of another version.
    """
    if not resume and spec.name in studies(store.optuna_url):
        raise RequestError(
            f"the sweep {spec.name!r} is in {store.where} already: "
            "go on with it by --resume, or start another by --name NAME"
        )
    try:
        available()
    except ValueError as error:
        raise RequestError(f"GRADSWEEP_LANES: {error}") from None
    if store.spool_file(spec.name).exists():
        Spool.at(store.spool_file(spec.name)).close()
    if spec.tracking.uri is None and not store.untouched and store.mlflow is None:
        from tracking.mlflow_sqlite import check

        check(store.mlflow_db)
    check_login(spec.tracking.uri or store.mlflow_uri)


def _refuse_another(spec: SweepSpec, store: Store, began: SweepRun | None) -> None:
    """What is there under this name must be this sweep: the same spec, but for what is said of it, and its records."""
    if spec.name not in studies(store.optuna_url):
        if began:
            raise RequestError(
                f"{store.spool_file(spec.name)} has the records of a sweep {spec.name!r} that Optuna's database does "
                "not have: start this one by --name NAME"
            )
        return
    with closing(Search.open(spec.name, store.optuna_url)) as search:
        counts, stored = search.counts(), parse(search.attributes["spec"], spec.name)
    # Each is spooled as soon as it is there.
    if not began and counts.ended + counts.running:
        raise RequestError(
            f"the records of the sweep {spec.name!r} are not in {store.spool}: resume it on the machine of its driver, "
            "or start another by --name NAME"
        )
    before, now = (yaml.safe_load(s.to_yaml()) for s in (stored, spec))
    if keys := [key for key in _differing(before, now) if key.split(".")[0] not in SAID]:
        raise RequestError(
            f"the sweep {spec.name!r} was begun with another {', '.join(keys)}: "
            "resume it with the same spec and --set, or start another by --name NAME"
        )


def _refuse_other_data(digests: Mapping[str, str], began: SweepRun | None) -> None:
    """A sweep goes on with the images that it began with, whatever lies in their folder now."""
    for data, was in began.digests.items() if began else ():
        if (now := digests.get(data, was)) != was:
            raise RequestError(
                f"{other_data(data, was, now)}: put it back as it was, or start another sweep by --name NAME"
            )


def _began(file: Path) -> SweepRun | None:
    """The sweep that has begun in this spool."""
    if not file.exists():
        return None
    with closing(Spool.at(file)) as spool:
        return spool.sweep()


def _open(spec: SweepSpec, store: Store, resume: bool) -> Search:
    """The sweep's study: with `resume` the one that is there, else a new one."""
    if not resume or spec.name not in studies(store.optuna_url):
        return Search.create(spec.name, store.optuna_url, spec.search_plan(), {"spec": spec.to_yaml()})
    before, now = (yaml.safe_load(s.to_yaml()) for s in (stored_spec(spec.name, store), spec))
    search = Search.open(spec.name, store.optuna_url, spec.search_plan())
    if before != now:
        if search.counts().ended and FIRST_SPEC not in search.attributes:
            search.set_attribute(FIRST_SPEC, search.attributes["spec"])
        search.set_attribute("spec", spec.to_yaml())
    return search


def _differing(before: object, now: object, path: str = "") -> list[str]:
    """The dotted keys at which two specs are not the same."""
    if before == now:
        return []
    if not isinstance(before, dict) or not isinstance(now, dict):
        return [path]
    keys = list(dict.fromkeys([*before, *now]))
    return [p for k in keys for p in _differing(before.get(k), now.get(k), f"{path}.{k}" if path else k)]


def _sweep_run(spec: SweepSpec, digests: dict[str, str]) -> SweepRun:
    plan = spec.search_plan()
    return SweepRun(
        name=spec.name,
        spec=spec.to_yaml(),
        description=spec.question or "",
        parameters={
            "configurations": str(plan.total),
            "seeds": str(len(spec.seeds)),
            "epochs": str(plan.epochs),
            "sampler": plan.sampler.name if plan.configurations else "none",
            "pruner": plan.pruner.name if plan.pruner else "none",
            "objective": ", ".join(f"{o.goal} {o.metric}" for o in spec.objective),
            "claim": spec.claim or "none",
            "confirm": f"{plan.confirm} and the arms, {len(spec.fresh_seeds)} seeds" if plan.confirm else "none",
        },
        versions=versions(),
        digests=digests,
        commit=git_commit(),
    )


def _wait_for(spool: Spool, interrupt: Interrupt) -> None:
    """Until MLflow has everything, or has taken nothing for a while."""
    least, since = spool.waiting(), time.monotonic()
    said = since
    while least and time.monotonic() - since < PATIENCE_SECONDS:
        interrupt.check()
        time.sleep(0.05)
        if time.monotonic() - said > SAY_SECONDS:
            log.info("%d events are on their way to MLflow", least)
            said = time.monotonic()
        if (now := spool.waiting()) < least:
            least, since = now, time.monotonic()
