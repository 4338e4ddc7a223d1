"""The driver's side of a sweep: packs out, reports in, and every step in the ledger before anything follows from it.

    >>> while (pack := driver.next_pack()) is not None:
    ...     for report in train_pack(pack, driver.states_file(pack.id)):
    ...         driver.record(report)

A pack is in the ledger before it is handed out, and a report, records and ends, is one transaction. So a driver that
starts again has nothing to repair: it hands out what has not ended, under the same pack ids.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import ask, ended, history, search_has_ended, whole
from search_spaces.suggest import point
from sweeps.driver.extension import lacking
from sweeps.driver.kept import Kept
from sweeps.driver.packs import End, Metrics, Pack, PackedConfiguration, PackReport, metrics_of
from sweeps.driver.progress import Progress, name_of, progress_of
from sweeps.plan import pack_size
from sweeps.spec.reading import SweepSpec
from tracking.extended import as_one, chains, state_of
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

    `states` is the folder in which workers keep the states of the packs in training, `kept` what is kept of complete
    configurations; `earlier` is what the sampler is told before any result. `trained` says whether anything has been
    recorded since this driver started. Where its time is limited (`resources.within`), it hands out nothing once that
    is up, and an executor trains no further epoch.
    """

    def __init__(
        self, spec: SweepSpec, ledger: Ledger, sweep: Sweep, states: Path, kept: Kept, earlier: tuple[Row, ...] = ()
    ) -> None:
        self.states = states
        self.trained = False
        self._until = time.monotonic() + (spec.resources.within or math.inf)
        self._spec = spec
        self._plan: SearchPlan = replace(spec.search_plan(), earlier=earlier)
        self._pack_sizes = pack_size(spec), pack_size(spec, confirming=True)
        self._objectives = tuple(spec.objectives)
        self._ledger = ledger
        self._sweep = sweep
        self.kept = kept
        self._waiting: deque[Pack] = deque()
        self._live: dict[str, Pack] = {}
        self._exhausted_at = -1  # how many had ended when there was nothing to ask for
        self._configurations: list[Configuration] = []
        self._rows: list[Row] = []
        self._families: dict[int, list[int]] = {}
        self._first: dict[object, int] = {}  # what a configuration trains -> the first that does
        self._copies: list[int] = []  # which wait for the records of the first
        objectives = ledger.objectives(sweep)
        for c in ledger.configurations(sweep):
            self._note(c, objectives.get(c.number, {}))
        running = [c for c in self._configurations if c.state == "running"]
        self._ended = len(self._rows) - len(running)
        # For `progress`: the first objective by epoch, and the last epoch, of each configuration.
        self._by_epoch = {number: {**past} for number, past in objectives.items()}
        self._reached = {number: max(past) for number, past in objectives.items() if past}
        self._hand_out(running)
        self._follow([*self._families])
        for file in self.states.glob("*.npz*"):
            # Of a pack that has ended, left by a driver that died before it could delete them.
            if file.name.partition(".npz")[0] not in self.waiting:
                file.unlink(missing_ok=True)

    @property
    def progress(self) -> Progress:
        """How far the sweep is."""
        # Copied at once: the thread that records goes on.
        configurations, reached = self._configurations.copy(), self._reached.copy()
        rows = self._rows[: len(configurations)]
        return progress_of(self._spec, self._plan, configurations[: len(rows)], rows, reached, self._objectives_of)

    def _objectives_of(self, numbers: Sequence[int]) -> dict[int, dict[int, float]]:
        """The first objective by epoch, of these configurations."""
        return {number: self._by_epoch.get(number, {}).copy() for number in numbers}

    def failures(self) -> list[str]:
        """The reason of each configuration that failed."""
        return [row.reason for row in self._rows if row.state == "failed"]

    def next_pack(self) -> Pack | None:
        """The next pack to train; None if there is none now."""
        if self.time_is_up:
            return None
        while not self._waiting:
            if self._exhausted_at == self._ended:
                return None
            size = self._pack_sizes[search_has_ended(self._plan, self._rows)]
            # A pack is named after its first configuration.
            asked = ask(self._plan, self._rows, size, f"p{len(self._rows):05d}")
            if not asked:
                self._exhausted_at = self._ended
                return None
            self._add([self._configuration(row) for row in asked])
            self._follow()
        pack = self._waiting.popleft()
        self._live[pack.id] = pack
        return pack

    @property
    def more_later(self) -> bool:
        """Whether packs may follow though there is none now: confirmations, or what a lost worker was training."""
        return bool(self._live) and not self.time_is_up

    @property
    def time_is_up(self) -> bool:
        """Whether this driver has had its time."""
        return time.monotonic() >= self._until

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
        self._follow([n if (head := self._configurations[n].extends) is None else head for n in ends])
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
            records.append(replace(self._configurations[number], **_shared(row), traceback=end.traceback))
        self._ledger.record(self._sweep, epochs, records)
        for number, recorded in epochs.items():
            self._by_epoch.setdefault(number, {}).setdefault(recorded.epoch, recorded.objective)
            self._reached[number] = max(recorded.epoch, self._reached.get(number, -1))
        for row, c in zip(rows, records, strict=True):
            self._rows[c.number], self._configurations[c.number] = row, c
        self._ended += len(rows)

    def _configuration(self, row: Row) -> Configuration:
        """What the ledger has of something that was asked for."""
        seeds = self._spec.seeds if row.confirms is None else self._spec.fresh_seeds
        try:
            member = vars(self._spec.member(row.parameters, seeds[0]))
        except ValueError:
            member = {**self._plan.base, **row.parameters}  # it will end as failed, with the reason
        return Configuration(
            name=name_of(row.arm, row.parameters),
            member={name: value for name, value in member.items() if name != "seed"},
            point=point(self._plan, row) if row.confirms is None and self._plan.space else None,
            **_shared(row) | {"seeds": seeds},
        )

    def _add(self, new: Sequence[Configuration]) -> None:
        """Configurations that are new in the sweep: into the ledger, then out as packs."""
        new = [
            self._note(c if c.extends is not None else replace(c, same_as=self._first.get(_trains([c])))) for c in new
        ]
        self._ledger.add(self._sweep, new)
        self._hand_out(new)

    def _note(self, c: Configuration, objectives: Mapping[int, float] = {}) -> Configuration:
        self._configurations.append(c)
        self._rows.append(row_of(c, objectives))
        head = c.number if c.extends is None else c.extends
        self._families.setdefault(head, []).append(c.number)
        if self._configurations[head].same_as is None:
            self._first.setdefault(_trains(self._family(head)), head)
        return c

    def _family(self, head: int) -> list[Configuration]:
        return [self._configurations[number] for number in self._families[head]]

    def _follow(self, heads: Sequence[int] = ()) -> None:
        """What follows from ends: what extends these configurations, and copies that take over the records."""
        more = [c for head in heads for c in lacking(self._spec, self._family(head), self.kept)]
        size = self._pack_sizes[0]
        first = len(self._rows)
        numbered = [
            replace(c, number=number, pack=f"p{number - (number - first) % size:05d}")
            for number, c in enumerate(more, first)
        ]
        if numbered:
            self._add(numbered)
        for number in self._copies[:]:
            c = self._configurations[number]
            family = self._family(c.same_as if c.same_as is not None else number)
            if state_of(family) != "running":
                self._copies.remove(number)
                self._take_over(c, family)

    def _take_over(self, copy: Configuration, family: Sequence[Configuration]) -> None:
        """Give a configuration the records and the end of one whose members are equal."""
        epochs: dict[int, list[Epoch]] = {}
        for number, epoch in self._ledger.epochs(self._sweep, [c.number for c in family]):
            epochs.setdefault(number, []).append(epoch)
        records = as_one(family, epochs, copy.seeds)
        (of,) = whole([self._rows[c.number] for c in family])
        end = End(of.state, of.values, of.reason, of.pruner_attributes, family[0].traceback)
        past = {e.epoch: e.objective for e in records}
        for e in records[copy.epoch + 1 :]:
            self._write({copy.number: e}, {copy.number: (end, past)} if e is records[-1] else {})
        if self._rows[copy.number].state == "running":
            self._write({}, {copy.number: (end, past)})

    @property
    def _whole_course(self) -> bool:
        """Whether more than the last epoch counts."""
        return any(o.epoch != LAST for o in self._objectives)

    def _recorded(self, c: Configuration) -> tuple[dict[int, float], dict[int, Metrics]]:
        """The first objective and the metrics of the objectives by epoch, as far as they are recorded.

        Of what it goes on from, where it trains more epochs.
        """
        if c.epoch < 0 and c.after < 0:
            return {}, {}
        numbers = [part.number for part in (self._chain(c) if c.after >= 0 else [c])]
        past = {epoch: value for number in numbers for epoch, value in self._by_epoch.get(number, {}).items()}
        courses: dict[int, Metrics] = {}
        for number, e in self._ledger.epochs(self._sweep, numbers) if self._whole_course else ():
            order = [self._configurations[number].seeds.index(seed) for seed in c.seeds]
            rows = (e.values[order, e.names.index(o.metric)].tolist() for o in self._objectives)
            courses[e.epoch] = tuple(map(tuple, rows))
        return past, courses

    def _hand_out(self, configurations: Sequence[Configuration]) -> None:
        """Queue configurations as packs of what can be trained together; copies wait for what they are copies of."""
        fit: dict[tuple[str, str], list[PackedConfiguration]] = {}
        failed: dict[int, tuple[End, Mapping[int, float]]] = {}
        for c in configurations:
            if c.same_as is not None:
                self._copies.append(c.number)
                continue
            try:
                members = tuple(MemberConfig(**c.member, seed=seed) for seed in c.seeds)
            except ValueError as error:
                failed[c.number] = End("failed", reason=str(error)), {}
                continue
            # A short word for what members trained together must share, the same in every process.
            shared = "|".join(map(str, kind_of(members[0], "cuda" if self._spec.resources.gpus else "cpu")))
            kind = hashlib.sha256(shared.encode()).hexdigest()[:6]
            before = None
            if c.after >= 0:
                kind += f"-{c.after}"
                before = self._chain(c)[-2].number
            packed = PackedConfiguration(c.number, members, *self._recorded(c), before=before)
            fit.setdefault((c.pack, kind), []).append(packed)
        if failed:
            self._write({}, failed)
        # What the verdict rests on, and what is extended, is trained to its end.
        to_the_end = {c.pack for c in configurations if c.confirms is not None or c.extends is not None}
        for (asked_as, kind), packed_together in fit.items():
            self._waiting.append(
                Pack(
                    id=f"{asked_as}-{kind}",
                    configurations=tuple(packed_together),
                    objectives=self._objectives,
                    epochs=self._plan.epochs,
                    pruner=None if asked_as in to_the_end else self._plan.pruner,
                    history=history(self._plan, self._rows, asked_as, self._sweep.name),
                    digest=self._sweep.digests.get(packed_together[0].members[0].data, ""),
                    packages=plugins.among(self._sweep.digests),
                )
            )

    def _chain(self, c: Configuration) -> list[Configuration]:
        """What has the epochs of a configuration's seeds from the first on, the last of it this one."""
        family = self._family(c.number if c.extends is None else c.extends)
        return next(chain for chain, seeds in chains(family) if set(seeds) == set(c.seeds))


def _trains(family: Sequence[Configuration]) -> object:
    """What is equal for two configurations that train the same members, to the bit."""
    seeds = frozenset(seed for c in family for seed in c.seeds)
    return family[0].phase, seeds, json.dumps(family[-1].member, sort_keys=True)


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
