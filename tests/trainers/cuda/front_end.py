"""Packs of many kinds through Triton's front end, as far as it goes without a device: which kernels would be launched.

`python -m tests.trainers.cuda.front_end` prints one JSON document: for each kernel the digests of the compiled ones.
In a process of its own, since Triton is told of a device that does not exist.
"""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from trainers.cuda.array import Array, Workshop, resident
from trainers.cuda.kernels import network as network_kernels
from trainers.cuda.kernels import optimizer as optimizer_kernels
from trainers.cuda.plan import DEVICE, plan_of
from trainers.data import Split
from trainers.layers import IMAGE
from trainers.members import MemberConfig
from trainers.regimes import network
from trainers.states import initial_state

H200 = SimpleNamespace(
    get_current_device=lambda: 0,
    get_current_stream=lambda device: 0,
    get_current_target=lambda: GPUTarget("cuda", 90, 32),
)
# regime, members, images, batch size: ones, numbers that 16 divides, and others
PACKS = (("combined", 1, 70, 32), ("combined", 16, 64, 33), ("many-layers", 3, 5, 1), ("large-parameters", 1, 33, 64))


class Compiled:
    """A kernel that is compiled for each launch, by the very arguments, and not launched."""

    def __init__(self, kernel: Any, found: dict[str, set[str]]) -> None:
        self.kernel = kernel
        self.found = found

    def __getitem__(self, grid: Any) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            made = self.kernel.warmup(*args, grid=grid, **options)
            digest = hashlib.sha256(made.asm["cubin"]).hexdigest()
            self.found.setdefault(self.kernel.__name__, set()).add(digest)

        return launch


def main() -> None:
    """Train, evaluate and probe every pack."""
    driver.set_active(H200)
    found: dict[str, set[str]] = {}
    network_kernels.network_kernel = Compiled(network_kernels.network_kernel, found)
    for name in ("adam_kernel", "gradient_kernel", "score_kernel"):
        setattr(optimizer_kernels, name, Compiled(getattr(optimizer_kernels, name), found))
    cpu = torch.device("cpu")
    for regime, members, images, batch_size in PACKS:
        layers = network(regime)
        state = initial_state(MemberConfig(regime=regime), layers)
        array = Array(Workshop(plan_of(layers, IMAGE, DEVICE), cpu, programs=2), [state] * members)
        split = resident(Split(np.zeros((images, *IMAGE), np.uint8), np.zeros(images, np.int64)), cpu)
        orders = np.arange(images, dtype=np.int32)[None]
        array.train_epoch(split, orders, np.zeros(members, np.int32), batch_size)
        array.evaluate(split)
        array.probe(split)
    print(json.dumps({name: sorted(digests) for name, digests in found.items()}))


if __name__ == "__main__":
    main()
