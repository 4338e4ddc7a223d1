"""Optuna's copy of a sweep: a study named as the sweep, and one beside it for what was trained again to confirm.

One trial per configuration that has ended, in the order of their numbers, so that a rebuilt study is equal.
What is there already is seen in the study itself: a trial is added in one transaction. That a study will be created is
noted in the ledger, for that takes several; one that the ledger does not know of is made anew. Only what carries the
sweep's mark is written into or deleted.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import takewhile

import optuna
from optuna.distributions import json_to_distribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from tracking import database
from tracking.ledger import Ledger
from tracking.store import Store
from tracking.types import SWEEP, Configuration, Sweep, Taken
from trainers.errors import Unmendable

log = logging.getLogger("gradsweep")
NAME = "optuna"
MARK = "gradsweep.mark"
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
CONFIRMED = SWEEP - 1  # the ledger's number of the study of confirmations
NUMBERS = {"search": SWEEP, "confirm": CONFIRMED}
BATCH = 32


class OptunaMirror:
    """See the module."""

    name, title = NAME, "Optuna's database"

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._url, self._ledger = store.optuna_url, ledger
        self._storage: RDBStorage | None = None
        self._studies: dict[str, tuple[Study, set[int]]] = {}  # with the numbers of the configurations that are there

    def round(self, sweep: Sweep, everything: bool, late: Callable[[], bool] = lambda: False) -> bool:
        """Add a part of the trials that are lacking, and say whether there were any."""
        try:
            return self._round(sweep)
        except BaseException:
            self._studies.clear()  # an answer may have been lost: look again at what is there
            raise

    def _round(self, sweep: Sweep) -> bool:
        _, there = self._study(sweep, "search")
        if not there and any(t.ended for t in self._ledger.taken(sweep, NAME).values()):
            log.warning("Optuna's database no longer has the trials of %s; writing them again", sweep.name)
            self._ledger.forget(sweep, NAME)
            self._studies.clear()
            return True
        pending = sorted(self._ledger.pending(sweep, NAME))
        numbers = [number for number, _ in takewhile(lambda p: p[1], pending)][:BATCH]
        if not numbers:
            return False
        objectives = self._ledger.objectives(sweep, numbers)
        taken: list[Taken] = []
        try:
            for c in self._ledger.configurations(sweep, numbers):
                study, there = self._study(sweep, c.phase)
                problem = ""
                try:
                    if c.extends is None and c.number not in there:  # Optuna's trials have no parts
                        study.add_trial(trial_of(sweep, c, objectives.get(c.number, {})))
                        there.add(c.number)
                except ValueError as error:
                    problem = f"Optuna refuses it: {' '.join(str(error).split())}"
                taken.append(Taken(c.number, attempted=True, epoch=c.epoch, ended=not problem, problem=problem))
        finally:
            self._ledger.take(sweep, NAME, taken)
        return True

    def delete(self, sweep: Sweep) -> list[str]:
        """Delete the sweep's studies: their names."""
        own = [] if database.missing(self._url) else [self.own_study(sweep, phase) for phase in NUMBERS]
        names = [study.study_name for study in own if study is not None]
        for name in names:
            optuna.delete_study(study_name=name, storage=self.storage)
        return names

    def close(self) -> None:
        """Give the connections back."""
        self._studies.clear()
        if self._storage is not None:
            self._storage.remove_session()
            self._storage.engine.dispose()
            self._storage = None

    @property
    def storage(self) -> RDBStorage:
        """Optuna's storage, opened at its first use; its tables are made where they are missing."""
        if self._storage is None:
            self._storage = _opened(self._url)
        return self._storage

    def own_study(self, sweep: Sweep, phase: str) -> Study | None:
        """The study of a phase (search | confirm) that this sweep has made, if there is one."""
        study = self._any_study(sweep, phase)
        return study if study is not None and study.user_attrs.get(MARK) == sweep.mark else None

    def _any_study(self, sweep: Sweep, phase: str) -> Study | None:
        try:
            return optuna.load_study(study_name=study_name(sweep.name, phase), storage=self.storage)
        except KeyError:
            return None

    def _study(self, sweep: Sweep, phase: str) -> tuple[Study, set[int]]:
        """The study of a phase, made where it is missing. Raises Unmendable for somebody else's."""
        if phase in self._studies:
            return self._studies[phase]
        number, study = NUMBERS[phase], self._any_study(sweep, phase)
        noted = self._ledger.taken(sweep, NAME, [number]).get(number, Taken(number))
        if study is not None and not noted.attempted and study.user_attrs.get(MARK) == sweep.mark:
            optuna.delete_study(study_name=study.study_name, storage=self.storage)
            study = None
        if study is None:
            self._ledger.take(sweep, NAME, [replace(noted, attempted=True)])
            try:
                study = optuna.create_study(
                    study_name=study_name(sweep.name, phase),
                    storage=self.storage,
                    directions=["maximize" if goal == "maximize" else "minimize" for _, goal in sweep.objectives],
                )
            except DuplicatedStudyError:  # somebody else's, made at the same moment
                self._ledger.take(sweep, NAME, [noted])
                raise Unmendable(_not_ours(sweep.name)) from None
            study.set_user_attr(MARK, sweep.mark)
        elif noted.attempted and not study.user_attrs and not study.get_trials(deepcopy=False):
            study.set_user_attr(MARK, sweep.mark)  # we were interrupted while we made it
        elif study.user_attrs.get(MARK) != sweep.mark:
            raise Unmendable(_not_ours(study.study_name))
        names = [metric for metric, _ in sweep.objectives]
        if study.metric_names != names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                study.set_metric_names(names)
        there = {t.user_attrs.get("configuration", -1) for t in study.get_trials(deepcopy=False)}
        self._studies[phase] = study, there
        return self._studies[phase]


def study_name(sweep: str, phase: str) -> str:
    """The name of the study of a phase: search | confirm."""
    return sweep if phase == "search" else f"{sweep} (confirmed)"


def trial_of(sweep: Sweep, c: Configuration, objectives: Mapping[int, float]) -> FrozenTrial:
    """A configuration that has ended, as a trial; `objectives` are those of its epochs. Raises ValueError."""
    point = c.point or {}
    distributions = {name: json_to_distribution(text) for name, text in sweep.space.items() if name in point}
    values = c.values if c.values and not any(map(math.isnan, c.values)) else None
    state = STATES.get(c.state, TrialState.FAIL)
    if state == TrialState.COMPLETE and values is None:
        state = TrialState.FAIL
    about = {"configuration": c.number, "name": c.name, "state": c.state}
    more = {"arm": c.arm, "confirms": c.confirms, "same_as": c.same_as, "reason": c.reason}
    trial = create_trial(
        state=state,
        values=None if state == TrialState.FAIL else values,
        params={name: point[name] for name in distributions},
        distributions=distributions,
        user_attrs=about | {key: value for key, value in more.items() if value not in ("", None)},
        intermediate_values=dict(objectives),
    )
    trial.datetime_start, trial.datetime_complete = _time(c.started), _time(c.ended or 0)
    return trial


def taken_name(store: Store, name: str) -> str | None:
    """Why a new sweep can't have this name in Optuna's database, None where it can or nobody answers."""
    if database.missing(store.optuna_url):
        return None
    try:
        storage = _opened(store.optuna_url)
        names = optuna.get_all_study_names(storage)
        storage.engine.dispose()
    except Exception:
        return None
    return next((_not_ours(of) for of in (name, study_name(name, "confirm")) if of in names), None)


def _opened(url: str) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url.startswith(database.SQLITE):
        database.write_ahead(url.removeprefix(database.SQLITE))
    escaped = url.replace("{", "{{").replace("}", "}}")  # Optuna fills in a template
    storage = RDBStorage(escaped, engine_kwargs={"connect_args": database.timeout(url)})
    database.keep_alive(storage.engine)
    storage.engine.dispose()  # the connections from before
    return storage


def _not_ours(name: str) -> str:
    return f"a study named {name!r} that is no sweep is in this database; choose another name with --name"


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000)
