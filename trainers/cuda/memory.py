"""How much of a device's memory an array of members needs, and how many members fit.

Counted, not measured: every tensor that the engine allocates is here. What CUDA takes for itself in each process comes
on top, CONTEXT bytes by assumption: no device was at hand to measure it.

    >>> need(plan, dataset_sizes, members=225, batch_size=32, programs=264) / 2**20
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from trainers.cuda.plan import Plan

CONTEXT = 700 * 2**20

# Programs for each multiprocessor: one runs, one waits for its turn, so that none idles at the end of a round.
PROGRAMS_A_MULTIPROCESSOR = 2

# Doubles for each of a member's parameters while statistics are taken: nearly 16, and nearly 24 for what is padded to a
# power of two before it is added up.
STATISTICS = 40


@dataclass(frozen=True)
class Device:
    """A device: what it calls itself, its bytes of memory and its multiprocessors."""

    name: str
    total: int
    multiprocessors: int

    @property
    def programs(self) -> int:
        """How many programs run at a time where there is memory for them."""
        return PROGRAMS_A_MULTIPROCESSOR * self.multiprocessors


@dataclass(frozen=True)
class Sizes:
    """Images in each split, and in the probe."""

    train: int
    validation: int
    test: int
    probe: int


def resident(plan: Plan, sizes: Sizes, programs: int) -> int:
    """Bytes that do not depend on the members: the images, one byte a pixel, and the programs' scratch."""
    channels, height, width = plan.image
    images = sizes.train + sizes.validation + sizes.test + sizes.probe
    return images * (channels * height * width + 4) + programs * plan.scratch * 4


def a_member(plan: Plan, sizes: Sizes, batch_size: int) -> int:
    """Bytes for each member: its parameters and moments, and what training, probe, statistics or evaluation add.

    That is its order of images, the parts of sums over blocks, and the statistics' numbers in between.
    """
    lanes = plan.blocks.lanes

    def parts(images: int, gradient: bool) -> int:
        return ceil(images / lanes) * (12 + (4 * plan.parameters if gradient else 0))

    at_once = max(
        parts(min(batch_size, sizes.train), True) + 4 * sizes.train,
        parts(sizes.probe, True) + (4 + 2 * 8) * plan.parameters,
        8 * STATISTICS * plan.parameters,
        parts(max(sizes.train, sizes.validation, sizes.test), False),
    )
    return 3 * 4 * plan.parameters + 4 * plan.units + 128 + at_once


def need(plan: Plan, sizes: Sizes, members: int, batch_size: int, programs: int) -> int:
    """Bytes on the device for a pack of so many members."""
    return resident(plan, sizes, programs) + members * a_member(plan, sizes, batch_size)


def members_that_fit(plan: Plan, sizes: Sizes, batch_size: int, programs: int, room: int) -> int:
    """How many members can be trained at a time in so many bytes; 0 where not even the images fit."""
    return max(0, (room - resident(plan, sizes, programs)) // a_member(plan, sizes, batch_size))


def programs_that_fit(plan: Plan, sizes: Sizes, room: int) -> int:
    """How many programs' scratch takes at most half of what the images leave of so many bytes."""
    return max(0, (room - resident(plan, sizes, 0)) // 2 // (4 * plan.scratch))


def least(plan: Plan, sizes: Sizes) -> int:
    """Bytes with which a single program runs; with fewer the engine does not start."""
    return resident(plan, sizes, 0) + 2 * 4 * plan.scratch


def device(number: int) -> Device:
    """This machine's device of that number."""
    import torch

    found = torch.cuda.get_device_properties(number)
    return Device(found.name, found.total_memory, found.multi_processor_count)


def first_device() -> Device | None:
    """This machine's first device; None where PyTorch sees none."""
    import torch

    return device(0) if torch.cuda.is_available() else None


def failure() -> RuntimeError | None:
    """The error with which this process's device refuses all work; None where it works, or was not used.

    After an illegal address, say, every use of the device fails until the process ends; a failed training does not
    show whether that is why.
    """
    import torch

    try:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
    except RuntimeError as error:
        return error
    return None


def share(total: int, part: float) -> int:
    """Bytes that a process may take whose part of a device of so many this is: CUDA takes its own besides."""
    return max(0, int(part * total) - CONTEXT)


def claim(part: float) -> None:
    """Keep this process to its part of its CUDA device, so that packs side by side don't take each other's memory."""
    import torch

    if found := first_device():
        torch.cuda.set_per_process_memory_fraction(share(found.total, part) / found.total)


def room(number: int) -> int:
    """Bytes that this process may still take of the device of that number: what is free, and no more than its share."""
    import torch

    free, total = torch.cuda.mem_get_info(number)
    part = torch.cuda.get_per_process_memory_fraction(number)
    taken = torch.cuda.memory_allocated(number)
    cached = torch.cuda.memory_reserved(number) - taken
    return int(min(free + cached, part * total - taken))
