"""A sweep from its first line to its last: the ledger opened, an executor run, the mirrors brought up, the verdict.

    >>> with Interrupt() as interrupt:
    ...     outcome = run(read("alpha-r"), Store.at("store"), interrupt, executor="ray", resume=False, show=display)

All that a later `resume` needs is in the store: the ledger, and the states of members in training.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from search_spaces.plan import SearchPlan
from search_spaces.search import Counts
from search_spaces.space import Choice
from search_spaces.suggest import distributions_as_json
from sweeps.driver import marks, notify
from sweeps.driver.driver import Driver
from sweeps.driver.earlier import told
from sweeps.driver.extension import extensions
from sweeps.driver.growth import differences
from sweeps.driver.kept import Kept
from sweeps.driver.orphans import marked
from sweeps.driver.packs import other_data
from sweeps.driver.progress import Progress
from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.driver.status import counts_of
from sweeps.driver.versions import git_commit, versions
from sweeps.environment import MIRROR_SECONDS, ray_address, seconds_of
from sweeps.spec.reading import SweepSpec, parse
from sweeps.spec.values import span
from tracking.ledger import Ledger, opened
from tracking.locks import driver_lock
from tracking.mirrors.follower import Lag, Mirrors, check_login, refuse_foreign
from tracking.results import load_wide, outcomes, sweeps
from tracking.store import Store
from tracking.types import Sweep
from tracking.verdict.verdict import Verdict, judge
from trainers import metrics, plugins
from trainers.data import load as load_data
from trainers.errors import GradsweepError, LedgerError, RequestError, SearchError, one_line
from trainers.lanes import available

EXECUTORS = {"ray": "sweeps.executors.ray_tune", "in-process": "sweeps.executors.in_process"}
log = logging.getLogger("gradsweep")

# How long a mirror may be unreachable at the end; `gradsweep sync` writes what it then lacks.
PATIENCE_SECONDS = 90.0
HURRY_SECONDS = 2.0
LAST_SECONDS = 3.0  # of a stop are for what comes after the mirrors: the notice, and Ray's end
Show = Callable[[str, Callable[[], Progress]], AbstractContextManager[object]]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `interrupted` is the exit status of the signal that ended it, else None; `verdict` is None if there was none yet;
    `lag` says what the mirrors still lack; `failures` how many configurations failed for which reason. `time_is_up` is
    a line about how far the sweep has come, "" unless its time was up.
    """

    spec: SweepSpec
    counts: Counts
    failures: Mapping[str, int]
    lag: Lag
    verdict: Verdict | None
    interrupted: int | None = None
    time_is_up: str = ""


def run(spec: SweepSpec, store: Store, interrupt: Interrupt, *, executor: str, resume: bool, show: Show) -> Outcome:
    """Run or resume a sweep until all its configurations have ended, its time is up, or a signal comes.

    Raises RequestError if the sweep exists (without `resume`) or was started with another spec; SearchError if it is
    already running; DataError for its data; Interrupted for a signal before anything was started.
    """
    # Takes a second, which `gradsweep report` need not wait for; and what can't be imported is known before training.
    from sweeps.report_page import leave_for_mlflow

    with ExitStack() as held:
        spec, mirror_seconds = with_absolute_paths(spec), seconds_of(MIRROR_SECONDS, math.inf)
        _refuse(spec, store, resume)
        plan = spec.search_plan()
        kinds = [*plan.arms.values(), *([{}] if plan.configurations else [])]
        digests = {data: load_data(data).digest for data in dict.fromkeys(spec.members(k)[0].data for k in kinds)}
        digests |= plugins.packages(_values(plan))
        store.create()
        lock_again = held.enter_context(driver_lock(store.ledger_url, spec.name, store.lock_file(spec.name)))
        held.enter_context(marked(spec.name, store))
        interrupt.check()
        ledger = Ledger.create(store.ledger_url)
        held.callback(ledger.close)
        ledger.reconnected = lock_again
        before = _refuse_another(spec, store, ledger, digests)
        begun = before.begun if before else time.time_ns() // 1_000_000
        earlier, told_first = told(spec, ledger, begun)
        if executor == "ray":
            address = ray_address()  # half a minute, to import it too
            log.info(f"connecting to the Ray cluster of RAY_ADDRESS={address}" if address else "starting Ray")
        workers = importlib.import_module(EXECUTORS[executor])
        # Before anything is written: a cluster may be unfit for the sweep.
        machines = held.enter_context(ExitStack())
        machines.enter_context(workers.opened(spec.resources, store, interrupt))
        asked = _sweep(spec, digests, begun, told_first)
        sweep = ledger.respecify(ledger.begin(asked), asked)
        marks.claim(store, sweep)
        kept = Kept.of(spec.name, store, spec.resources.keep)
        for line in extensions(spec, ledger.configurations(sweep), kept):
            log.info(line)
        if told_first:
            log.info("from %s", told_first)
        driver = Driver(spec, ledger, sweep, store.states(spec.name), kept, earlier)
        mirrors = Mirrors(store, spec.name, spec.tracking.uri)
        mirrors.start()

        def end(status: str, note: str) -> None:
            ledger.finish(sweep, status, note, trained=driver.trained)

        # Noted first: to stop Ray takes seconds.
        interrupt.on_stop = lambda: end("killed", "Interrupted; it can be resumed.")

        def tell(state: str, reason: str) -> notify.Notice | None:
            if (url := spec.tracking.notify) is None:
                return None
            now, failures = driver.progress, Counter(driver.failures())
            return notify.Notice(url, notify.document(spec, store, state, reason, now, failures, verdict))

        verdict = interrupted = notice = None
        time_is_up = ""
        try:
            with show(spec.name, lambda: driver.progress):
                workers.run(driver, spec.resources, interrupt, store.checkpoints)
            machines.close()
            with suppress(RequestError):  # a bucket that does not answer now
                marks.release(store, sweep)
            verdict = verdict_of(spec, store)
            now = driver.progress.counts
            status = "finished" if now.complete else "failed"
            if spec.resources.within and driver.time_is_up and now.ended < now.total:
                how_far = f"{now.ended} of {now.total} configurations have ended."
                time_is_up = f"The time (within: {span(spec.resources.within)}) is up: {how_far}"
                status = "killed"
            leave_for_mlflow(spec, store, verdict, status)
            end(status, "\n\n".join(filter(None, (time_is_up, spec.question, verdict.markdown))))
            interrupt.on_stop = lambda: None
            notice = tell("stopped" if time_is_up else status, time_is_up)
            mirrors.wait(
                PATIENCE_SECONDS,
                interrupt.check,
                lambda left: log.info("updating the mirrors: %d configurations left", left),
                mirror_seconds,
            )
        except Interrupted as signal:
            interrupted = signal.exit_status
            notice = notice or tell("interrupted", "a signal has come")
        except Exception as error:
            note = one_line(error)
            if not isinstance(error, GradsweepError):
                note += f"\n\n```\n{traceback.format_exc()}```"
            with suppress(LedgerError):
                end("failed", note)
            notice = notice or tell("failed", one_line(error))
            raise
        finally:
            stopping = 0.0 if interrupted is None else interrupt.left - LAST_SECONDS
            lag = mirrors.close(max(HURRY_SECONDS, stopping))
            if notice:
                hurry = interrupt.number is not None
                patience = notify.HURRY_SECONDS if hurry else notify.PATIENCE_SECONDS
                notice.wait(patience, lambda: not hurry and interrupt.number is not None)
        failures = Counter(driver.failures())
        return Outcome(spec, driver.progress.counts, failures, lag, verdict, interrupted, time_is_up)


def verdict_of(spec: SweepSpec, store: Store) -> Verdict:
    """The verdict on what has been recorded of a sweep. Raises SearchError for no such sweep."""
    with opened(spec.name, store) as (ledger, sweep):
        counts = counts_of(spec, ledger.configurations(sweep))
    claims = spec.judged_claims()
    begun = parse(sweep.first_spec, spec.name, begun=True) if sweep.first_spec else None
    known = [replace(claim, name="", says="") for claim in (begun.judged_claims() if begun else claims)]
    return judge(
        load_wide(spec.name, store),
        outcomes(spec.name, store),
        spec.objectives,
        claims,
        claim=spec.claim,
        sweep=spec.name,
        confirming=spec.confirm is not None,
        later=[claim.name for claim in claims if replace(claim, name="", says="") not in known],
        left=counts.total - counts.ended,
        seeds_added=begun is not None and (begun.seeds, begun.fresh_seeds) != (spec.seeds, spec.fresh_seeds),
    )


def with_absolute_paths(spec: SweepSpec) -> SweepSpec:
    """The same sweep, independent of the current folder, which a worker or a later resume may not share."""

    def absolute(fields: dict[str, object]) -> dict[str, object]:
        data = fields.get("data")
        if not isinstance(data, str) or not data.startswith("folder:"):
            return fields
        return fields | {"data": f"folder:{Path(os.path.expanduser(data.removeprefix('folder:'))).absolute()}"}

    return spec.model_copy(
        update={"base": absolute(spec.base), "arms": {name: absolute(arm) for name, arm in spec.arms.items()}}
    )


def _refuse(spec: SweepSpec, store: Store, resume: bool) -> None:
    """Before anything is written: without `resume` the name must be new, in Optuna's and MLflow's databases too.

    Raises RequestError.
    """
    there = spec.name in [sweep.name for sweep in sweeps(store)]
    if there and not resume:
        raise RequestError(
            f"sweep {spec.name!r} already exists in {store.where}: continue it with --resume, or choose another --name"
        )
    plugins.check(metrics.LAYER_METRICS, metrics.NETWORK_METRICS)
    try:
        available()
    except ValueError as error:
        raise RequestError(f"GRADSWEEP_LANES: {error}") from None
    check_login(spec.tracking.uri or store.mlflow_uri)
    if not there:
        refuse_foreign(store, spec.name, spec.tracking.uri)
        marks.refuse_foreign(store, spec.name, "")


def _refuse_another(spec: SweepSpec, store: Store, ledger: Ledger, digests: Mapping[str, str]) -> Sweep | None:
    """An existing sweep of this name must have this spec, or less of the same, these packages and data; that sweep."""
    try:
        sweep = ledger.sweep(spec.name)
    except SearchError:
        return None
    marks.refuse_foreign(store, spec.name, sweep.mark)
    before = parse(sweep.spec, spec.name, begun=True)
    if keys := differences(before, spec):
        raise RequestError(
            f"sweep {spec.name!r} was started with a different {', '.join(keys)}: resume it with the same spec and "
            "--set (seeds, epochs, configurations and arms may only be added), or choose another --name"
        )
    if why := plugins.difference(plugins.among(sweep.digests)):
        raise RequestError(f"{why}: install those again, or choose another --name")
    for data, digest in sweep.digests.items():
        if (here := digests.get(data, digest)) != digest:
            raise RequestError(f"{other_data(data, digest, here)}: restore it, or choose another --name")
    return sweep


def _values(plan: SearchPlan) -> list[object]:
    """Every value that a field of a member may have, apart from those of ranges."""
    choices = [value for what in plan.space.values() if isinstance(what, Choice) for value in what.values]
    return [*plan.base.values(), *(value for arm in plan.arms.values() for value in arm.values()), *choices]


def _sweep(spec: SweepSpec, digests: dict[str, str], begun: int, told_first: str) -> Sweep:
    plan = spec.search_plan()
    return Sweep(
        name=spec.name,
        spec=spec.to_yaml(),
        question=spec.question or "",
        settings={
            "configurations": str(plan.total),
            "seeds": str(len(spec.seeds)),
            "epochs": str(plan.epochs),
            "sampler": plan.sampler["name"] if plan.configurations else "none",
            "pruner": plan.pruner["name"] if plan.pruner else "none",
            "objective": ", ".join(f"{o.direction} {o.name}" for o in spec.objectives),
            "claim": spec.claim or "none",
            "confirm": f"{plan.confirm} and the arms, {len(spec.fresh_seeds)} seeds" if plan.confirm else "none",
        }
        | ({"from": told_first} if told_first else {}),
        objectives=tuple((o.name, o.direction) for o in spec.objectives),
        space=distributions_as_json(plan.space),
        versions=versions(),
        digests=digests,
        commit=git_commit(),
        begun=begun,
    )
