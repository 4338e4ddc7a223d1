"""The CUDA engine behind `trainers.train`: states in, states out, with the kernels doing the work.

>>> applies(layers, "cuda")     # None, or why it has to be the reference engine
>>> engine = CudaEngine(layers, dataset, "cuda", threads=1)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.cuda import interpreted, memory, missing
from trainers.cuda.array import Array, Workshop, resident
from trainers.cuda.plan import DEVICE, INTERPRETED, plan_of, refusal
from trainers.cuda.statistics import TORCH
from trainers.data.dataset import Dataset
from trainers.layers import IMAGE, Layer
from trainers.states import MemberState
from trainers.statistics import Probe, by_member, columns, statistics
from trainers.streams import order_of_images

log = logging.getLogger("gradsweep")

MB = 2**20

T = TypeVar("T")


def applies(layers: tuple[Layer, ...], device: str) -> str | None:
    """None where the engine can train this network on this device; else the reason, in a line.

    It must not depend on members: an engine for one of a pack would decide the others' bits.
    """
    return missing(device) or refusal(layers, IMAGE)


class CudaEngine:
    """Trains, evaluates and probes arrays of members on one data set, which is on the device once, a byte a pixel.

    Members that don't fit into the device's memory at once are trained one part after the other, to the same bits.
    """

    name = "cuda"

    def __init__(self, layers: tuple[Layer, ...], dataset: Dataset, device: str, threads: int) -> None:
        if reason := applies(layers, device):
            raise ValueError(reason)
        self.layers = layers
        self.device = numbered(device)
        self.plan = plan_of(layers, IMAGE, INTERPRETED if interpreted() else DEVICE)
        splits = dataset.splits()
        self.sizes = memory.Sizes(*(len(split) for split in splits.values()))
        self.programs = programs(self.device)
        self._room = self._check_room()
        self.splits = {name: resident(split, self.device) for name, split in splits.items()}
        self.workshop = self._workshop()
        self._at_once: int | None = None

    def train_epoch(self, states: Sequence[MemberState]) -> list[tuple[MemberState, float, float]]:
        """Each member's state one epoch on, and its mean loss and accuracy over the epoch's batches."""
        return self._in_parts(self._train_epoch, states)

    def evaluate(self, states: Sequence[MemberState], split: str) -> list[tuple[float, float]]:
        """Each member's mean loss and accuracy on a split: train, validation or test."""
        images = self.splits[split]

        def work(part: Sequence[MemberState]) -> list[tuple[float, float]]:
            losses, hits = Array(self.workshop, part).evaluate(images)
            return list(zip((losses / len(images)).tolist(), (hits / len(images)).tolist(), strict=True))

        return self._in_parts(work, states)

    def probe(self, states: Sequence[MemberState]) -> list[Probe]:
        """Each member's data gradient and layer statistics on the probe images."""

        def work(part: Sequence[MemberState]) -> list[Probe]:
            found = Array(self.workshop, part).probe(self.splits["probe"])
            return [Probe(*rows) for rows in zip(*(t.cpu().numpy() for t in found), strict=True)]

        return self._in_parts(work, states)

    def statistics(self, states: Sequence[MemberState], before: Sequence[MemberState]) -> list[dict[str, float]]:
        """Each member's statistics of the probe; `before` are the states an epoch ago.

        All goes to the device before the probe is launched, and comes back at once, after the last operation.
        """

        def work(states: Sequence[MemberState], before: Sequence[MemberState]) -> list[dict[str, float]]:
            parameters, earlier, penalty, r = (
                torch.tensor(c, device=self.device) for c in columns(self.layers, states, before)
            )
            probed = Array(self.workshop, states).probe(self.splits["probe"])
            found = statistics(self.layers, (parameters, earlier, penalty, r), *probed, TORCH)
            table = torch.stack(list(found.values())).cpu().numpy()
            return by_member(dict(zip(found, table, strict=True)))

        return self._in_parts(work, states, before)

    def _train_epoch(self, states: Sequence[MemberState]) -> list[tuple[MemberState, float, float]]:
        images = self.splits["train"]
        array = Array(self.workshop, states)
        batch_size = states[0].member.batch_size
        losses, hits = array.train_epoch(images, *_orders(states, len(images)), batch_size)
        steps = -(-len(images) // min(batch_size, len(images)))
        columns = (t.cpu().numpy() for t in (array.parameters, array.first_moment, array.second_moment))
        return [
            (
                replace(s, epoch=s.epoch + 1, step=s.step + steps, parameters=p, kept=(m, v)),
                float(loss / len(images)),
                float(hit / len(images)),
            )
            for s, p, m, v, loss, hit in zip(states, *columns, losses, hits, strict=True)
        ]

    def _check_room(self) -> int | None:
        """Bytes that the engine may take; None for the interpreter. Fewer programs run at a time where room is short.

        Raises MemoryError where there is none for the images and one program.
        """
        if self.device.type != "cuda":
            return None
        room = memory.room(self.device.index)
        fit = memory.programs_that_fit(self.plan, self.sizes, room)
        if fit < 1:
            raise MemoryError(
                f"the images and one program take {memory.least(self.plan, self.sizes) / MB:,.0f} MB of the "
                f"device, {room / MB:,.0f} are left: give the pack a larger share (resources.gpus)"
            )
        if fit < self.programs:
            log.warning("the device's memory is short: %d programs run at a time, not %d", fit, self.programs)
            self.programs = fit
        return room

    def _workshop(self) -> Workshop:
        """With half the programs where another process has taken the memory since it was looked at."""
        while True:
            try:
                return Workshop(self.plan, self.device, self.programs)
            except torch.OutOfMemoryError:
                if self.programs == 1:
                    raise
            self.programs //= 2
            log.warning("out of the device's memory: %d programs run at a time", self.programs)

    def _in_parts(
        self, work: Callable[..., list[T]], states: Sequence[MemberState], *beside: Sequence[MemberState]
    ) -> list[T]:
        """Do the work on as many members at a time as fit; where that was too many, on half as many.

        It gets their states, and as many of each sequence of others `beside` them.
        """
        at_once = self._at_once or self._fitting(states)
        found: list[T] = []
        while len(found) < len(states):
            part = states[len(found) : len(found) + at_once]
            try:
                found += work(part, *(others[len(found) : len(found) + at_once] for others in beside))
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                # not in the handler: the traceback holds on to the tensors that did not fit
                at_once = -(-len(part) // 2)
            else:
                continue
            torch.cuda.empty_cache()
            self._at_once = at_once
            log.warning("out of the device's memory: %d members are now trained %d at a time", len(states), at_once)
        return found

    def _fitting(self, states: Sequence[MemberState]) -> int:
        if self._room is None:
            return len(states)
        batch_size = states[0].member.batch_size
        wanted = memory.need(self.plan, self.sizes, len(states), batch_size, self.programs)
        log.info("%d members: %.0f MB of the device's memory, %.0f are left", len(states), wanted / MB, self._room / MB)
        fit = max(1, memory.members_that_fit(self.plan, self.sizes, batch_size, self.programs, self._room))
        if fit < len(states):
            log.warning("%d members don't fit on the device: they are trained %d at a time", len(states), fit)
        self._at_once = fit
        return fit


def numbered(device: str) -> torch.device:
    """PyTorch's device of that name, and "cuda" by the number that it has now: some of PyTorch's calls ask for one."""
    named = torch.device(device)
    if named.type == "cuda" and named.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return named


def programs(device: torch.device) -> int:
    """How many programs run at a time on the device."""
    return memory.device(device.index).programs if device.type == "cuda" else 2


def _orders(states: Sequence[MemberState], count: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The orders of images of the members' next epoch, each once, and which of them is a member's."""
    wanted = dict.fromkeys((s.member.seed, s.epoch + 1) for s in states)
    orders = np.stack([order_of_images(seed, epoch, count) for seed, epoch in wanted]).astype(np.int32)
    where = {key: i for i, key in enumerate(wanted)}
    return orders, np.array([where[s.member.seed, s.epoch + 1] for s in states], dtype=np.int32)
