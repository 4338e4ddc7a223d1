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
    """Bytes for each member: its parameters and moments, its order of images, the parts of sums over blocks."""
    lanes = plan.blocks.lanes

    def parts(images: int, gradient: bool) -> int:
        return ceil(images / lanes) * (12 + (4 * plan.parameters if gradient else 0))

    at_once = max(
        parts(min(batch_size, sizes.train), True) + 4 * sizes.train,
        parts(sizes.probe, True) + 4 * plan.parameters,
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


def claim(share: float) -> None:
    """Keep this process to its share of its CUDA device, so that packs side by side don't take each other's memory."""
    import torch

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(max(0.01, share - CONTEXT / total))


def room(device: int) -> int:
    """Bytes that this process may still take of the device of that number: what is free, and no more than its share."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    share = torch.cuda.get_per_process_memory_fraction(device)
    taken = torch.cuda.memory_allocated(device)
    cached = torch.cuda.memory_reserved(device) - taken
    return int(min(free + cached, share * total - taken))
