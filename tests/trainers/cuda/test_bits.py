"""The same bits: alone or among others, one of them diverged, whatever runs side by side, and resumed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.trainers.cuda.device import DEVICE
from tests.trainers.cuda.harness import BLOCKS, IMAGE, array, states
from tests.trainers.lanes.judge import Case, glorot, images
from trainers.cuda.array import Resident, resident
from trainers.layers import Convolution, Dense, Pooling
from trainers.members import MemberConfig
from trainers.states import MemberState
from trainers.streams import order_of_images

# The first one diverges at once.
MEMBERS = (
    MemberConfig(seed=1),
    MemberConfig(seed=2, activation="silu", scaling="naive", alpha=1.5, r=0.01, penalty="l1"),
    MemberConfig(seed=1, activation="logsigmoid", alpha=3.0, r=0.1, learning_rate=0.01),
)
LAYERS = (
    Convolution("conv1", separable=True),
    Pooling("pool1"),
    Convolution("conv2"),
    Dense("dense1", 4, bias=True),
    Dense("output", 3, activated=False),
)
LANES = BLOCKS.lanes
# A batch of two blocks of images, the second one incomplete; then one of a single incomplete block.
COUNT, BATCH = LANES + 5, LANES + 2


def case_of(members: tuple[MemberConfig, ...]) -> Case:
    parameters = np.stack([glorot(LAYERS, IMAGE, m.seed) for m in members])
    return Case(LAYERS, images(COUNT, IMAGE, 3, 0), members, parameters)


def epoch(
    case: Case, start: list[MemberState], number: int, split: Resident, programs: int = 2
) -> tuple[list[MemberState], list[tuple[bytes, ...]]]:
    """One epoch from there: the states after it, and the bits of everything that is recorded, a member each.

    What is no part of the training is looked at after the first epoch alone.
    """
    members = array(case, programs, start)
    orders = np.stack([order_of_images(m.seed, number, COUNT) for m in case.members]).astype(np.int32)
    found = [*members.train_epoch(split, orders, np.arange(len(start), dtype=np.int32), BATCH)]
    columns = [t.cpu().numpy() for t in (members.parameters, members.first_moment, members.second_moment)]
    found += columns
    if number == 1:
        found += [*members.evaluate(split), *(t.cpu().numpy() for t in members.probe(split))]
    after = [
        replace(s, epoch=number, step=s.step + 2, parameters=p, kept=(m, v))
        for s, p, m, v in zip(start, *columns, strict=True)
    ]
    return after, [tuple(a[i].tobytes() for a in found) for i in range(len(start))]


@pytest.mark.slow
def test_alone_in_a_pack_in_any_number_of_programs_and_resumed() -> None:
    together = case_of(MEMBERS)
    together.parameters[0] = np.nan
    split = resident(together.split, torch.device(DEVICE))
    after, first = epoch(together, states(together), 1, split, programs=2)
    assert len(set(first)) == len(MEMBERS)
    assert np.isnan(after[0].parameters).all()
    assert np.isnan(np.frombuffer(first[0][0])).all()  # its loss says so
    _, second = epoch(case_of(MEMBERS[1:]), after[1:], 2, split, programs=6)
    alone = case_of(MEMBERS[2:])
    rest, same = epoch(alone, states(alone), 1, split, programs=1)
    assert same == first[2:]
    # from the numbers alone, as a checkpoint keeps them
    resumed = [replace(s, parameters=np.frombuffer(s.parameters.tobytes(), np.float32)) for s in rest]
    assert epoch(alone, resumed, 2, split, programs=1)[1] == second[1:]
