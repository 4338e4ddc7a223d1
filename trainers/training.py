"""The training loop: an array of members, epoch by epoch, as a stream of records.

    >>> training = train([MemberConfig(seed=s, r=0.01) for s in range(5)])
    >>> for record in training:
    ...     print(record.epoch, record.member.seed, record.metrics["validation.accuracy"])

What a member's numbers are depends on nothing but the member: not on the others, not on threads, not on having been
interrupted and resumed.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from importlib import import_module
from typing import Protocol

from trainers import metrics, plugins
from trainers.data import load
from trainers.data.dataset import Dataset
from trainers.engines import kind_of, resolve
from trainers.layers import Layer, parameter_count
from trainers.members import SHARED, EpochRecord, MemberConfig, measured_at
from trainers.members import layers_of as layers_of
from trainers.regimes import NETWORK
from trainers.states import MemberState, States, initial_state
from trainers.statistics import Probe, layer_statistics

log = logging.getLogger("gradsweep")

PROBED = 256  # members at a time: the gradients of thousands would take as much memory as the networks


class Engine(Protocol):
    """What does the arithmetic: an array of members in, an answer per member out, in the same order."""

    name: str
    layers: tuple[Layer, ...]

    def train_epoch(self, states: Sequence[MemberState]) -> list[tuple[MemberState, float, float]]:
        """States one epoch on, mean loss and accuracy over the epoch's batches."""

    def evaluate(self, states: Sequence[MemberState], split: str) -> list[tuple[float, float]]:
        """Mean loss and accuracy on the split train, validation or test."""

    def probe(self, states: Sequence[MemberState]) -> list[Probe]:
        """The data gradient and the layers' saturated and dead units on the probe images."""

    def statistics(self, states: Sequence[MemberState], before: Sequence[MemberState]) -> list[dict[str, float]]:
        """Everything of `trainers.metrics.names` that comes from a probe; `before` are the states an epoch ago."""
        every: list[dict[str, float]] = []
        for first in range(0, len(states), PROBED):
            part = slice(first, first + PROBED)
            every += layer_statistics(self.layers, states[part], before[part], self.probe(states[part]))
        return every


class Training(Iterator[EpochRecord]):
    """The stream of records of one array of members; see `train`."""

    def __init__(
        self,
        states: Sequence[MemberState],
        engine: Engine,
        measured: Callable[[Sequence[MemberState]], list[dict[str, float]]] = lambda states: [{} for _ in states],
        resumed: Container[MemberConfig] = frozenset(),
    ) -> None:
        """Of the `resumed` members every epoch up to that of their states has been recorded, epoch 0 included."""
        self._states = list(states)
        self._resumed = resumed
        self._engine = engine
        self._measured = measured
        self._waiting: deque[EpochRecord] = deque()
        self._begun = False

    def __next__(self) -> EpochRecord:
        if not self._waiting:
            self._next_epoch()
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()

    def state(self) -> States:
        """The states of all members still in training, after their last completed epoch."""
        return tuple(self._states)

    def drop(self, *members: MemberConfig) -> None:
        """Train these members no further: they leave the array at once, and cost nothing from then on."""
        gone = frozenset(members)
        self._states = [s for s in self._states if s.member not in gone]
        self._waiting = deque(r for r in self._waiting if r.member not in gone)

    def _next_epoch(self) -> None:
        """The records of all members' next epoch; whatever ends it before they are there leaves it to be done again.

        The first is epoch 0, before the first step: the gradient at the start is half of the story.
        """
        started = time.perf_counter()
        engine = self._engine
        fresh = [] if self._begun else [s for s in self._states if s.epoch == 0 and s.member not in self._resumed]
        before = fresh or [s for s in self._states if s.epoch < s.member.epochs]
        if not before:
            return
        if fresh:
            after, going_on, train = fresh, self._states, engine.evaluate(fresh, "train")
        else:
            trained = engine.train_epoch(before)
            after = going_on = [state for state, *_ in trained]
            train = [(loss, accuracy) for _, loss, accuracy in trained]
        validation, test = engine.evaluate(after, "validation"), engine.evaluate(after, "test")
        gradients, measured = engine.statistics(after, before), self._measured(after)
        seconds = (time.perf_counter() - started) / len(after)
        asked = {measured_at(state.member, state.epoch) for state in after}
        names = {measure: metrics.names(engine.layers, measure) for measure in asked}
        records: deque[EpochRecord] = deque()
        for i, state in enumerate(after):
            splits = dict(zip(metrics.SPLITS, (*train[i], *validation[i], test[i][1]), strict=True))
            values = splits | gradients[i] | measured[i] | {"seconds": seconds}
            own = {name: values[name] for name in names[measured_at(state.member, state.epoch)]}
            records.append(EpochRecord(state.member, state.epoch, engine.name, own))
        gone = {r.member for r in records if r.diverged}
        going_on = [s for s in going_on if s.member not in gone]
        # No call between these: an interrupt finds all of them or none.
        self._states, self._waiting, self._begun = going_on, records, True


def train(
    members: Sequence[MemberConfig],
    resume: Sequence[MemberState] = (),
    *,
    device: str = "cpu",
    threads: int = 1,
) -> Training:
    """Train an array of members and yield an `EpochRecord` per member and epoch, epoch by epoch from 0.

    The members may differ in all but their network and `SHARED`, which decides the data and the batches. `resume` holds
    the states (`Training.state`) from which members go on; those without one start anew. A member whose loss is no
    longer finite leaves after that record; `Training.drop` prunes one. `device` is PyTorch's name of one, `threads`
    how many cores to use. Raises ValueError for members that can't be trained together, or not by the engine that
    they ask for, and for states of another network, DataError for the data, PluginError for what a package adds.
    """
    if not members:
        raise ValueError("members must not be empty")
    plugins.check(metrics.LAYER_METRICS, metrics.NETWORK_METRICS)
    if threads < 1:
        raise ValueError(f"threads must be at least 1, but got {threads}")
    for name, *values in zip(
        (*SHARED, "the network", "the engine"), *{kind_of(m, device) for m in members}, strict=True
    ):
        if len(set(values)) > 1:
            what = sorted(set(map(str, values)))
            if name == "the network":
                what = [n for n in ("regime", *NETWORK, "learn_alpha", "activation") if _differ(members, n)]
            raise ValueError(f"members trained together must share {name}, but got {what}")
    dataset = load(members[0].data, members[0].holdout)
    layers = layers_of(members[0], len(dataset.classes))
    known = {s.member: s for s in resume}
    states = [known.get(m) or initial_state(m, layers, dataset) for m in members]
    if not all(s.trainable for s in states):
        raise ValueError("states to resume must have what the optimizer keeps, but one has the weights alone")
    size = parameter_count(layers)
    if wrong := {len(s.parameters) for s in states} - {size}:
        had = min(wrong)
        raise ValueError(f"states to resume must be of the members' network, {size} parameters, but one has {had}")
    engine = _engine(members[0], layers, dataset, device, threads)
    return Training(states, engine, partial(_measured, layers, dataset, threads), known.keys())


def _measured(
    layers: tuple[Layer, ...], dataset: Dataset, threads: int, states: Sequence[MemberState]
) -> list[dict[str, float]]:
    """What each member asks to have measured at its epoch. PyTorch is imported only if a member asks for anything."""
    if not any(measured_at(s.member, s.epoch) for s in states):
        return [{} for _ in states]
    from trainers.measurements.subject import measured

    return measured(states, layers, dataset, threads)


def _differ(members: Sequence[MemberConfig], field: str) -> bool:
    return len({getattr(member, field) for member in members}) > 1


def _engine(member: MemberConfig, layers: tuple[Layer, ...], dataset: Dataset, device: str, threads: int) -> Engine:
    """The engine that trains members like this one."""
    name, reason = resolve(member, device, len(dataset.classes))
    if reason:
        # whoever asks for a device asks for its speed
        log.log(logging.INFO if device == "cpu" else logging.WARNING, "trained by the reference engine: %s", reason)
    module, kind = {
        "lanes": ("lanes.engine", "LaneEngine"),
        "cuda": ("cuda.engine", "CudaEngine"),
        "reference": ("reference", "ReferenceEngine"),
    }[name]
    # imported here: the others bring PyTorch, which the lane engine does not need
    made: Engine = getattr(import_module(f"trainers.{module}"), kind)(layers, dataset, device, threads)
    return made
