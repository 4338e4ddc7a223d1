"""An array of members as tensors on the device, and the launches that train, evaluate and probe it.

>>> array = Array(plan, states, workshop)
>>> losses, hits = array.train_epoch(split, orders, order_of, batch_size)
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.cuda.plan import Plan
from trainers.cuda.settings import kinds, rows
from trainers.cuda.statistics import divided
from trainers.data.dataset import Split
from trainers.states import MemberState

# Elements a program of the kernels that add up: of a gradient, and of a split's blocks.
WIDTH = 256


@dataclass(frozen=True)
class Resident:
    """A split on the device: images uint8 (n, 3, height, width), labels int32 (n,), and its own order."""

    images: Tensor
    labels: Tensor
    order: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def resident(split: Split, device: torch.device) -> Resident:
    """Copy a split to the device: a byte a pixel, however many members are trained on it."""
    images = torch.tensor(np.ascontiguousarray(split.images), device=device)
    labels = torch.tensor(split.labels.astype(np.int32), device=device)
    return Resident(images, labels, torch.arange(len(split.labels), dtype=torch.int32, device=device)[None])


class Workshop:
    """What all arrays of an engine share on the device: the plan's tables, and a scratch for each program.

    The scratch is 0 at first, and the borders of the images in it are never written: they are the padding.
    `programs` is how many run at a time; a larger array's blocks wait for their turn.
    """

    def __init__(self, plan: Plan, device: torch.device, programs: int) -> None:
        self.plan = plan
        self.device = device
        self.programs = programs
        self.convolutions = torch.tensor(plan.convolutions, device=device)
        self.dense = torch.tensor(plan.dense, device=device)
        self.scratch = torch.zeros(programs * plan.scratch, dtype=torch.float32, device=device)


class Array:
    """Members on the device; they may differ in all but the network and the batch size."""

    def __init__(self, workshop: Workshop, states: Sequence[MemberState]) -> None:
        self.workshop = workshop
        self.plan = workshop.plan
        members = [s.member for s in states]
        self.count = len(states)
        self.parameters = self._tensor(np.stack([s.parameters for s in states]))
        self.first_moment, self.second_moment = (
            self._tensor(np.stack(moments)) for moments in zip(*(s.kept for s in states), strict=True)
        )
        self.settings = self._tensor(rows(members))
        self.kinds = self._tensor(kinds(members))
        self.learning_rates = self._tensor(np.array([m.learning_rate for m in members], dtype=np.float64))
        self.steps = self._tensor(np.array([s.step for s in states], dtype=np.int64))

    def train_epoch(
        self, split: Resident, orders: NDArray[np.int32], order_of: NDArray[np.int32], batch_size: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Train every member for an epoch, in place; each one's summed losses and hits, each before its step.

        `orders` are the orders of images that occur, (orders, images), and `order_of` which of them a member takes.
        Between the first step and the last the host neither waits for the device nor copies anything: a step is two
        launches, recorded once as a CUDA graph, and counts itself on the device.
        """
        total = len(split)
        batch = _Batch(self, split, self._tensor(orders), self._tensor(order_of), min(batch_size, total), total)
        loss_sums = self._zeros(self.count, dtype=torch.float64)
        hit_sums = self._zeros(self.count, dtype=torch.int64)

        def step() -> None:
            batch.forward_backward()
            self._adam(batch, loss_sums, hit_sums)

        with launching(self.workshop.device):
            repeat(step, ceil(total / batch.size), self.workshop.device)
        return loss_sums.cpu().numpy(), hit_sums.cpu().numpy()

    def evaluate(self, split: Resident) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Each member's summed losses and hits on a split."""
        batch = self._whole(split, gradients=False)
        with launching(self.workshop.device):
            batch.forward()
            losses, hits = self._scores(batch)
        return losses.cpu().numpy(), hits.cpu().numpy()

    def probe(self, split: Resident) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of each member's mean loss on a split, (members, parameters), and its saturated and dead units.

        The other two are (members, layers with parameters), float64: the fraction of saturated (unit, image) pairs, and
        of units that every image saturates; 0 for the output. They stay on the device, and nobody has waited for them.
        """
        from trainers.cuda.kernels.optimizer import gradient_kernel

        batch = self._whole(split, gradients=True)
        counts = self._zeros(self.count, self.plan.units, dtype=torch.int32)
        gradients = torch.empty_like(self.parameters)
        with launching(self.workshop.device):
            batch.forward_backward(counts)
            grid = (self.count, ceil(self.plan.parameters / WIDTH))
            gradient_kernel[grid](
                batch.gradients, gradients, batch.blocks, self.plan.parameters, WIDTH=WIDTH, enable_fp_fusion=False
            )
        units = [counts[:, where] for where in self.plan.unit_slices]
        # sums of whole numbers: they are exact in any order
        saturated = [divided(c.sum(1).double(), max(1, c.shape[1] * len(split))) for c in units]
        dead = [divided((c == len(split)).sum(1).double(), max(1, c.shape[1])) for c in units]
        return gradients, torch.stack(saturated, 1), torch.stack(dead, 1)

    def _whole(self, split: Resident, gradients: bool) -> _Batch:
        order_of = self._zeros(self.count, dtype=torch.int32)
        return _Batch(self, split, split.order, order_of, len(split), len(split), gradients)

    def _adam(self, batch: _Batch, loss_sums: Tensor, hit_sums: Tensor) -> None:
        from trainers.cuda.kernels.optimizer import adam_kernel

        adam_kernel[self.count, ceil(self.plan.parameters / WIDTH)](
            batch.gradients,
            batch.losses,
            batch.hits,
            self.parameters,
            self.first_moment,
            self.second_moment,
            self.settings,
            self.learning_rates,
            self.steps,
            batch.counters,
            loss_sums,
            hit_sums,
            batch.blocks,
            batch.size,
            batch.total,
            self.plan.parameters,
            LANES=self.plan.blocks.lanes,
            WIDTH=WIDTH,
            enable_fp_fusion=False,
        )

    def _scores(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        from trainers.cuda.kernels.optimizer import score_kernel

        losses, hits = self._zeros(self.count, dtype=torch.float64), self._zeros(self.count, dtype=torch.int64)
        score_kernel[self.count,](
            batch.losses, batch.hits, losses, hits, batch.blocks, WIDTH=WIDTH, enable_fp_fusion=False
        )
        return losses, hits

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.tensor(array, device=self.workshop.device)

    def _zeros(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self.workshop.device)


class _Batch:
    """The launches of the network's kernel on a batch of `size` of the `total` images, and what they leave."""

    def __init__(
        self,
        array: Array,
        split: Resident,
        orders: Tensor,
        order_of: Tensor,
        size: int,
        total: int,
        gradients: bool = True,
    ) -> None:
        self.array = array
        self.split = split
        self.orders = orders
        self.order_of = order_of
        self.size = size
        self.total = total
        self.blocks = ceil(size / array.plan.blocks.lanes)
        items = array.count * self.blocks
        device = array.workshop.device
        self.gradients = torch.empty(items * array.plan.parameters if gradients else 1, device=device)
        self.losses = torch.empty(items, dtype=torch.float64, device=device)
        self.hits = torch.empty(items, dtype=torch.int32, device=device)
        # which batch of the order is next: for the network's kernel, and for the optimizer's
        self.counters = torch.zeros(2, dtype=torch.int32, device=device)

    def forward(self) -> None:
        """Losses and hits."""
        self._launch(keep=False, counts=None)

    def forward_backward(self, counts: Tensor | None = None) -> None:
        """Gradients too; and with `counts`, int32 (members, units), how many images saturate each unit."""
        self._launch(keep=True, counts=counts)

    def _launch(self, keep: bool, counts: Tensor | None) -> None:
        from trainers.cuda.kernels.network import network_kernel

        array, plan, workshop = self.array, self.array.plan, self.array.workshop
        blocks = plan.blocks
        network_kernel[min(array.count * self.blocks, workshop.programs),](
            workshop.scratch,
            workshop.convolutions,
            workshop.dense,
            self.split.images,
            self.split.labels,
            self.orders,
            self.order_of,
            array.parameters,
            array.settings,
            array.kinds,
            self.counters,
            self.gradients,
            self.losses,
            self.hits,
            # a pointer that is not followed where nothing is counted
            self.counters if counts is None else counts,
            array.count,
            self.blocks,
            self.size,
            self.total,
            plan.scratch,
            plan.parameters,
            plan.units,
            len(plan.convolutions),
            len(plan.dense),
            plan.full,
            plan.sums,
            int(plan.dense[0, 4]),
            IMAGE_HEIGHT=plan.image[1],
            IMAGE_WIDTH=plan.image[2],
            FLAT=plan.flat,
            WIDEST=plan.widest,
            LANES=blocks.lanes,
            SLOTS=blocks.slots,
            STRIP=blocks.strip,
            PIXELS=blocks.pixels,
            SUMS=blocks.sums,
            KEEP=keep,
            COUNT=counts is not None,
            num_warps=blocks.warps,
            num_stages=1,
            # multiply-adds are written out, so that the arithmetic is the interpreter's
            enable_fp_fusion=False,
        )


def repeat(step: Callable[[], object], times: int, device: torch.device) -> None:
    """Do a step so often: recorded once as a CUDA graph and replayed where there is a device.

    The first step is an ordinary one: it compiles and loads the kernels, which must not happen in a recording.
    """
    if device.type != "cuda":
        for _ in range(times):
            step()
        return
    step()
    if times == 1:
        return
    graph = recorded(step)
    for _ in range(times - 1):
        graph.replay()
    # the graph must outlive its last replay
    torch.cuda.synchronize(device)


def recorded(step: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """A step as a CUDA graph of the current device.

    `torch.cuda.graph` would first wait for the device and hand all cached memory back. Neither is needed for a step
    that allocates nothing.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        graph.capture_begin()
        try:
            step()
        except BaseException:
            # of a recording that broke off it says only that it did
            with contextlib.suppress(RuntimeError):
                graph.capture_end()
            raise
        graph.capture_end()
    return graph


@contextlib.contextmanager
def launching(device: torch.device) -> Iterator[None]:
    """Triton launches on the current device: make it the one that the tensors are on.

    In the interpreter, without NumPy's warnings of what is no mistake: numbers overflow as a diverging member's do.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            yield
        return
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
