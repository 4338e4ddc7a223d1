"""What a spec would run, and about how long: read off the spec, nothing is trained and no image is decoded.

The time is the network's multiply-adds, each step's parameters and layers, and the parameters that an epoch's
statistics are of, times what one takes each engine, measured on a core with AVX-512 (whole epochs of 1,300 and of 6,000
images, evaluation and statistics in them), times images, epochs and members, shared out among the packs that run at
once. Epoch 0, before the first step, is the way forward and the statistics. What a configuration takes to be recorded
is added. It is an "about": machines differ, and a pruner saves what it saves. Where the network's size is searched, a
middle one stands for all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from search_spaces.plan import SearchPlan
from sweeps.disk import disk_of
from sweeps.environment import cores, memory, ray_address
from sweeps.spec.checks import MOST_MEMBERS
from sweeps.spec.reading import Resources, SweepSpec
from tracking.verdict.statistics import undecidable
from tracking.verdict.tables import count
from trainers.data import Images, images_of
from trainers.engines import kind_of, resolve
from trainers.errors import RequestError, printable
from trainers.layers import Layer, buffer_shapes, multiply_adds, parameter_count, places
from trainers.members import WHOLE, MemberConfig, layers_of
from trainers.metrics import names
from trainers.regimes import NETWORK
from trainers.states import kept_by


class Seconds(NamedTuple):
    """Per multiply-add of the way forward, the ways back in it, of convolutions and of all else; per step and one of
    the parameters; per step and layer; per epoch and parameter, of which statistics are recorded."""

    convolution: float
    rest: float
    parameter: float
    layer: float
    statistics: float


SECONDS = {
    "lanes": Seconds(6.5e-11, 4.2e-11, 5e-10, 3.4e-6, 7e-8),
    "reference": Seconds(1.4e-9, 3e-10, 3e-9, 8e-5, 7e-8),
}
SIZES = tuple(name for name in (*NETWORK, "epochs") if name in WHOLE)  # fields that decide how long it takes
WAYS = 3  # through the network in a step: forward, back to the layer's input, back to its parameters
START_SECONDS = 10.0
RECORD_SECONDS = 0.06  # of a configuration in the ledger, in MLflow and in Optuna's database, on SQLite
GB = 2**30
H200 = 132  # multiprocessors
MEMORY, METRIC = 0.25, 100  # the share of the memory that untrained packs may take, and the bytes of a metric's value


def plan_of(spec: SweepSpec) -> dict[str, Any]:
    """Read a plan off a spec: what would run. What is confirmed is taken for arms and for searched ones like base.

    `layers` has an entry for each network among the arms and base: which, and its number of layers and of parameters.

    `configurations` are arms and searched ones, of which `before_results` are handed out before any result is known;
    `points` is the size of a finite space that they may exhaust, else None. `confirmed` of them, at most, are trained
    again on fresh seeds.
    `undecidable` has the claims that so few seeds can't decide, each with the fewest seeds that could.
    `seconds` is None without measurement or images to go by, `device_memory` (see `_device_memory`) without a GPU.
    """
    search, resources = spec.search_plan(), spec.resources
    arms, searched = _representatives(spec)
    configurations = arms + searched
    images = {data: images_of(*data) for data in dict.fromkeys(map(_data_of, configurations))}
    at_once, size, device = _at_once(resources), pack_size(spec), "cuda" if resources.gpus else "cpu"
    stages = [(list(_packs(configurations, size, device)), len(spec.seeds))]
    if search.confirming:
        again = configurations[: search.confirming]
        stages.append((list(_packs(again, pack_size(spec, confirming=True), device)), len(spec.fresh_seeds)))
    seconds, needed = None, None
    if resources.gpus:
        members = [(pack[0], len(pack) * seeds) for packs, seeds in stages for pack in packs]
        needed = _device_memory(members, images, resources.gpus)
    elif isinstance(at_once, int) and all(data.train for data in images.values()):
        seconds = START_SECONDS
        for packs, seeds in stages:
            costs = [sum(_seconds(m, images[_data_of(m)]) for m in pack) * seeds / resources.cpus for pack in packs]
            seconds += max([sum(costs) / at_once, *costs]) + RECORD_SECONDS * sum(map(len, packs))
    named = dict(zip(search.arms, arms, strict=True)) | ({"base": spec.members({})[0]} if search.configurations else {})
    networks: dict[tuple[Layer, ...], list[str]] = {}
    for name, member in named.items():
        networks.setdefault(layers_of(member, images[_data_of(member)].classes or 10), []).append(name)
    return {
        "name": spec.name,
        "question": spec.question,
        "objectives": [f"{o.direction} {o.name}" for o in spec.objectives],
        "space": spec.model_dump()["search"]["space"] if spec.search else {},
        "configurations": len(configurations),
        "arms": len(arms),
        "searched": search.configurations,
        "points": len(search.points) if search.points else None,
        "before_results": handed_out(search),
        "confirmed": search.confirming,
        "seeds": len(spec.seeds),
        "fresh_seeds": len(spec.fresh_seeds),
        "undecidable": undecidable_claims(spec),
        "members": len(configurations) * len(spec.seeds) + search.confirming * len(spec.fresh_seeds),
        "epochs": search.epochs,
        "layers": [
            {"of": of, "layers": len(places(layers)), "parameters": parameter_count(layers)}
            for layers, of in networks.items()
        ],
        "packs": sum(len(packs) for packs, _ in stages),
        "pack": size,
        "cpus": resources.cpus,
        "gpus": resources.gpus,
        "at_once": at_once,
        "from": spec.search.from_ if spec.search else None,
        "within": resources.within,
        "notify": spec.tracking.notify,
        "seconds": seconds,
        "device_memory": needed,
        "disk_bytes": disk_bytes(spec),
    }


def undecidable_claims(spec: SweepSpec) -> dict[str, int]:
    """The claims that the seeds they are judged on can't decide, whatever comes out: name -> how many seeds could."""
    return undecidable(spec.judged_claims(), len(_judged_on(spec)))


def too_few_seeds(spec: SweepSpec) -> list[str]:
    """A line that says so before anything is trained; none where all claims can be decided."""
    needed, claims = undecidable_claims(spec), len(spec.judged_claims())
    if not needed:
        return []
    seeds, most = count(len(_judged_on(spec)), "fresh seed" if spec.confirm else "seed"), max(needed.values())
    if claims == 1:
        return [f"With {seeds} the claim cannot be decided: it takes at least {most} seeds."]
    if len(needed) == claims:
        return [f"With {seeds} no claim can be decided: it takes at least {most} seeds for these {claims} claims."]
    named = printable(", ".join(needed))
    return [f"With {seeds} these of {claims} claims cannot be decided: {named}. It takes at least {most} seeds."]


def _judged_on(spec: SweepSpec) -> tuple[int, ...]:
    return spec.fresh_seeds if spec.confirm else spec.seeds


def disk_bytes(spec: SweepSpec) -> int:
    """What a spec's records take on the disk, about, in bytes."""
    arms, searched = _representatives(spec)
    again = (arms + searched)[: spec.search_plan().confirming]
    return disk_of([(arms + searched, len(spec.seeds)), (again, len(spec.fresh_seeds))]) + kept_bytes(spec)


def _data_of(member: MemberConfig) -> tuple[str, float]:
    """What decides a member's images."""
    return member.data, member.holdout


def _representatives(spec: SweepSpec) -> tuple[list[MemberConfig], list[MemberConfig]]:
    """The first member of each arm, and of each searched configuration, for which a middle one stands."""
    search = spec.search_plan()
    arms = [spec.members(arm)[0] for arm in search.arms.values()]
    return arms, [spec.members(_middle(spec))[0]] * search.configurations


def _packs(configurations: list[MemberConfig], size: int, device: str) -> Iterator[list[MemberConfig]]:
    """As the driver makes them: `size` at a time, and of these what can be trained together."""
    for first in range(0, len(configurations), size):
        kinds: dict[tuple[object, ...], list[MemberConfig]] = {}
        for member in configurations[first : first + size]:
            kinds.setdefault(kind_of(member, device), []).append(member)
        yield from kinds.values()


def pack_size(spec: SweepSpec, *, confirming: bool = False) -> int:
    """How many configurations are asked for at a time: `resources.pack`, or fewer where cores would else stand idle.

    Where nothing is trained and no number is given, as many as the memory holds. No suggestion depends on it. With a
    pruner it is always `resources.pack`, since a pack's configurations compete.
    """
    plan, at_once, most = spec.search_plan(), _at_once(spec.resources), spec.resources.block
    if isinstance(at_once, str) or (plan.pruner and not confirming):
        return most
    count = plan.confirming if confirming else handed_out(plan)
    if spec.resources.pack is None and plan.epochs == 0:
        rounds = math.ceil(count / at_once / max(1, _that_fit(spec, at_once)))
        return max(1, math.ceil(count / at_once / max(1, rounds)))  # the last round as full as the others
    return max(1, min(most, math.ceil(count / at_once)))


def _that_fit(spec: SweepSpec, at_once: int) -> int:
    """How many untrained configurations a pack can have, for all packs at once to take MEMORY of this machine's.

    A worker holds each member's parameters in float32, and its metrics twice while they are sent; so much again is for
    what Python has not given back of the pack before.
    """
    space = spec.search.space if spec.search else {}
    largest = {name: max(map(int, space[name].ends.values())) for name in SIZES if name in space}
    seeds = max(len(spec.seeds), len(spec.fresh_seeds))

    def bytes_of(member: MemberConfig) -> int:
        layers = layers_of(member, images_of(member.data).classes or 10)
        return 2 * 4 * parameter_count(layers) + 2 * METRIC * len(names(layers, member.measure or ()))

    each = max(bytes_of(spec.members(values)[0]) for values in (largest, *spec.arms.values()))
    return min(int(MEMORY * memory() / at_once / each), MOST_MEMBERS) // seeds


def handed_out(plan: SearchPlan) -> int:
    """How many configurations are handed out before the first result is needed."""
    from search_spaces.search import windowed  # and Optuna with it

    return min(plan.searching, plan.block * plan.ahead) if windowed(plan) else plan.searching


def _at_once(resources: Resources) -> int | str:
    if resources.concurrent != "auto":
        return int(resources.concurrent)
    if resources.gpus or ray_address():
        return "as many as fit"
    return max(1, cores() // resources.cpus)


def _middle(spec: SweepSpec) -> dict[str, int]:
    """Of what is searched of a network's size and of the epochs, the middle."""
    space, middle = spec.search.space if spec.search else {}, {}
    for name in SIZES:
        if name in space:
            ends = [int(value) for value in space[name].ends.values()]
            middle[name] = round(sum(ends) / len(ends))
    return middle


def kept_bytes(spec: SweepSpec) -> int:
    """About how many bytes of complete configurations `resources.keep` keeps, if none is pruned; 0 without it."""
    plan, keep = spec.search_plan(), spec.resources.keep
    if keep is None:
        return 0
    arms = [spec.members(arm)[0] for arm in plan.arms.values()]
    configurations = arms + [spec.members(_middle(spec))[0]] * plan.configurations

    def of_member(member: MemberConfig) -> int:
        layers = layers_of(member, images_of(member.data).classes or 10)
        vectors = 1 + (len(kept_by(member)) if keep == "states" else 0)
        statistics = sum(math.prod(shape) for kept in buffer_shapes(layers) for shape, _ in kept.values())
        about = len(json.dumps(asdict(member)))  # in a NumPy text, of four bytes per character
        return 4 * (vectors * parameter_count(layers) + statistics + about)

    sizes = list(map(of_member, configurations))
    return sum(sizes) * len(spec.seeds) + sum(sizes[: plan.confirming]) * len(spec.fresh_seeds)


def _seconds(member: MemberConfig, images: Images) -> float:
    engine = "auto" if member.engine != "reference" else member.engine
    each = SECONDS[resolve(replace(member, engine=engine), "cpu", images.classes).engine]
    # the lane engine runs separable convolutions as plain ones, and the others gain nothing by them
    layers = layers_of(replace(member, convolution="plain"), images.classes)
    an_image = sum(
        count * (each.convolution if place.kind == "convolution" else each.rest)
        for place, count in zip(places(layers), multiply_adds(layers), strict=True)
    )
    parameters, steps = parameter_count(layers), math.ceil(images.train / member.batch_size)
    passes = len(places(layers)) + sum(layer.steps - 1 for layer in layers)
    a_step = each.parameter * parameters + each.layer * passes
    recorded = each.statistics * parameters
    an_epoch = an_image * images.train + a_step * steps + recorded
    return an_epoch * member.epochs + an_image / WAYS * images.train + recorded


def _device_memory(
    packs: list[tuple[MemberConfig, int]], images: dict[tuple[str, float], Images], gpus: float
) -> dict[str, int | None] | None:
    """What packs, each one of its members and their number, need of such a part of a device, in bytes.

    It is `trainers.cuda.memory`'s count, the one by which the engine goes; it grows with the number of multiprocessors:
    those of this machine's device, or an H200's where it has none.

    Of the pack that needs most: `pack` for all its `members` at once, `least` for those without which nothing starts;
    `device` and `least_device`, how large a device has to be for that, of which a pack has its part; `here`, how many
    members this machine's device takes at a time, None where it has none. None where the cuda engine trains no pack.
    Raises RequestError where that part of this machine's device is too small to start one.
    """
    from trainers.cuda import memory
    from trainers.cuda import plan as cuda_plan
    from trainers.data.dataset import probe_size
    from trainers.layers import IMAGE

    found = memory.first_device()
    programs = (found or memory.Device("", 0, H200)).programs
    needs = []
    for member, seeds in packs:
        data = images[_data_of(member)]
        layers = layers_of(member, data.classes)
        if data.train and kind_of(member, "cuda")[-1] == "cuda" and not cuda_plan.refusal(layers, IMAGE):
            plan = cuda_plan.plan_of(layers, IMAGE, cuda_plan.DEVICE)
            sizes = memory.Sizes(data.train, data.validation, data.test, probe_size(data.train))
            need = memory.need(plan, sizes, seeds, member.batch_size, programs)
            needs.append((need, seeds, plan, sizes, member.batch_size))
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
    sizes_of = {"pack": pack, "least": least, "device": device, "least_device": least_device}
    return {"members": members, **sizes_of, "here": here}
