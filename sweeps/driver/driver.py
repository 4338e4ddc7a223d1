"""The driver's side of a sweep: packs out, reports in, and every step in the ledger before anything follows from it.

    >>> while (pack := driver.next_pack()) is not None:
    ...     for report in train_pack(pack, driver.states_file(pack.id)):
    ...         driver.record(report)

A pack is in the ledger before it is handed out, and a report, records and ends, is one transaction. So a driver that
starts again has nothing to repair: it hands out what has not ended, under the same pack ids.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import ask, ended, history
from search_spaces.suggest import point
from sweeps.driver.packs import End, Metrics, Pack, PackedConfiguration, PackReport, metrics_of
from sweeps.driver.progress import Progress, name_of, progress_of
from sweeps.plan import pack_size
from sweeps.spec.reading import SweepSpec
from tracking.ledger import Ledger
from tracking.types import Configuration, Epoch, Sweep
from trainers import plugins
from trainers.engines import kind_of
from trainers.errors import SweepStopped
from trainers.members import EpochRecord, MemberConfig
from trainers.objectives import LAST

_SHARED = sorted({f.name for f in fields(Row)} & {f.name for f in fields(Configuration)})


class Driver:
    """See the module. One thread writes; `progress` may be read from any.

    `states` is the folder in which workers keep the states of the packs in training. `trained` says whether anything
    has been recorded since this driver started.
    """

    def __init__(self, spec: SweepSpec, ledger: Ledger, sweep: Sweep, states: Path) -> None:
        self.states = states
        self.trained = False
        self._spec = spec
        self._plan: SearchPlan = spec.search_plan()
        self._pack_sizes = pack_size(spec), pack_size(spec, confirming=True)
        self._objectives = tuple(spec.objectives)
        self._ledger = ledger
        self._sweep = sweep
        self._waiting: deque[Pack] = deque()
        self._live: dict[str, Pack] = {}
        self._exhausted_at = -1  # how many had ended when there was nothing to ask for
        objectives = ledger.objectives(sweep)
        self._rows = [row_of(c, objectives.get(c.number, {})) for c in ledger.configurations(sweep)]
        running = [row for row in self._rows if row.state == "running"]
        courses = self._courses([row.number for row in running])
        self._ended = len(self._rows) - len(running)
        # For `progress`: the first objective by epoch, and the last epoch, of each configuration.
        self._by_epoch = {number: {**past} for number, past in objectives.items()}
        self._reached = {number: max(past) for number, past in objectives.items() if past}
        self._hand_out(running, objectives, courses)
        for file in self.states.glob("*.npz*"):
            # Of a pack that has ended, left by a driver that died before it could delete them.
            if file.name.partition(".npz")[0] not in self.waiting:
                file.unlink(missing_ok=True)

    @property
    def progress(self) -> Progress:
        """How far the sweep is."""
        # Copied at once: the thread that records goes on.
        rows, reached, spec = self._rows.copy(), self._reached.copy(), self._spec
        seeds = len(spec.seeds), len(spec.fresh_seeds)
        return progress_of(self._plan, self._objectives[0].name, seeds, rows, reached, self._objectives_of)

    def _objectives_of(self, numbers: Sequence[int]) -> dict[int, dict[int, float]]:
        """The first objective by epoch, of these configurations."""
        return {number: self._by_epoch.get(number, {}).copy() for number in numbers}

    def failures(self) -> list[str]:
        """The reason of each configuration that failed."""
        return [row.reason for row in self._rows if row.state == "failed"]

    def next_pack(self) -> Pack | None:
        """The next pack to train; None if there is none now."""
        while not self._waiting:
            if self._exhausted_at == self._ended:
                return None
            # A pack is named after its first configuration.
            size = self._pack_sizes[self._ended >= self._plan.searching]
            asked = ask(self._plan, self._rows, size, f"p{len(self._rows):05d}")
            if not asked:
                self._exhausted_at = self._ended
                return None
            self._ledger.add(self._sweep, [self._configuration(row) for row in asked])
            self._rows += asked
            self._hand_out(asked, {}, {})
        pack = self._waiting.popleft()
        self._live[pack.id] = pack
        return pack

    @property
    def more_later(self) -> bool:
        """Whether packs may follow though there is none now: confirmations, or what a lost worker was training."""
        return bool(self._live)

    @property
    def waiting(self) -> set[str]:
        """The packs known to be handed out next."""
        return {pack.id for pack in self._waiting}

    def reissue(self, pack: str) -> Pack:
        """A pack for another worker: the configurations that have not ended, with what has been recorded of them."""
        return self._live.get(pack, Pack(pack, (), self._objectives))

    def hand_back(self, pack: str) -> None:
        """Hand out what is left of a pack again, before any other."""
        if live := self._live.pop(pack, None):
            self._waiting.appendleft(live)

    def states_file(self, pack: str) -> Path:
        """The beginning of the names of a pack's state files."""
        return self.states / f"{pack}.npz"

    def record(self, report: PackReport) -> None:
        """Record one epoch of a pack and the ends in it; a report that comes twice changes nothing.

        Raises SweepStopped if the report says so, LedgerError.
        """
        if report.stop:
            raise SweepStopped(report.stop)
        if (pack := self._live.get(report.pack)) is None:
            return
        epochs, left, ends = {}, [], {}
        for c in pack.configurations:
            past, courses = dict(c.past), dict(c.courses)
            if records := report.records.get(c.number):
                epochs[c.number] = epoch = epoch_of(records, report.values[c.number])
                past[epoch.epoch] = epoch.objective
                if self._whole_course:
                    courses[epoch.epoch] = metrics_of(records, self._objectives)
            if end := report.ended.get(c.number):
                ends[c.number] = end, past
            else:
                left.append(replace(c, past=past, courses=courses))
        self._write(epochs, ends)
        self.trained = True
        for number, recorded in epochs.items():
            self._by_epoch.setdefault(number, {}).setdefault(recorded.epoch, recorded.objective)
            self._reached[number] = max(recorded.epoch, self._reached.get(number, -1))
        if left:
            self._live[pack.id] = replace(pack, configurations=tuple(left))
        else:
            del self._live[pack.id]
            # With what a worker that was killed while it wrote has left beside it.
            for file in self.states.glob(f"{pack.id}.npz*"):
                file.unlink(missing_ok=True)

    def give_up(self, pack: str, reason: str, traceback: str = "") -> None:
        """End what is left of a pack as failed: no worker could train it."""
        failed = End("failed", reason=reason, traceback=traceback)
        ended = {c.number: failed for c in self.reissue(pack).configurations}
        self.record(PackReport(pack, 0, {}, ended, last=True))

    def _write(self, epochs: Mapping[int, Epoch], ends: Mapping[int, tuple[End, Mapping[int, float]]]) -> None:
        """Record epochs, and ends with the objectives by epoch, in one transaction."""
        rows, records = [], []
        for order, (number, (end, past)) in enumerate(ends.items(), self._ended):
            row = ended(
                self._rows[number],
                end.state,
                end.values,
                reason=end.reason,
                order=order,
                intermediate=past if self._plan.pruner else {},
                pruner_attributes=end.pruner_attributes,
                goals=len(self._plan.goals),
            )
            rows.append(row)
            records.append(Configuration(**_shared(row), name="", member={}, seeds=(), traceback=end.traceback))
        self._ledger.record(self._sweep, epochs, records)
        for row in rows:
            self._rows[row.number] = row
        self._ended += len(rows)

    def _members(self, row: Row) -> tuple[MemberConfig, ...]:
        return self._spec.members(row.parameters, confirming=row.confirms is not None)

    def _configuration(self, row: Row) -> Configuration:
        try:
            member = vars(self._members(row)[0])
        except ValueError:
            member = {**self._plan.base, **row.parameters}  # it will end as failed, with the reason
        return Configuration(
            name=name_of(row.arm, row.parameters),
            member={name: value for name, value in member.items() if name != "seed"},
            seeds=self._spec.seeds if row.confirms is None else self._spec.fresh_seeds,
            point=point(self._plan, row) if row.confirms is None and self._plan.space else None,
            **_shared(row),
        )

    @property
    def _whole_course(self) -> bool:
        """Whether more than the last epoch counts."""
        return any(o.epoch != LAST for o in self._objectives)

    def _courses(self, numbers: Sequence[int]) -> dict[int, dict[int, Metrics]]:
        """What has been recorded of the metrics of the objectives, by configuration and epoch."""
        courses: dict[int, dict[int, Metrics]] = {}
        for number, e in self._ledger.epochs(self._sweep, numbers) if self._whole_course else ():
            rows = (e.values[:, e.names.index(o.metric)].tolist() for o in self._objectives)
            courses.setdefault(number, {})[e.epoch] = tuple(map(tuple, rows))
        return courses

    def _hand_out(
        self,
        rows: Sequence[Row],
        objectives: Mapping[int, Mapping[int, float]],
        courses: Mapping[int, Mapping[int, Metrics]],
    ) -> None:
        """Queue configurations as packs of what can be trained together."""
        fit: dict[tuple[str, str], list[PackedConfiguration]] = {}
        failed: dict[int, tuple[End, Mapping[int, float]]] = {}
        for row in rows:
            try:
                members = self._members(row)
            except ValueError as error:
                failed[row.number] = End("failed", reason=str(error)), {}
                continue
            # A short word for what members trained together must share, the same in every process.
            shared = "|".join(map(str, kind_of(members[0], "cuda" if self._spec.resources.gpus else "cpu")))
            kind = hashlib.sha256(shared.encode()).hexdigest()[:6]
            known = objectives.get(row.number, {}), courses.get(row.number, {})
            packed = PackedConfiguration(row.number, members, *known)
            fit.setdefault((row.pack, kind), []).append(packed)
        if failed:
            self._write({}, failed)
        confirming = {row.pack for row in rows if row.confirms is not None}
        for (asked_as, kind), configurations in fit.items():
            self._waiting.append(
                Pack(
                    id=f"{asked_as}-{kind}",
                    configurations=tuple(configurations),
                    objectives=self._objectives,
                    epochs=self._plan.epochs,
                    # What the verdict rests on is trained to its end.
                    pruner=None if asked_as in confirming else self._plan.pruner,
                    history=history(self._plan, self._rows, asked_as, self._sweep.name),
                    digest=self._sweep.digests.get(configurations[0].members[0].data, ""),
                    packages=plugins.among(self._sweep.digests),
                )
            )


def row_of(c: Configuration, objectives: Mapping[int, float]) -> Row:
    """A configuration as samplers and pruners see it."""
    return Row(**_shared(c), intermediate=objectives if c.state != "running" else {})


def epoch_of(records: Sequence[EpochRecord], objective: float) -> Epoch:
    """One epoch of a configuration from its members' records, in the order of their seeds, and the first objective."""
    names = tuple(records[0].metrics)
    values = np.array([[r.metrics[name] for name in names] for r in records], dtype=np.float64)
    return Epoch(records[0].epoch, records[0].engine, names, values, objective)


def _shared(record: Row | Configuration) -> dict[str, Any]:
    """What a row and a configuration both have."""
    return {name: getattr(record, name) for name in _SHARED}
