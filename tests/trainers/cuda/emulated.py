"""Members trained by the compiled kernels themselves, which `ptx` runs thread by thread: no device, and no interpreter.

`python -m tests.trainers.cuda.emulated WHAT` prints one JSON document. WHAT is a regime: two members of it, on two
blocks of images of which the second one is incomplete; `activations`: a small network with each of them, for two steps
too; `barriers`: what is found where one of the network kernel's own barriers is left out.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests.trainers.cuda.h200 import install
from tests.trainers.cuda.ptx import Fault, Memory, launch, parse
from tests.trainers.cuda.small import IMAGE as SMALL_IMAGE
from tests.trainers.cuda.small import SMALL
from tests.trainers.cuda.torch_adam import by_torch
from tests.trainers.lanes.judge import Case, error, forward, glorot, gradient, images, smooth
from trainers.cuda.array import Array, Workshop, resident
from trainers.cuda.plan import DEVICE, plan_of
from trainers.layers import IMAGE
from trainers.members import ACTIVATIONS, MemberConfig
from trainers.regimes import REGIMES, network
from trainers.states import MemberState


class Emulator:
    """Runs what is launched; `left_out` is the line of the barrier in the network kernel that is not there."""

    def __init__(self) -> None:
        self.parsed: dict[str, Any] = {}
        self.barriers = 0
        self.left_out: int | None = None

    def __call__(self, name: str, made: Any, args: tuple[Any, ...], grid: tuple[int, ...]) -> None:
        left_out = self.left_out if name == "network_kernel" else None
        key = f"{made.hash} {left_out}"
        if key not in self.parsed:
            self.parsed[key] = parse(without(made.asm["ptx"], left_out))
        memory = Memory()
        tensors = {t.data_ptr(): t for t in args if isinstance(t, torch.Tensor)}
        at = {pointer: memory.put(t.numpy()) for pointer, t in tensors.items()}
        given = [at[a.data_ptr()] if isinstance(a, torch.Tensor) else a for a in args]
        self.barriers += launch(self.parsed[key], given, grid, 32 * made.metadata.num_warps, memory)
        for pointer, tensor in tensors.items():
            tensor.copy_(torch.from_numpy(memory.get(at[pointer], tensor.numpy())))


def own_barriers(text: str) -> list[int]:
    """The lines of the barriers that the source asks for, other than those that the compiler adds."""
    lines = text.splitlines()
    (network_py,) = re.findall(r'\.file\s+(\d+)\s+"[^"]*network\.py"', text)
    return [
        i
        for i, line in enumerate(lines)
        if line.strip().startswith("bar.sync")
        and re.match(rf"\s*\.loc\s+{network_py} ", lines[i - 1])
        and "inlined_at" not in lines[i - 1]
    ]


def without(text: str, barrier: int | None) -> str:
    """The text without that line."""
    lines = text.splitlines()
    if barrier is not None:
        del lines[barrier]
    return "\n".join(lines)


def array_of(case: Case, which: slice = slice(None), programs: int = 3) -> Array:
    plan = plan_of(case.layers, case.split.images.shape[1:], DEVICE)
    zeros = np.zeros_like(case.parameters[0])
    members = zip(case.members[which], case.parameters[which], strict=True)
    return Array(
        Workshop(plan, torch.device("cpu"), programs), [MemberState(m, 0, 0, p, (zeros, zeros)) for m, p in members]
    )


def results(case: Case, which: slice = slice(None), programs: int = 3) -> list[np.ndarray]:
    """Gradients without and with the penalty, losses, hits and saturated units, a member each."""
    count = len(case.split.labels)
    split = resident(case.split, torch.device("cpu"))
    array = array_of(case, which, programs)
    probed, evaluated = [t.numpy() for t in array.probe(split)], array.evaluate(split)
    order_of = np.zeros(array.count, np.int32)
    trained = array.train_epoch(split, np.arange(count, dtype=np.int32)[None], order_of, count)
    # the first moment is a tenth of the gradient after the first step
    return [
        probed[0],
        array.first_moment.numpy() * np.float64(10),
        *evaluated,
        *trained,
        array.parameters.numpy(),
        *probed[1:],
    ]


def errors(case: Case, found: list[np.ndarray]) -> list[float]:
    """How far gradients are from float64 autograd's, without and with the penalty."""
    return [
        error(found[penalized][i], gradient(case, i, torch.float64, bool(penalized)))
        for i in range(len(case.members))
        for penalized in (0, 1)
    ]


def smooth_case(layers: Any, image: tuple[int, ...], classes: int, members: list[MemberConfig], count: int) -> Case:
    """Images of which none is decided by rounding, for all members the same."""
    split = images(3 * count, image, classes, 0)
    parameters = np.stack([glorot(layers, image, m.seed) for m in members])
    for i in range(len(members)):
        kept = smooth(Case(layers, split, (members[i],), parameters[i : i + 1]))
        assert kept is not None
        split = kept.split
    assert len(split.labels) >= count, len(split.labels)
    return Case(layers, type(split)(split.images[:count], split.labels[:count]), tuple(members), parameters)


def of_regime(regime: str) -> dict[str, Any]:
    members = [
        MemberConfig(regime=regime, alpha=2.0, r=0.01),
        MemberConfig(regime=regime, activation="silu", scaling="naive", alpha=1.5, r=0.01, penalty="l1", seed=1),
    ]
    case = smooth_case(network(regime), IMAGE, 10, members, 33)
    emulator = Emulator()
    install(emulator)
    together = results(case)
    alone = results(case, slice(1, 2), programs=1)
    same = [one[0].tobytes() == both[1].tobytes() for one, both in zip(alone, together, strict=True)]
    return {"errors": errors(case, together), "same": same, "barriers": emulator.barriers}


def of_activations() -> dict[str, Any]:
    found: dict[str, Any] = {}
    install(Emulator())
    for activation in ACTIVATIONS:
        case = smooth_case(SMALL, SMALL_IMAGE, 3, [MemberConfig(activation=activation, alpha=2.0, r=0.01)], 5)
        found[activation] = {"errors": errors(case, results(case)), **after_two_steps(case)}
    return found


def after_two_steps(case: Case) -> dict[str, float]:
    """How far parameters are from torch's after steps of three images and of two; losses and hits from float64's."""
    split, order = resident(case.split, torch.device("cpu")), np.array([3, 1, 4, 0, 2], np.int32)
    array = array_of(case)
    ((loss,), (hits,)) = array.evaluate(split)
    logits, _ = forward(
        case.layers,
        case.members[0],
        torch.tensor(case.parameters[0]).double(),
        torch.tensor(case.split.images).double() / 255,
    )
    labels = torch.tensor(case.split.labels)
    array.train_epoch(split, order[None], np.zeros(1, np.int32), 3)
    return {
        "parameters": float(np.abs(array.parameters.numpy()[0] - by_torch(case, order, 3)).max()),
        "loss": abs(loss - float(F.cross_entropy(logits, labels, reduction="sum"))),
        "hits": int(hits) - int((logits.argmax(1) == labels).sum()),
    }


def of_barriers() -> dict[str, Any]:
    case = smooth_case(SMALL, SMALL_IMAGE, 3, [MemberConfig()], 33)
    split = resident(case.split, torch.device("cpu"))
    texts: list[str] = []
    emulator = Emulator()
    install(lambda name, made, args, grid: texts.append(made.asm["ptx"]) if name == "network_kernel" else None)
    orders, order_of = np.arange(33, dtype=np.int32)[None], np.zeros(1, np.int32)
    array_of(case).train_epoch(split, orders, order_of, 33)
    install(emulator)
    found = {}
    for barrier in own_barriers(texts[0]):
        emulator.left_out = barrier
        try:
            array_of(case, programs=1).train_epoch(split, orders, order_of, 33)
            found[barrier] = ""
        except Fault as fault:
            found[barrier] = str(fault)
    return found


if __name__ == "__main__":
    what = sys.argv[1]
    made = of_regime(what) if what in REGIMES else of_activations() if what == "activations" else of_barriers()
    print(json.dumps(made))
