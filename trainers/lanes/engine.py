"""The lane engine behind `trainers.train`: states in, states out, with the kernels doing the work.

>>> applies(layers)     # None, or why it has to be the reference engine
>>> engine = LaneEngine(layers, dataset, "cpu", threads=2)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from trainers.data.dataset import Dataset
from trainers.lanes import kernels
from trainers.layers import IMAGE, Layer
from trainers.members import MemberConfig
from trainers.states import MemberState
from trainers.statistics import Probe
from trainers.streams import order_of_images
from trainers.training import Engine

# Members per call and thread: the interpreter sees an interrupt between calls, so they should not last too long.
MEMBERS_A_CALL = 4
# An evaluation is short, and transposes the images once a call; a probe is shorter still.
EVALUATED_A_CALL = 16


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
        self.splits = dataset.splits()

    def train_epoch(self, states: Sequence[MemberState]) -> list[tuple[MemberState, float, float]]:
        size = MEMBERS_A_CALL * self.threads
        parts = (states[start : start + size] for start in range(0, len(states), size))
        return [trained for part in parts for trained in self._train_epoch(part)]

    def _train_epoch(self, states: Sequence[MemberState]) -> list[tuple[MemberState, float, float]]:
        members, split = [s.member for s in states], self.splits["train"]
        orders = np.stack([order_of_images(s.member.seed, s.epoch + 1, len(split)) for s in states])
        parameters, first, second = [
            np.stack(vectors) for vectors in zip(*((s.parameters, *s.kept) for s in states), strict=True)
        ]
        steps = np.array([s.step for s in states], dtype=np.int64)
        scores = kernels.train_epoch(
            self.layers, members, parameters, first, second, steps, split, orders, members[0].batch_size, self.threads
        )
        rows = zip(*(column.tolist() for column in (steps, *scores)), strict=True)
        return [
            (replace(s, epoch=s.epoch + 1, step=step, parameters=p, kept=tuple(kept)), loss, accuracy)
            for s, (step, loss, accuracy), p, *kept in zip(states, rows, parameters, first, second, strict=True)
        ]

    def evaluate(self, states: Sequence[MemberState], split: str) -> list[tuple[float, float]]:
        scores: list[tuple[float, float]] = []
        for members, parameters in self._in_calls(states):
            columns = kernels.evaluate(self.layers, members, parameters, self.splits[split], self.threads)
            scores += zip(*(column.tolist() for column in columns), strict=True)
        return scores

    def probe(self, states: Sequence[MemberState]) -> list[Probe]:
        probes: list[Probe] = []
        for members, parameters in self._in_calls(states):
            columns = kernels.probe_gradient(self.layers, members, parameters, self.splits["probe"], self.threads)
            probes += (Probe(*rows) for rows in zip(*columns, strict=True))
        return probes

    def _in_calls(self, states: Sequence[MemberState]) -> Iterator[tuple[list[MemberConfig], kernels.Floats]]:
        """The members and their parameters (members, parameters), as many as one evaluation or probe takes."""
        for start in range(0, len(states), EVALUATED_A_CALL * self.threads):
            some = states[start : start + EVALUATED_A_CALL * self.threads]
            yield [s.member for s in some], np.stack([s.parameters for s in some])
