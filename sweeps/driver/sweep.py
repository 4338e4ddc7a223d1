"""A sweep from its first line to its last: the ledger opened, an executor run, the mirrors brought up, the verdict.

    >>> with Interrupt() as interrupt:
    ...     outcome = run(read("alpha-r"), Store.at("store"), interrupt, executor="ray", resume=False, show=display)

All that a later `resume` needs is in the store: the ledger, and the states of members in training.
"""

from __future__ import annotations

import importlib
import logging
import os
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
from sweeps.driver.driver import Driver, Progress
from sweeps.driver.extension import extensions
from sweeps.driver.growth import differences
from sweeps.driver.kept import Kept
from sweeps.driver.orphans import marked
from sweeps.driver.packs import other_data
from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.driver.status import counts_of
from sweeps.driver.versions import git_commit, versions
from sweeps.spec.reading import SweepSpec, parse
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
Show = Callable[[str, Callable[[], Progress]], AbstractContextManager[object]]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    `interrupted` is the exit status of the signal that ended it, else None; `verdict` is None if there was none yet;
    `lag` says what the mirrors still lack; `failures` how many configurations failed for which reason.
    """

    spec: SweepSpec
    counts: Counts
    failures: Mapping[str, int]
    lag: Lag
    verdict: Verdict | None
    interrupted: int | None = None


def run(spec: SweepSpec, store: Store, interrupt: Interrupt, *, executor: str, resume: bool, show: Show) -> Outcome:
    """Run or resume a sweep until all its configurations have ended or a signal comes.

    Raises RequestError if the sweep exists (without `resume`) or was started with another spec; SearchError if it is
    already running; DataError for its data; Interrupted for a signal before anything was started.
    """
    # Takes a second, which `gradsweep report` need not wait for; and what can't be imported is known before training.
    from sweeps.report_page import leave_for_mlflow

    with ExitStack() as held:
        spec = with_absolute_paths(spec)
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
        _refuse_another(spec, store, ledger, digests)
        if executor == "ray":
            log.info("starting Ray")  # half a minute, to import it too
        workers = importlib.import_module(EXECUTORS[executor])
        # Before anything is written: a cluster may be unfit for the sweep.
        machines = held.enter_context(ExitStack())
        machines.enter_context(workers.opened(spec.resources, store, interrupt))
        asked = _sweep(spec, digests)
        sweep = ledger.respecify(ledger.begin(asked), asked)
        kept = Kept.of(spec.name, store, spec.resources.keep)
        for line in extensions(spec, ledger.configurations(sweep), kept):
            log.info(line)
        driver = Driver(spec, ledger, sweep, store.states(spec.name), kept)
        mirrors = Mirrors(store, spec.name, spec.tracking.uri)
        mirrors.start()

        def end(status: str, note: str) -> None:
            ledger.finish(sweep, status, note, trained=driver.trained)

        # Noted first: to stop Ray takes seconds.
        interrupt.on_stop = lambda: end("killed", "Interrupted; `gradsweep run --resume` continues it.")
        verdict = interrupted = None
        try:
            with show(spec.name, lambda: driver.progress):
                workers.run(driver, spec.resources, interrupt, store.checkpoints)
            machines.close()
            verdict = verdict_of(spec, store)
            status = "finished" if driver.progress.counts.complete else "failed"
            leave_for_mlflow(spec, store, verdict, status)
            end(status, f"{spec.question}\n\n{verdict.markdown}" if spec.question else verdict.markdown)
            interrupt.on_stop = lambda: None
            mirrors.wait(
                PATIENCE_SECONDS,
                interrupt.check,
                lambda left: log.info("updating the mirrors: %d configurations left", left),
            )
        except Interrupted as signal:
            interrupted = signal.exit_status
        except Exception as error:
            note = one_line(error)
            if not isinstance(error, GradsweepError):
                note += f"\n\n```\n{traceback.format_exc()}```"
            with suppress(LedgerError):
                end("failed", note)
            raise
        finally:
            lag = mirrors.close(HURRY_SECONDS)
        return Outcome(spec, driver.progress.counts, Counter(driver.failures()), lag, verdict, interrupted)


def verdict_of(spec: SweepSpec, store: Store) -> Verdict:
    """The verdict on what has been recorded of a sweep. Raises SearchError for no such sweep."""
    with opened(spec.name, store) as (ledger, sweep):
        counts = counts_of(spec, ledger.configurations(sweep))
    claims = spec.judged_claims()
    first = parse(sweep.first_spec, spec.name, begun=True).judged_claims() if sweep.first_spec else claims
    known = [replace(claim, name="", says="") for claim in first]
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


def _refuse_another(spec: SweepSpec, store: Store, ledger: Ledger, digests: Mapping[str, str]) -> None:
    """An existing sweep of this name must have this spec, or less of the same, these packages and data."""
    try:
        sweep = ledger.sweep(spec.name)
    except SearchError:
        return
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


def _values(plan: SearchPlan) -> list[object]:
    """Every value that a field of a member may have, apart from those of ranges."""
    choices = [value for what in plan.space.values() if isinstance(what, Choice) for value in what.values]
    return [*plan.base.values(), *(value for arm in plan.arms.values() for value in arm.values()), *choices]


def _sweep(spec: SweepSpec, digests: dict[str, str]) -> Sweep:
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
        },
        objectives=tuple((o.name, o.direction) for o in spec.objectives),
        space=distributions_as_json(plan.space),
        versions=versions(),
        digests=digests,
        commit=git_commit(),
    )
