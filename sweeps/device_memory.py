"""How much of a GPU's memory a spec's packs need, and what becomes of those that ask for too small a part of one.

It is `trainers.cuda.memory`'s count, the one by which the engine goes; it grows with the number of multiprocessors:
those of this machine's device, or an H200's where it has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from trainers.data import Images
from trainers.engines import kind_of
from trainers.errors import RequestError
from trainers.members import MemberConfig, layers_of

GB = 2**30
H200 = 132  # multiprocessors


def device_memory(packs: Iterable[tuple[MemberConfig, int, Images]], gpus: float) -> dict[str, int | None] | None:
    """What packs, each one of its members, their number and their data, need of such a part of a device, in bytes.

    Of the pack that needs most: `pack` for all its `members` at once, `least` for those without which nothing starts;
    `device` and `least_device`, how large a device has to be for that, of which a pack has its part; `here`, how many
    members this machine's device takes at a time, None where it has none. None where the cuda engine trains no pack.
    Raises RequestError where that part of this machine's device is too small to start one.
    """
    from trainers.cuda import memory
    from trainers.cuda.plan import DEVICE, plan_of, refusal
    from trainers.data.dataset import probe_size
    from trainers.layers import IMAGE

    found = memory.first_device()
    programs = (found or memory.Device("", 0, H200)).programs
    needs = []
    for member, count, images in packs:
        layers = layers_of(member, images.classes)
        if kind_of(member, "cuda")[-1] == "cuda" and not refusal(layers, IMAGE):
            plan = plan_of(layers, IMAGE, DEVICE)
            sizes = memory.Sizes(images.train, images.validation, images.test, probe_size(images.train))
            need = memory.need(plan, sizes, count, member.batch_size, programs)
            needs.append((need, count, plan, sizes, member.batch_size))
    if not needs:
        return None
    pack, members, plan, sizes, batch_size = max(needs, key=lambda need: need[0])
    least = memory.least(plan, sizes)
    here = None
    if found:
        room = memory.share(found.total, gpus)
        if room < least:
            enough = math.ceil(100 * (least + memory.CONTEXT) / found.total) / 100
            right = f"give it {enough:g} or more" if enough <= 1 else "it takes a larger device"
            raise RequestError(
                f"resources.gpus: {gpus:g} of this machine's {found.name} is {room / GB:.1f} GB besides CUDA's own, "
                f"but a pack needs at least {least / GB:.1f} GB: {right}"
            )
        programs = min(programs, memory.programs_that_fit(plan, sizes, room))
        here = min(members, max(1, memory.members_that_fit(plan, sizes, batch_size, programs, room)))
    device, least_device = (int((bytes_ + memory.CONTEXT) / gpus) for bytes_ in (pack, least))
    return {
        "members": members,
        "pack": pack,
        "least": least,
        "device": device,
        "least_device": least_device,
        "here": here,
    }
