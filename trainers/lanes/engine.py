"""The lane engine behind `trainers.train`: states in, states out, with the kernels doing the work.

>>> applies(layers)     # None, or why it has to be the reference engine
>>> engine = LaneEngine(layers, dataset, "cpu", threads=2)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.data.dataset import Dataset
from trainers.lanes import kernels
from trainers.layers import IMAGE, Layer
from trainers.schedules import learning_rates
from trainers.states import MemberState
from trainers.statistics import Probe
from trainers.streams import order_of_images
from trainers.training import Engine

# Members per call and thread: the interpreter sees an interrupt between calls, so they should not last too long.
MEMBERS_A_CALL = 4


def applies(layers: tuple[Layer, ...], device: str = "cpu") -> str | None:
    """None where the lane engine can train this network; else the reason, in a line.

    It must not depend on members: an engine for one of a pack would decide the others' bits.
    """
    if device != "cpu":
        return f"the lane engine runs on the CPU, not on {device}"
    return kernels.missing() or kernels.refusal(layers, IMAGE)


class LaneEngine(Engine):
    """Trains, evaluates and probes arrays of members on one data set, on so many threads of the CPU."""

    name = "lanes"

    def __init__(self, layers: tuple[Layer, ...], dataset: Dataset, device: str, threads: int) -> None:
        if reason := applies(layers, device):
            raise ValueError(reason)
        self.layers = layers
        self.threads = threads
        self.dataset = dataset
        self.splits = dataset.splits()

    def train_epoch(self, states: Sequence[MemberState]) -> list[tuple[MemberState, float, float]]:
        trained: list[tuple[MemberState, float, float]] = []
        split, size = self.splits["train"], states[0].member.batch_size
        for part in self._parts(states):
            members = [s.member for s in part]
            orders = np.stack([order_of_images(s.member.seed, s.epoch + 1, len(split)) for s in part])
            batches = -(-len(split) // size)
            rates = np.stack([learning_rates(s.member, s.epoch + 1, batches) for s in part])
            vectors = zip(*((s.parameters, s.buffers, *s.kept) for s in part), strict=True)
            p, b, *kept = (np.stack(rows) for rows in vectors)
            steps = np.array([s.step for s in part], dtype=np.int64)
            scores = kernels.train_epoch(
                self.layers, members, p, kept, b, steps, rates, split, orders, size, self.threads, self._scales(part)
            )
            rows = zip(*(column.tolist() for column in (steps, *scores)), p, b, *kept, strict=True)
            for s, (step, loss, accuracy, new, buffers, *of_optimizer) in zip(part, rows, strict=True):
                after = replace(s, epoch=s.epoch + 1, step=step, parameters=new, kept=tuple(of_optimizer))
                after = replace(after, buffers=buffers)
                trained.append((after, loss, accuracy))
        return trained

    def evaluate(self, states: Sequence[MemberState], split: str) -> list[tuple[float, float]]:
        scores: list[tuple[float, float]] = []
        for part, *known in self._measured(states):
            buffers = np.stack([s.buffers for s in part])
            columns = kernels.evaluate(*known, buffers, self.splits[split], self.threads, self._scales(part))
            scores += zip(*(column.tolist() for column in columns), strict=True)
        return scores

    def probe(self, states: Sequence[MemberState]) -> list[Probe]:
        probes: list[Probe] = []
        for part, *known in self._measured(states):
            size = part[0].member.batch_size
            rows = kernels.probe_gradient(*known, self.splits["probe"], self.threads, self._scales(part), size)
            probes += (Probe(*row) for row in zip(*rows, strict=True))
        return probes

    def _measured(self, states: Sequence[MemberState]) -> Iterator[tuple[Any, ...]]:
        """As many states as one call takes, with their network, members and parameters."""
        for part in self._parts(states):
            yield part, self.layers, [s.member for s in part], np.stack([s.parameters for s in part])

    def _scales(self, states: Sequence[MemberState]) -> NDArray[np.float32] | None:
        """Factor and addend of each channel, (channels, 2), for bytes that were divided by 255; None for these."""
        match states[0].member.input:
            case "bytes":
                return np.tile(np.float32([255, 0]), (IMAGE[0], 1))
            case "standardized":
                mean, deviation = self.dataset.channel_statistics
                return np.stack([1 / deviation, -mean / deviation], axis=1).astype(np.float32)
        return None

    def _parts(self, states: Sequence[MemberState]) -> Iterator[Sequence[MemberState]]:
        """As many members as one call takes."""
        size = MEMBERS_A_CALL * self.threads
        return (states[start : start + size] for start in range(0, len(states), size))
