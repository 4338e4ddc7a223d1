"""Packs of many kinds through Triton's front end, as far as it goes without a device: which kernels would be launched.

`python -m tests.trainers.cuda.front_end` prints one JSON document: for each kernel the digests of the compiled ones.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import torch

from tests.trainers.cuda.h200 import install
from trainers.cuda.array import Array, Workshop, resident
from trainers.cuda.plan import DEVICE, plan_of
from trainers.data.dataset import Split
from trainers.layers import IMAGE
from trainers.members import MemberConfig
from trainers.regimes import network
from trainers.states import initial_state

# regime, members, images, batch size: ones, numbers that 16 divides, and others
PACKS = (("combined", 1, 70, 32), ("combined", 16, 64, 33), ("many-layers", 3, 5, 1), ("large-parameters", 1, 33, 64))


def main() -> None:
    """Train, evaluate and probe every pack."""
    found: dict[str, set[str]] = {}

    def launch(name: str, made: Any, args: tuple[Any, ...], grid: tuple[int, ...]) -> None:
        found.setdefault(name, set()).add(hashlib.sha256(made.asm["cubin"]).hexdigest())

    install(launch)
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
