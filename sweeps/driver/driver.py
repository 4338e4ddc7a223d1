"""The driver's side of a sweep: packs out, reports in, and every step in the ledger before anything follows from it.

    >>> while (pack := driver.next_pack()) is not None:
    ...     for report in train_pack(pack, driver.states_file(pack.id)):
    ...         driver.record(report)

A pack is in the ledger before it is handed out, and a report, records and ends, is one transaction. So a driver that
starts again has nothing to repair: it hands out what has not ended, under the same pack ids.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.plan import Row, SearchPlan
from search_spaces.search import Counts, ask, counts, ended, history, total
from search_spaces.space import Value
from search_spaces.suggest import point
from sweeps.driver.packs import End, Pack, PackedConfiguration, PackReport, mean
from sweeps.plan import pack_size
from sweeps.spec.reading import SweepSpec
from tracking.ledger import Ledger
from tracking.types import Configuration, Epoch, Sweep
from trainers.engines import kind_of
from trainers.errors import SweepStopped
from trainers.members import EpochRecord, MemberConfig

_SHARED = sorted({f.name for f in fields(Row)} & {f.name for f in fields(Configuration)})


@dataclass(frozen=True)
class Best:
    """The best complete configuration so far, by the first objective."""

    name: str
    value: float


@dataclass(frozen=True)
class Progress:
    """A sweep at one moment, for display; `epochs` are those of configurations, so far and in all."""

    counts: Counts
    epochs: int
    epochs_in_all: int
    best: Best | None


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
        self._metrics = tuple(o.metric for o in spec.objective)
        self._ledger = ledger
        self._sweep = sweep
        self._waiting: deque[Pack] = deque()
        self._live: dict[str, Pack] = {}
        self._best: Best | None = None
        self._exhausted_at = -1  # how many had ended when there was nothing to ask for
        objectives = ledger.objectives(sweep)
        configurations = ledger.configurations(sweep)
        self._rows = [row_of(c, objectives.get(c.number, {})) for c in configurations]
        self._names = {c.number: c.name for c in configurations if c.confirms is None}
        self._past = {row.number: objectives.get(row.number, {}) for row in self._rows if row.state == "running"}
        self._counts = counts(self._plan, self._rows)
        for row in self._rows:
            self._consider(row)
        self._epochs = sum(max(past, default=0) for past in objectives.values())
        self._epochs_in_all = self._epochs
        self._hand_out([row for row in self._rows if row.state == "running"])
        for file in self.states.glob("*.npz*"):
            # Of a pack that has ended, left by a driver that died before it could delete them.
            if file.name.partition(".npz")[0] not in self.waiting:
                file.unlink(missing_ok=True)

    @property
    def progress(self) -> Progress:
        """How far the sweep is."""
        left = self._counts.total - self._counts.ended - self._counts.running
        return Progress(self._counts, self._epochs, self._epochs_in_all + left * self._plan.epochs, self._best)

    def failures(self) -> list[str]:
        """The reason of each configuration that failed."""
        return [row.reason for row in self._rows if row.state == "failed"]

    def next_pack(self) -> Pack | None:
        """The next pack to train; None if there is none now."""
        while not self._waiting:
            if self._exhausted_at == self._counts.ended:
                return None
            # A pack is named after its first configuration.
            size = self._pack_sizes[self._counts.ended >= self._plan.searching]
            asked = ask(self._plan, self._rows, size, f"p{len(self._rows):05d}")
            if not asked:
                self._exhausted_at = self._counts.ended
                return None
            self._add(asked)
            self._hand_out(asked)
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
        live = self._live.get(pack, Pack(pack, (), self._metrics))
        return replace(
            live, configurations=tuple(replace(c, past=dict(self._past[c.number])) for c in live.configurations)
        )

    def hand_back(self, pack: str) -> None:
        """Hand out what is left of a pack again, before any other."""
        if pack in self._live:
            self._waiting.appendleft(self.reissue(pack))
            del self._live[pack]

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
        numbers = [c.number for c in pack.configurations]
        records = {n: report.records[n] for n in numbers if report.records.get(n)}
        self._write(pack, records, {n: report.ended[n] for n in numbers if n in report.ended})

    def give_up(self, pack: str, reason: str, traceback: str = "") -> None:
        """End what is left of a pack as failed: no worker could train it."""
        if live := self._live.get(pack):
            failed = End("failed", reason=reason, traceback=traceback)
            self._write(live, {}, {c.number: failed for c in live.configurations})

    def _write(self, pack: Pack, records: Mapping[int, tuple[EpochRecord, ...]], ends: Mapping[int, End]) -> None:
        epochs = {number: epoch_of(of_seeds, self._metrics[0]) for number, of_seeds in records.items()}
        past = {n: self._past[n] | ({e.epoch: e.objective} if (e := epochs.get(n)) else {}) for n in (*epochs, *ends)}
        rows = {n: self._ended(n, end, past[n], i) for i, (n, end) in enumerate(ends.items())}
        self._ledger.record(self._sweep, epochs, [_end(row, ends[n].traceback) for n, row in rows.items()])
        self.trained = True
        for number, epoch in epochs.items():
            self._epochs += epoch.epoch > 0 and epoch.epoch not in self._past[number]
            self._past[number] = past[number]
        for row in rows.values():
            self._update(row)
        if left := tuple(c for c in pack.configurations if c.number not in ends):
            self._live[pack.id] = replace(pack, configurations=left)
        else:
            del self._live[pack.id]
            # With what a worker that was killed while it wrote has left beside it.
            for file in self.states.glob(f"{pack.id}.npz*"):
                file.unlink(missing_ok=True)
        for c in pack.configurations:
            if c.number in ends:
                self._epochs_in_all -= c.members[0].epochs - max(past[c.number], default=0)

    def _ended(self, number: int, end: End, past: Mapping[int, float], after: int) -> Row:
        return ended(
            self._rows[number],
            end.state,
            end.values,
            reason=end.reason,
            order=self._counts.ended + after,
            intermediate=past if self._plan.pruner else {},
            pruner_attributes=end.pruner_attributes,
            goals=len(self._plan.goals),
        )

    def _update(self, row: Row) -> None:
        """A configuration has ended, and the ledger has it."""
        self._rows[row.number] = row
        self._past.pop(row.number, None)
        now = getattr(self._counts, row.state) + 1
        self._counts = replace(self._counts, running=self._counts.running - 1, **{row.state: now})
        self._consider(row)

    def _consider(self, row: Row) -> None:
        sign = 1 if self._plan.goals[0] == "maximize" else -1
        best = sign * self._best.value if self._best else -math.inf
        if row.state == "complete" and row.confirms is None and row.values and sign * row.values[0] > best:
            self._best = Best(self._names[row.number], row.values[0])

    def _add(self, rows: Sequence[Row]) -> None:
        configurations = []
        for row in rows:
            try:
                fields = self._members(row)[0].__dict__
            except ValueError:
                fields = {**self._plan.base, **row.parameters}  # it will end as failed, with the reason
            configurations.append(self._configuration(row, fields))
        self._ledger.add(self._sweep, configurations)
        self._rows += rows
        self._names |= {c.number: c.name for c in configurations if c.confirms is None}
        self._past |= {row.number: {} for row in rows}
        # How many there are to confirm is known when the search has ended.
        running = self._counts.running + len(rows)
        self._counts = replace(self._counts, running=running, total=total(self._plan, self._rows))

    def _members(self, row: Row) -> tuple[MemberConfig, ...]:
        return self._spec.members(row.parameters, confirming=row.confirms is not None)

    def _configuration(self, row: Row, fields: Mapping[str, Any]) -> Configuration:
        return Configuration(
            name=name_of(row.arm, row.parameters),
            member={name: value for name, value in fields.items() if name != "seed"},
            seeds=self._spec.seeds if row.confirms is None else self._spec.fresh_seeds,
            point=point(self._plan, row) if row.confirms is None and self._plan.space else None,
            **_shared(row),
        )

    def _hand_out(self, rows: Sequence[Row]) -> None:
        """Queue configurations as packs of what can be trained together."""
        fit: dict[tuple[str, str], list[PackedConfiguration]] = {}
        failed: list[Row] = []
        for row in rows:
            try:
                members = self._members(row)
            except ValueError as error:
                failed.append(self._ended(row.number, End("failed", reason=str(error)), {}, len(failed)))
                continue
            past = self._past[row.number]
            self._epochs_in_all += members[0].epochs - max(past, default=0)
            key = (row.pack, _kind(members[0], "cuda" if self._spec.resources.gpus else "cpu"))
            fit.setdefault(key, []).append(PackedConfiguration(row.number, members, dict(past)))
        if failed:
            self._ledger.record(self._sweep, {}, [_end(row) for row in failed])
            for row in failed:
                self._update(row)
        confirming = {row.pack for row in rows if row.confirms is not None}
        for (asked_as, kind), configurations in fit.items():
            self._waiting.append(
                Pack(
                    id=f"{asked_as}-{kind}",
                    configurations=tuple(configurations),
                    metrics=self._metrics,
                    goal=self._plan.goals[0],
                    epochs=self._plan.epochs,
                    # What the verdict rests on is trained to its end.
                    pruner=None if asked_as in confirming else self._plan.pruner,
                    history=history(self._plan, self._rows, asked_as, self._sweep.name),
                    digest=self._sweep.digests.get(configurations[0].members[0].data, ""),
                )
            )


def row_of(c: Configuration, objectives: Mapping[int, float]) -> Row:
    """A configuration as samplers and pruners see it."""
    return Row(**_shared(c), intermediate=objectives if c.state != "running" else {})


def epoch_of(records: Sequence[EpochRecord], objective: str) -> Epoch:
    """One epoch of a configuration from its members' records, in the order of their seeds."""
    names = tuple(records[0].metrics)
    values = np.array([[r.metrics[name] for name in names] for r in records], dtype=np.float64)
    return Epoch(records[0].epoch, records[0].engine, names, values, mean(records, objective))


def name_of(arm: str, parameters: Mapping[str, Value]) -> str:
    """What a configuration is called: its arm's name, or what was searched, as `alpha=2 r=0.01`."""
    if arm:
        return arm
    return " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in parameters.items())


def _end(row: Row, traceback: str = "") -> Configuration:
    return Configuration(**_shared(row), name="", member={}, seeds=(), traceback=traceback)


def _shared(record: Row | Configuration) -> dict[str, Any]:
    """What a row and a configuration both have."""
    return {name: getattr(record, name) for name in _SHARED}


def _kind(member: MemberConfig, device: str) -> str:
    """A short word for what members trained together must share, the same in every process."""
    shared = "|".join(map(str, kind_of(member, device)))
    return hashlib.sha256(shared.encode()).hexdigest()[:6]
