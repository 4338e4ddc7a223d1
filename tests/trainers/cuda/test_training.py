"""Steps and epochs: torch's Adam on the penalized loss, and what the engine does with an array of members."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.trainers.cuda.device import DEVICE
from tests.trainers.cuda.harness import IMAGE, SMALL, array, small_case
from tests.trainers.cuda.torch_adam import by_torch
from tests.trainers.lanes.judge import Case, glorot, images
from tests.trainers.test_engines import BASE, split, training_of
from trainers.cuda.array import Array, Resident, resident
from trainers.cuda.engine import CudaEngine
from trainers.data.dataset import Dataset
from trainers.layers import Dense
from trainers.members import EpochRecord, MemberConfig
from trainers.reference import ReferenceEngine
from trainers.regimes import network
from trainers.states import initial_state
from trainers.training import layers_of

# Two blocks of images, the second one incomplete.
TINY = Dataset("tiny", tuple("abcdefghij"), split(36, 0), split(5, 1), split(6, 2), digest="")


@pytest.mark.parametrize("penalty, scaling", [("l1", "naive"), ("l2", "rescaled")])
def test_an_epoch_is_torchs_adam_on_the_penalized_loss(penalty: str, scaling: str) -> None:
    member = MemberConfig(penalty=penalty, scaling=scaling, alpha=1.5, r=0.02, learning_rate=0.003)
    case = small_case(member, count=14)
    order = np.random.default_rng(0).permutation(14).astype(np.int32)
    members = array(case)
    members.train_epoch(resident(case.split, torch.device(DEVICE)), order[None], np.zeros(1, np.int32), 9)
    assert np.abs(members.parameters.cpu().numpy()[0] - by_torch(case, order, 9)).max() < 5e-5


@pytest.mark.parametrize(
    "count, batch_size, classes",
    [
        pytest.param(1, 5, 3),
        pytest.param(3, 1, 3, marks=pytest.mark.slow),
        pytest.param(17, 16, 3, marks=pytest.mark.slow),
        pytest.param(16, 8, 1, marks=pytest.mark.slow),
        pytest.param(9, 9, 2, marks=pytest.mark.slow),
    ],
)
def test_odd_numbers_of_images_and_classes(count: int, batch_size: int, classes: int) -> None:
    """Blocks are of 8 images here: one image, one a step, a block and one more, one class, fewer than a batch."""
    layers = (*SMALL[:-1], Dense("output", classes, bias=True, activated=False))
    member = MemberConfig(alpha=2.0, r=0.01)
    case = Case(layers, images(count, IMAGE, classes, 0), (member,), glorot(layers, IMAGE, 0)[None])
    order = np.random.default_rng(1).permutation(count).astype(np.int32)
    on_device = resident(case.split, torch.device(DEVICE))
    members = array(case)
    losses, hits = members.train_epoch(on_device, order[None], np.zeros(1, np.int32), batch_size)
    after = members.parameters.cpu().numpy()[0]
    assert np.abs(after - by_torch(case, order, batch_size)).max() < 5e-5
    assert np.isfinite(losses).all() and 0 <= hits[0] <= count
    (loss,), (hit,) = members.evaluate(on_device)
    if classes == 1:
        assert losses[0] == loss == 0 and hits[0] == hit == count


def records(engine: CudaEngine, members: list[MemberConfig]) -> list[EpochRecord]:
    layers = layers_of(members[0], 10)
    return list(training_of([initial_state(m, layers) for m in members], engine, TINY))


@pytest.mark.slow
def test_an_engine_like_the_others() -> None:
    """Records of every epoch with every metric, near the reference engine's, and named in them."""
    member = replace(BASE, epochs=1, alpha=2.0, r=0.01, initialization="glorot_uniform")
    layers = layers_of(member, 10)
    found = records(CudaEngine(layers, TINY, DEVICE, 1), [member])
    expected = records(ReferenceEngine(layers, TINY, "cpu", 1), [member])
    assert [(r.epoch, r.engine) for r in found] == [(0, "cuda"), (1, "cuda")]
    for one, other in zip(found, expected, strict=True):
        assert tuple(one.metrics) == tuple(other.metrics)
        for name, value in one.metrics.items():
            if name != "seconds" and "vanished" not in name:
                assert value == pytest.approx(other.metrics[name], rel=2e-3, abs=1e-6), name


def test_less_memory_is_a_smaller_pack_and_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernels stand still here: a member's loss is its first parameter."""
    layers = network("combined")
    engine = CudaEngine(layers, TINY, DEVICE, 1)
    states = [initial_state(replace(BASE, seed=s), layers) for s in range(3)]

    def short(self: Array, images: Resident) -> tuple[np.ndarray, np.ndarray]:
        if self.count > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.parameters[:, 0].cpu().numpy(), np.zeros(1, np.int64)

    monkeypatch.setattr(Array, "evaluate", short)
    with caplog.at_level(logging.WARNING, "gradsweep"):
        found = engine.evaluate(states, "test")
    assert [loss for loss, _ in found] == [s.parameters[0] / len(TINY.test) for s in states]
    assert [r.getMessage() for r in caplog.records] == [
        "out of the device's memory: 3 members are now trained 2 at a time",
        "out of the device's memory: 3 members are now trained 1 at a time",
    ]
