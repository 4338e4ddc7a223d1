"""Small networks through the kernels, without the engine around them: the interpreter's time is layers and members."""

from __future__ import annotations

import numpy as np
import torch

from tests.trainers.cuda.device import DEVICE
from tests.trainers.cuda.small import IMAGE, SMALL
from tests.trainers.lanes.judge import Case, glorot, images, smooth
from trainers.cuda.array import Array, Workshop, resident
from trainers.cuda.plan import DEVICE as COMPILED
from trainers.cuda.plan import INTERPRETED, Blocks, plan_of
from trainers.members import MemberConfig
from trainers.states import MemberState

# In the interpreter pieces as small as the network; two of 8 images stand for two of 32.
BLOCKS = Blocks(lanes=8, slots=32, strip=2, pixels=256, sums=256, warps=1) if DEVICE == "cpu" else COMPILED


def small_case(member: MemberConfig, count: int = 6, seed: int = 0, factor: float = 1.0) -> Case:
    """The small network on so many random images."""
    parameters = glorot(SMALL, IMAGE, seed, factor)[None]
    return Case(SMALL, images(count, IMAGE, 3, seed), (member,), parameters)


def smooth_case(member: MemberConfig, count: int = 6) -> Case:
    """One without images that rounding can decide (see judge.smooth)."""
    tried = (smooth(small_case(member, count, seed)) for seed in range(20))
    return next(case for case in tried if case is not None and len(case.split.labels) > 1)


def states(case: Case) -> list[MemberState]:
    zeros = np.zeros_like(case.parameters[0])
    return [
        MemberState(m, 0, 0, p, (zeros, zeros), zeros[:0]) for m, p in zip(case.members, case.parameters, strict=True)
    ]


def array(case: Case, programs: int = 2, start: list[MemberState] | None = None) -> Array:
    """The case's members on the device, at the beginning or where they are."""
    device = torch.device(DEVICE)
    image = case.split.images.shape[1:]
    plan = plan_of(case.layers, image, INTERPRETED if DEVICE == "cpu" and image != IMAGE else BLOCKS)
    return Array(Workshop(plan, device, programs), start or states(case))


def probed(case: Case, programs: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients, saturated and dead units."""
    gradients, saturated, dead = array(case, programs).probe(resident(case.split, torch.device(DEVICE)))
    return gradients.cpu().numpy(), saturated.cpu().numpy(), dead.cpu().numpy()


def trained(case: Case, batch_size: int | None = None) -> np.ndarray:
    """The gradients that Adam saw in the first step, penalty included: its first moment is a tenth of them."""
    n = len(case.split.labels)
    members = array(case)
    orders, order_of = np.arange(n, dtype=np.int32)[None], np.zeros(len(case.members), np.int32)
    members.train_epoch(resident(case.split, torch.device(DEVICE)), orders, order_of, batch_size or n)
    return members.first_moment.cpu().numpy() * np.float64(10)
