"""The driver's side of a sweep: packs out, reports in, and both databases kept in step.

    >>> while (pack := books.next_pack()) is not None:
    ...     for report in train_pack(pack, books.states_file(pack.id)):
    ...         books.record(report)

Optuna's database is the truth about which configurations there are and how they ended, the spool about what they did.
Records are spooled before their configuration is told, and it is told before it is ended in the spool; both keep what
they have, so a driver that dies between any two writes leaves books that the next one closes: it starts by handing out
again, under the same pack ids, what was running.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from search_spaces.plan import SearchPlan
from search_spaces.search import Configuration, Counts, Search
from search_spaces.space import Value
from sweeps.driver.packs import End, Pack, PackedConfiguration, PackReport, end_of, mean
from sweeps.plan import pack_size
from sweeps.spec.reading import SweepSpec
from tracking.results import CONFIRM
from tracking.spool import Spool
from trainers.engines import kind_of
from trainers.errors import SweepStopped
from trainers.members import MemberConfig


@dataclass(frozen=True)
class Best:
    """The best complete configuration so far, by the first objective."""

    name: str
    value: float


@dataclass(frozen=True)
class Progress:
    """A sweep at one moment, for display; `epochs` are those of configurations, done and in all."""

    counts: Counts
    epochs: int
    epochs_in_all: int
    best: Best | None


class Books:
    """See the module. One thread writes; `progress` may be read from any.

    `states` is the folder in which workers keep the states of the packs in training.
    """

    def __init__(self, spec: SweepSpec, search: Search, spool: Spool, states: Path) -> None:
        self.states = states
        self._spec = spec
        self._plan: SearchPlan = spec.search_plan()
        self._pack_sizes = pack_size(spec), pack_size(spec, confirming=True)
        self._metrics = tuple(o.metric for o in spec.objective)
        begun = spool.sweep()
        self._digests = begun.digests if begun else {}
        self._search = search
        self._spool = spool
        self._waiting: deque[Pack] = deque()
        self._live: dict[str, Pack] = {}
        self._past: dict[int, dict[int, float]] = {}
        self._names: dict[int, str] = {}
        self._best: Best | None = None
        self._epochs = self._epochs_in_all = 0
        self._exhausted_at = -1  # how many had ended when there was nothing to ask for
        for ended in search.ended():
            # Told, but perhaps not ended in the spool when the driver died.
            spool.end(ended.number, ended.state, ended.values, ended.reason)
            if ended.confirms is None:
                self._consider(name_of(ended.arm, ended.parameters), ended.state, ended.values)
        running = search.running()
        self._counts = search.counts()
        self._hand_out(running)
        self._end_what_is_booked()
        self._forget_what_is_through()

    @property
    def progress(self) -> Progress:
        """How far the sweep is."""
        left = self._counts.total - self._counts.ended - self._counts.running
        return Progress(self._counts, self._epochs, self._epochs_in_all + left * self._plan.epochs, self._best)

    def next_pack(self) -> Pack | None:
        """The next pack to train; None where all have been handed out."""
        while not self._waiting:
            if self._exhausted_at == self._counts.ended:
                return None
            # A pack asked for is named after its first configuration.
            size = self._pack_sizes[self._counts.ended >= self._plan.searching]
            asked = self._search.ask(size, f"p{self._counts.ended + self._counts.running:05d}")
            # How many there are to confirm is known when the search has ended.
            self._counts = replace(self._counts, running=self._counts.running + len(asked), total=self._search.total())
            if not asked:
                self._exhausted_at = self._counts.ended
                return None
            self._hand_out(asked)
        pack = self._waiting.popleft()
        self._live[pack.id] = pack
        return pack

    @property
    def more_later(self) -> bool:
        """Whether there may be packs though there is none now: confirmations, or what is in training comes back."""
        return bool(self._live)

    @property
    def waiting(self) -> set[str]:
        """The packs to be handed out next, as far as they are known."""
        return {pack.id for pack in self._waiting}

    def reissue(self, pack: str) -> Pack:
        """A pack as it is now, for another worker: what is left of it, with what has been seen of that."""
        live = self._live.get(pack, Pack(pack, (), self._metrics))
        return replace(
            live,
            configurations=tuple(replace(c, past=dict(self._past[c.number])) for c in live.configurations),
        )

    def hand_back(self, pack: str) -> None:
        """What is left of a pack is to be handed out again, before any other."""
        if pack in self._live:
            self._waiting.appendleft(self.reissue(pack))
            del self._live[pack]

    def states_file(self, pack: str) -> Path:
        """What the files of a pack's states begin with while it is in training."""
        return self.states / f"{pack}.npz"

    def record(self, report: PackReport) -> None:
        """Book one epoch of a pack; what is known already changes nothing. Raises SweepStopped where it says so."""
        if report.stop:
            raise SweepStopped(report.stop)
        pack = self._live.get(report.pack)
        if pack is None:
            return
        booked = {c.number: rs for c in pack.configurations if (rs := report.records.get(c.number, ()))}
        self._spool.add_all(booked)
        for number, records in booked.items():
            past = self._past[number]
            self._epochs += report.epoch > 0 and report.epoch not in past
            past[report.epoch] = mean(records, self._metrics[0])
        self._end(pack, {c.number: report.ended[c.number] for c in pack.configurations if c.number in report.ended})

    def give_up(self, pack: str, reason: str) -> None:
        """End what is left of a pack as failed: no worker could train it."""
        if live := self._live.get(pack):
            self._end(live, {c.number: End("failed", reason=reason) for c in live.configurations})

    def _end(self, pack: Pack, ends: Mapping[int, End]) -> None:
        for c in pack.configurations:
            if end := ends.get(c.number):
                past = self._past.pop(c.number)
                self._tell(c.number, end, past)
                self._epochs_in_all -= c.members[0].epochs - max(past, default=0)
                if name := self._names.pop(c.number, ""):
                    self._consider(name, end.state, end.values)
        left = tuple(c for c in pack.configurations if c.number not in ends)
        if left:
            self._live[pack.id] = replace(pack, configurations=left)
        else:
            del self._live[pack.id]
            # With what a worker that was killed while it wrote has left beside it.
            for file in self.states.glob(f"{pack.id}.npz*"):
                file.unlink(missing_ok=True)

    def _tell(self, number: int, end: End, past: Mapping[int, float]) -> None:
        self._search.tell(
            number,
            end.state,
            end.values,
            reason=end.reason,
            intermediate=past if self._plan.pruner else {},
            pruner_attributes=end.pruner_attributes,
        )
        self._spool.end(number, end.state, end.values, end.reason)
        now = getattr(self._counts, end.state) + 1
        self._counts = replace(self._counts, running=self._counts.running - 1, **{end.state: now})

    def _consider(self, name: str, state: str, values: tuple[float, ...] | None) -> None:
        sign = 1 if self._plan.goals[0] == "maximize" else -1
        best = sign * self._best.value if self._best else -math.inf
        if state == "complete" and values and sign * values[0] > best:
            self._best = Best(name, values[0])

    def _end_what_is_booked(self) -> None:
        """End what the last driver had booked to its end when it died, before it could tell: nothing is left to train.

        With a pruner it is trained for one more epoch instead, for what the pruner notes of it.
        """
        for _ in range(len(self._waiting)):
            pack = self._waiting.popleft()
            booked = [c for c in pack.configurations if c.past and not pack.pruner]
            ends = {c.number: end_of(pack, None, c.number, self._spool.last_records(c.number)) for c in booked}
            self._live[pack.id] = pack
            self._end(pack, {number: end for number, end in ends.items() if end})
            if left := self._live.pop(pack.id, None):
                self._waiting.append(left)

    def _forget_what_is_through(self) -> None:
        """Delete states that a driver left which died when their pack had ended."""
        for file in self.states.glob("*.npz*"):
            if file.name.partition(".npz")[0] not in self.waiting:
                file.unlink(missing_ok=True)

    def _hand_out(self, configurations: Sequence[Configuration]) -> None:
        """Queue configurations as packs of what can be trained together."""
        fit: dict[tuple[str, str], list[PackedConfiguration]] = {}
        for c in configurations:
            self._past[c.number] = {}
            try:
                members = self._spec.members(c.parameters, confirming=c.confirms is not None)
            except ValueError as error:
                self._tell(c.number, End("failed", reason=str(error)), {})
                continue
            name = name_of(c.arm, c.parameters)
            if c.confirms is None:
                self._names[c.number] = name
                self._spool.start(c.number, c.arm, name, members)
            else:
                # An arm's name stands for its own records alone.
                self._spool.start(c.number, "", f"{CONFIRM}{name}", members)
            past = self._past[c.number] = self._spool.means(c.number, self._metrics[0])
            self._epochs += max(past, default=0)
            self._epochs_in_all += members[0].epochs
            fit.setdefault((c.pack, _kind(members[0], "cuda" if self._spec.resources.gpus else "cpu")), []).append(
                PackedConfiguration(c.number, members, past)
            )
        confirming = {c.pack for c in configurations if c.confirms is not None}
        for (asked_as, kind), members_ in fit.items():
            self._waiting.append(
                Pack(
                    id=f"{asked_as}-{kind}",
                    configurations=tuple(members_),
                    metrics=self._metrics,
                    goal=self._plan.goals[0],
                    epochs=self._plan.epochs,
                    # What the verdict rests on is trained to its end.
                    pruner=None if asked_as in confirming else self._plan.pruner,
                    history=self._search.history(asked_as),
                    digest=self._digests.get(members_[0].members[0].data, ""),
                )
            )


def name_of(arm: str, parameters: Mapping[str, Value]) -> str:
    """What a configuration is called: its arm's name, or what was searched, as `alpha=2 r=0.01`."""
    if arm:
        return arm
    return " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in parameters.items())


def _kind(member: MemberConfig, device: str) -> str:
    """A short word for what members trained together must share, the same in every process."""
    shared = "|".join(map(str, kind_of(member, device)))
    return hashlib.sha256(shared.encode()).hexdigest()[:6]
