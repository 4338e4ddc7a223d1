"""One sweep's Optuna study: suggestions out, results in. The database is the truth.

Every step is one commit, so that a SIGKILL at any point leaves one of few states. A configuration is created whole,
parameters and all (`asked`, beside Optuna's own columns). Its end is first noted whole (`ended`), from then on it
counts as ended, and only then becomes Optuna's state; `running` finishes what was interrupted in between, and fills
up a pack of which only a part had been created, with what it would have got: a suggestion depends on the plan, its
number and the database, and nothing can have been told in between.

    >>> search = Search.create("alpha-r", "sqlite:///optuna.db", plan, {"spec": "..."})
    >>> for configuration in search.ask(8, pack="0"):
    ...     search.tell(configuration.number, "complete", [0.93])
    >>> search.counts().complete
    8
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from search_spaces.confirm import chosen, confirmations
from search_spaces.history import History, Past
from search_spaces.patient import PatientStorage
from search_spaces.plan import SearchPlan
from search_spaces.pruners import needs
from search_spaces.rows import ENDS, Row, asked, ended, row_of
from search_spaces.samplers import check_sampler
from search_spaces.space import Value
from search_spaces.storage import close_storage, exists, open_storage
from search_spaces.suggest import distributions, point, suggestions
from trainers.errors import SearchError

HISTORY = 500  # a pruner compares with the latest so many: its cost must not grow with the sweep
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
_DIRECTIONS = {"maximize": StudyDirection.MAXIMIZE, "minimize": StudyDirection.MINIMIZE}
_CONFIRMING = "confirming"  # the numbers of those to confirm, from when the search has ended
_MARK = "gradsweep"  # the first attribute to be written: a study without it or `_CREATED` is somebody else's
_CREATED = "created"  # the last attribute to be written: a marked study without it is a creation that was interrupted


@dataclass(frozen=True)
class Configuration:
    """A suggestion: overrides of the base. `arm` is empty for a searched one; `pack` is what it was asked for.

    `confirms` is the number of the one that it trains again, on fresh seeds.
    """

    number: int
    arm: str
    parameters: Mapping[str, Value]
    pack: str
    confirms: int | None = None


@dataclass(frozen=True)
class Ended:
    """What became of a configuration; `state` is one of `ENDS`, `values` has one number an objective, or is None."""

    number: int
    arm: str
    parameters: Mapping[str, Value]
    state: str
    values: tuple[float, ...] | None
    reason: str
    confirms: int | None = None


@dataclass(frozen=True)
class Counts:
    """How far a sweep is: `total` is what it will have in the end, the others what the database holds.

    Before the search has ended it counts as many to confirm as there can be.
    """

    total: int
    complete: int
    pruned: int
    diverged: int
    failed: int
    running: int

    @property
    def ended(self) -> int:
        """How many are through, however."""
        return self.complete + self.pruned + self.diverged + self.failed


class Search:
    """One sweep's study.

    Only its one driver may call `ask`, `tell` and `running`; the others only read, from any process.
    """

    def __init__(self, name: str, url: str, plan: SearchPlan | None) -> None:
        """Use `create` or `open`."""
        self.name, self.plan = name, plan
        self._rdb: RDBStorage
        self._storage: BaseStorage
        self._rdb, storage = open_storage(url)
        # Called when the database's server answers again; what a driver has to put right then is its own.
        self.back: Callable[[], None] = lambda: None
        self._storage = cast(BaseStorage, PatientStorage(storage, lambda: self.back())) if plan else storage
        self._study_id = -1
        self._finished: dict[int, Row] = {}  # these can't change any more
        self._told: int | None = None  # how many have ended, so far as this driver knows

    @classmethod
    def create(cls, name: str, url: str, plan: SearchPlan, attributes: Mapping[str, str]) -> Search:
        """A new study; raises SearchError where one of this name exists, OptionError for a wrong sampler."""
        if plan.configurations:
            check_sampler(plan.sampler, plan.space, plan.base, plan.goals, plan.configurations)
        self = cls(name, url, plan)
        directions = [_DIRECTIONS[g] for g in plan.goals]
        try:
            self._study_id = self._storage.create_new_study(directions, name)
        except DuplicatedStudyError:
            former = self._storage.get_study_id_from_name(name)
            attrs = self._storage.get_study_user_attrs(former)
            if is_sweep(attrs):
                self.close()
                raise SearchError(f"a sweep named {name!r} exists already; choose another name") from None
            if _MARK not in attrs or self._storage.get_n_trials(former):
                self.close()
                raise SearchError(
                    f"a study named {name!r} that is no sweep is in this database; choose another name with --name"
                ) from None
            # Its creation was interrupted, and it may have been of another plan.
            self._storage.delete_study(former)
            self._study_id = self._storage.create_new_study(directions, name)
        created = {"total": plan.total, "searching": plan.searching}
        for key, value in {_MARK: "sweep", **attributes, _CREATED: created}.items():
            self._storage.set_study_user_attr(self._study_id, key, value)
        return self

    @classmethod
    def open(cls, name: str, url: str, plan: SearchPlan | None = None) -> Search:
        """An existing study, nothing is written; raises SearchError where there is none.

        Without a plan it can only be read.
        """
        if not exists(url):
            raise SearchError(f"there is no sweep named {name!r}")
        self = cls(name, url, plan)
        try:
            self._study_id = self._storage.get_study_id_from_name(name)
            found = is_sweep(self._storage.get_study_user_attrs(self._study_id))
        except KeyError:
            found = False
        if not found:
            self.close()
            raise SearchError(f"there is no sweep named {name!r}")
        directions = self._storage.get_study_directions(self._study_id)
        if plan is not None and [_DIRECTIONS[g] for g in plan.goals] != directions:
            self.close()
            raise SearchError(f"the sweep {name!r} was begun with other objectives")
        return self

    def ask(self, count: int, pack: str) -> list[Configuration]:
        """The next configurations, arms first; fewer, or none, where the budget is used up.

        What is to be confirmed comes when all others have ended: until then there is none, too.
        """
        rows = self._rows()
        count = min(count, self._to_be_asked(rows))
        return self._create(rows, count, pack, count) if count > 0 else []

    def _to_be_asked(self, rows: list[Row]) -> int:
        plan = self._driven()
        if len(rows) < plan.searching:
            return plan.searching - len(rows)
        if not plan.confirm or any(row.state == "running" for row in rows[: plan.searching]):
            return 0
        return plan.searching + len(self._confirming(rows)) - len(rows)

    def _confirming(self, rows: list[Row]) -> list[int]:
        """Those to confirm: decided here, once, when the search has ended."""
        known: list[int] | None = self._storage.get_study_user_attrs(self._study_id).get(_CONFIRMING)
        if known is None:
            known = chosen(self._driven(), rows)
            self._storage.set_study_user_attr(self._study_id, _CONFIRMING, known)
        return known

    def _create(self, rows: list[Row], count: int, pack: str, size: int) -> list[Configuration]:
        plan = self._driven()
        space = distributions(plan.space)
        known = sum(row.state != "running" for row in rows)
        found = []
        if len(rows) < plan.searching:
            new = suggestions(plan, rows, count)
        else:
            new = confirmations(rows, self._confirming(rows), count)
        for row in new:
            # What confirms is no second point of the search.
            at = (point(plan, row) if row.confirms is None else None) or {}
            searched = {key: value for key, value in at.items() if key not in row.drawn}
            trial = create_trial(
                state=TrialState.RUNNING,
                params=searched,
                distributions={key: space[key] for key in searched},
                user_attrs={"asked": asked(row, pack, size, known)},
                system_attrs=dict(row.notes),
            )
            trial.number = row.number
            trial_id = self._storage.create_new_trial(self._study_id, trial)
            if trial_id != self._storage.get_trial_id_from_study_id_trial_number(self._study_id, row.number):
                raise SearchError(f"another driver is at work on the sweep {self.name!r}")
            found.append(_configuration(replace(row, pack=pack)))
        return found

    def running(self) -> list[Configuration]:
        """Those asked for and not told, by number: what a driver that starts again hands out again.

        Repairs first what a killed driver left half done, so only a driver may call it, before its first `ask`.
        """
        rows = self._rows()
        for row in rows:
            if row.state != "running" and row.unfinished:
                self._finish(row.trial_id, row.state, row.values)
        if rows:
            last = rows[-1]
            missing = last.size - sum(row.pack == last.pack for row in rows)
            if missing > 0:
                self._create(rows, missing, last.pack, last.size)
                rows = self._rows()
        return [_configuration(row) for row in rows if row.state == "running"]

    def history(self, pack: str = "") -> History:
        """What the pruner needs to know of the others; empty without a pruner.

        With a pack: what was known when that pack was asked for, whatever has been told since, and the course of its
        own configurations that have ended, so that what is left is judged as if it had not been interrupted.
        """
        what, arms = needs(self._driven().pruner), len(self._driven().arms)
        if what == "nothing":
            return History(self.name, arms=arms)
        rows = self._rows()
        known = min((row.known for row in rows if pack and row.pack == pack), default=len(rows))
        states = ("complete",) if what == "curves" else ("complete", "pruned")
        told = sorted((row for row in rows if row.state in states), key=lambda row: row.order)
        others = [row for row in told if row.order < known][-HISTORY:]
        # Curves are compared with those of complete configurations of other packs.
        own = [row for row in rows if pack and row.pack == pack and row.state != "running" and what == "rungs"]
        return History(
            self.name, tuple(_past(row, what == "curves") for row in others), arms, tuple(map(course_of, own))
        )

    def tell(
        self,
        number: int,
        state: str,
        values: Sequence[float] | None,
        *,
        reason: str = "",
        intermediate: Mapping[int, float] | None = None,
        pruner_attributes: Mapping[str, float] | None = None,
    ) -> None:
        """Ends a configuration; what was told first stays.

        A complete one has a value for each objective; where one is not finite it is taken as failed. A pruned one
        has its last value. `intermediate` (epoch -> objective) is what pruners compare.
        """
        plan = self._driven()
        if state not in ENDS:
            raise ValueError(f"state must be one of {', '.join(ENDS)}, but got {state!r}")
        if state == "complete" and len(values or ()) != len(plan.goals):
            raise ValueError(f"a complete configuration has {len(plan.goals)} value(s), but got {values!r}")
        if state == "complete" and not all(math.isfinite(v) for v in values or ()):
            state, values, reason = "failed", None, reason or "the objective is not a finite number"
        if state == "pruned" and not values and intermediate:
            values = [intermediate[max(intermediate)]]
        if values is not None and not all(math.isfinite(v) for v in values):
            values = None
        try:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        except KeyError:
            raise SearchError(f"the sweep {self.name!r} has no configuration {number}") from None
        row = row_of(self._storage.get_trial(trial_id))
        if row.state == "running":
            if self._told is None:
                self._told = sum(row.state != "running" for row in self._rows())
            note = ended(state, values, reason, self._told, intermediate or {}, pruner_attributes or {})
            self._storage.set_trial_user_attr(trial_id, "ended", note)
            self._told += 1
            self._finish(trial_id, state, values)
        elif row.unfinished:
            self._finish(trial_id, row.state, row.values)

    def _finish(self, trial_id: int, state: str, values: Sequence[float] | None) -> None:
        kept = values if state in _STATES else None
        self._storage.set_trial_state_values(trial_id, _STATES.get(state, TrialState.FAIL), kept)

    def ended(self) -> list[Ended]:
        """Those told, by number."""
        return [
            Ended(row.number, row.arm, row.parameters, row.state, row.values, row.reason, row.confirms)
            for row in self._rows()
            if row.state != "running"
        ]

    def states(self) -> list[tuple[int, str, str, str]]:
        """(number, state, Optuna's own state, the one that it should be) of all, by number: for an audit."""
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        found = [(trial, row_of(trial).state) for trial in trials]
        due = {"running": TrialState.RUNNING} | {state: _STATES.get(state, TrialState.FAIL) for state in ENDS}
        return [(trial.number, state, trial.state.name, due[state].name) for trial, state in found]

    def counts(self) -> Counts:
        """How far the sweep is."""
        states = [row.state for row in self._rows()]
        return Counts(self.total(), *(states.count(state) for state in (*ENDS, "running")))

    def total(self) -> int:
        """How many configurations the sweep will have; at most, before it is known how many there are to confirm."""
        notes = self._storage.get_study_user_attrs(self._study_id)
        confirming, created = notes.get(_CONFIRMING), notes[_CREATED]
        return int(created["total"] if confirming is None else created["searching"] + len(confirming))

    @property
    def attributes(self) -> dict[str, str]:
        """The sweep's own notes, kept with the study."""
        found = self._storage.get_study_user_attrs(self._study_id)
        return {key: value for key, value in found.items() if key not in (_MARK, _CREATED, _CONFIRMING)}

    def set_attribute(self, key: str, value: str) -> None:
        """Adds or replaces a note."""
        self._storage.set_study_user_attr(self._study_id, key, value)

    def close(self) -> None:
        """Gives the database's connections back."""
        close_storage(self._rdb)

    def _rows(self) -> list[Row]:
        rows = []
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False):
            row = self._finished.get(trial.number) or row_of(trial)
            if trial.state.is_finished():
                self._finished[trial.number] = row
            rows.append(row)
        return rows

    def _driven(self) -> SearchPlan:
        if self.plan is None:
            raise SearchError(f"the sweep {self.name!r} was opened without its plan: it can only be read")
        return self.plan


def _configuration(row: Row) -> Configuration:
    return Configuration(row.number, row.arm, row.parameters, row.pack, row.confirms)


def _past(row: Row, curve: bool) -> Past:
    return Past(
        row.number,
        row.state,
        row.values[0] if row.values else None,
        row.intermediate if curve else row.last,
        row.pruner_attributes,
    )


def course_of(row: Row) -> Past:
    """All that a pruner has seen of a configuration that has ended: not the epoch in which it diverged."""
    seen = dict(row.intermediate)
    if row.state == "diverged" and seen:
        del seen[max(seen)]
    return Past(row.number, row.state, None, seen)


def is_sweep(attributes: Mapping[str, Any]) -> bool:
    """Whether a study with these attributes is a sweep: those that were made before `_MARK` was have the others."""
    created = attributes.get(_CREATED)
    return isinstance(created, dict) and "total" in created


def studies(url: str) -> list[str]:
    """The names of the sweeps in a database, oldest first."""
    if not exists(url):
        return []
    rdb, storage = open_storage(url)
    try:
        return [study.study_name for study in storage.get_all_studies() if is_sweep(study.user_attrs)]
    finally:
        close_storage(rdb)
