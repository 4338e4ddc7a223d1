"""What a spec would run, and about how long: read off the spec, nothing is trained and no image is decoded.

The time is a table's: seconds a training image takes one member, for each engine and regime, measured on a core of an
AMD EPYC with AVX-512 (digits, batches of 32, evaluation and statistics in it), times images, epochs and members,
shared out among the packs that run at once. It is an "about": machines differ, and a pruner saves what it saves.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps.device_memory import DeviceMemory, Images, device_memory
from sweeps.spec.reading import Resources, SweepSpec
from trainers.data.folder import PARTS
from trainers.lanes import available
from trainers.members import SHARED, MemberConfig

SECONDS_AN_IMAGE = {
    "lanes": {"large-parameters": 1.2e-5, "many-layers": 1.9e-5, "combined": 1.2e-5},
    "reference": {"large-parameters": 2.3e-4, "many-layers": 3.3e-4, "combined": 2.0e-4},
}
START_SECONDS = 10.0
IMAGES = {"digits": Images(1295, 143, 359, 10), "cifar10": Images(45000, 5000, 10000, 10)}


@dataclass(frozen=True)
class Plan:
    """What would run; `seconds` is None without measurement or images to go by, `device_memory` without a GPU."""

    name: str
    question: str | None
    arms: int
    searched: int
    confirmed: int
    seeds: int
    fresh_seeds: int
    members: int
    epochs: int
    packs: int
    pack: int
    cpus: int
    gpus: float
    at_once: int | str
    seconds: float | None
    device_memory: DeviceMemory | None

    @property
    def configurations(self) -> int:
        """Arms and searched ones; `confirmed` of them, at most, are trained again on fresh seeds."""
        return self.arms + self.searched


def plan_of(spec: SweepSpec) -> Plan:
    """Read a plan off a spec. What is confirmed is taken for arms and for searched ones like base."""
    search = spec.search_plan()
    arms = [spec.members(arm)[0] for arm in search.arms.values()]
    searched = spec.members({})[0] if search.configurations else None
    configurations = arms + [m for m in [searched] if m for _ in range(search.configurations)]
    resources = spec.resources
    at_once = _at_once(resources)
    size = pack_size(spec)
    stages = [(list(_packs(configurations, size)), len(spec.seeds))]
    if search.confirming:
        again = configurations[: search.confirming]
        stages.append((list(_packs(again, pack_size(spec, confirming=True))), len(spec.fresh_seeds)))
    seconds = None
    if not resources.gpus and isinstance(at_once, int) and all(train_images(m.data) for m in configurations):
        seconds = START_SECONDS
        for packs, seeds in stages:
            cost = [sum(map(_seconds, pack)) * seeds / resources.cpus for pack in packs]
            seconds += max([sum(cost) / max(1, at_once), *cost])
    needed = None
    if resources.gpus:
        images = {member.data: _images(member.data) for member in configurations}
        members = ((pack[0], len(pack) * seeds, images[pack[0].data]) for packs, seeds in stages for pack in packs)
        needed = device_memory((m for m in members if m[2].train), resources.gpus)
    return Plan(
        name=spec.name,
        question=spec.question,
        arms=len(arms),
        searched=search.configurations,
        confirmed=search.confirming,
        seeds=len(spec.seeds),
        fresh_seeds=len(spec.fresh_seeds),
        members=len(configurations) * len(spec.seeds) + search.confirming * len(spec.fresh_seeds),
        epochs=search.epochs,
        packs=sum(len(packs) for packs, _ in stages),
        pack=size,
        cpus=resources.cpus,
        gpus=resources.gpus,
        at_once=at_once,
        seconds=seconds,
        device_memory=needed,
    )


def _packs(configurations: list[MemberConfig], size: int) -> Iterator[list[MemberConfig]]:
    """As the books make them: so many are asked for at a time, and those that share a network go together."""
    for first in range(0, len(configurations), size):
        kinds: dict[tuple[object, ...], list[MemberConfig]] = {}
        for member in configurations[first : first + size]:
            kinds.setdefault(tuple(getattr(member, name) for name in SHARED), []).append(member)
        yield from kinds.values()


def pack_size(spec: SweepSpec, *, confirming: bool = False) -> int:
    """How many configurations are asked for at a time: `resources.pack`, or fewer where cores would else stand idle.

    That of the search does not depend on what is confirmed later: suggestions depend on what is known when a pack is
    asked for.
    """
    plan, at_once, most = spec.search_plan(), _at_once(spec.resources), spec.resources.pack
    if isinstance(at_once, str):
        return most
    return max(1, min(most, math.ceil((plan.confirming if confirming else plan.searching) / at_once)))


def _at_once(resources: Resources) -> int | str:
    if resources.concurrent != "auto":
        return int(resources.concurrent)
    if resources.gpus or os.environ.get("RAY_ADDRESS"):
        return "as many as fit"
    return max(1, len(os.sched_getaffinity(0)) // resources.cpus)


def _seconds(member: MemberConfig) -> float:
    engine = "lanes" if member.engine != "reference" and available() else "reference"
    return SECONDS_AN_IMAGE[engine][member.regime] * train_images(member.data) * (member.epochs + 1)


def train_images(data: str) -> int:
    """About how many images the training split of this data has; 0 for a folder that can't be read."""
    return _images(data).train


def _images(data: str) -> Images:
    """About how many images the splits of this data have; a tenth of a folder's training images is for validation."""
    if data in IMAGES:
        return IMAGES[data]
    folder = Path(os.path.expanduser(data.removeprefix("folder:")))
    try:
        train, test = ([len(os.listdir(c)) for c in (folder / part).iterdir() if c.is_dir()] for part in PARTS)
    except OSError:
        return Images(0, 0, 0, 0)
    validation = sum(train) // 10
    return Images(sum(train) - validation, validation, sum(test), len(train))
