"""What the host asks of a device, without one: what is launched, recorded and replayed, and when the host waits.

The kernels' own work is shown elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.trainers.cuda.fake_device import GB, Device, Operations
from tests.trainers.lanes.judge import regimes_of
from tests.trainers.test_engines import BASE, TINY
from trainers.cuda import memory
from trainers.cuda.array import Workshop
from trainers.cuda.engine import CudaEngine
from trainers.cuda.plan import Plan
from trainers.regimes import network
from trainers.states import MemberState, initial_state

STEP = ["network_kernel", "adam_kernel"]
UPLOAD = "aten._to_copy.default on cuda:0"
# What PyTorch calls reading a number, finding out a size, and making a tensor of the host's numbers.
WAITING = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.lift_fresh", "aten.copy_")


@contextmanager
def a_device(
    monkeypatch: pytest.MonkeyPatch, name: str = "cuda", regime: str = "combined", room: int = 139 * GB
) -> Iterator[tuple[Device, CudaEngine]]:
    device = Device(monkeypatch, room)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield device, CudaEngine(network(regime), TINY, name, 1)


def members(count: int, regime: str = "combined") -> list[MemberState]:
    state = initial_state(BASE, network(regime))
    return [
        MemberState(BASE.with_seed(s), 0, 0, state.parameters, (state.parameters,) * 2, state.buffers)
        for s in range(count)
    ]


@pytest.mark.parametrize("regime", regimes_of("cuda"))
@pytest.mark.parametrize("count", [1, 225])
def test_a_step_is_two_launches_and_an_epoch_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch, count: int, regime: str
) -> None:
    """However many members: nothing is allocated, copied or computed by PyTorch in the recorded step either."""
    with a_device(monkeypatch, regime=regime) as (device, engine):
        trained = engine.train_epoch(members(count, regime))
    assert len(trained) == count
    assert device.seen[:9] == [*STEP, "record", *STEP, "recorded", "replay", "replay", "wait"]  # 70 images by 32
    assert set(device.seen[9:]) == {"read"}


def test_evaluations_and_probes_are_two_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_device(monkeypatch) as (device, engine):
        engine.evaluate(members(100), "test")
        engine.probe(members(100))
    launched = [what for what in device.seen if what != "read"]
    assert launched == ["network_kernel", "score_kernel", "network_kernel", "gradient_kernel"]


@pytest.mark.parametrize("regime", regimes_of("cuda"))
def test_statistics_go_up_before_the_probe_and_come_back_at_once(monkeypatch: pytest.MonkeyPatch, regime: str) -> None:
    """In between, however many members, the same operations on the device alone, and none that waits for it."""
    found = []
    with a_device(monkeypatch, regime=regime) as (device, engine):
        for count in (1, 225):
            device.seen.clear()
            with Operations(device.seen):
                assert len(engine.statistics(members(count, regime), members(count, regime))) == count
            launched = device.seen.index("network_kernel")
            assert UPLOAD in device.seen[:launched]
            found.append([what for what in device.seen[launched:] if what != "prim.device.default"])
    assert found[0] == found[1]
    *between, last = found[0]
    assert last == "read" and "read" not in between and UPLOAD not in between
    assert not [what for what in between if what.endswith(" on cpu") or what.startswith(WAITING)]


@pytest.mark.parametrize("name, number", [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_everything_happens_on_the_device_that_was_named(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Triton launches on the current device, wherever the tensors are."""
    with a_device(monkeypatch, name) as (device, engine):
        engine.train_epoch(members(2))
        engine.evaluate(members(2), "validation")
        engine.probe(members(2))
        engine.statistics(members(2), members(2))
    assert device.used == {number}
    assert device.current == 0


def test_the_room_is_what_is_free_and_no_more_than_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch, 100 * GB)
    assert memory.room(0) == 100 * GB
    monkeypatch.setattr(torch._C, "_cuda_getMemoryFraction", lambda device: 0.25)
    assert memory.room(0) == 25 * GB
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * GB)
    assert memory.room(0) == 23 * GB
    driver = SimpleNamespace(cudaMemGetInfo=lambda device: (5 * GB, 100 * GB))
    monkeypatch.setattr(torch.cuda, "cudart", lambda: driver)
    assert memory.room(0) == 6 * GB


def test_a_share_leaves_cuda_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    Device(monkeypatch, 100 * GB)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", found.append)
    memory.claim(0.25)
    assert found == [0.25 - memory.CONTEXT / (100 * GB)]


def test_little_memory_is_fewer_programs_and_none_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with a_device(monkeypatch, room=GB // 4) as (_, engine):
        assert 0 < engine.programs < 264
    assert "programs run at a time, not 264" in caplog.text
    caplog.clear()
    build = Workshop.__init__

    def short(self: Workshop, plan: Plan, where: torch.device, programs: int) -> None:
        if programs > 70:
            raise torch.OutOfMemoryError("CUDA out of memory")
        build(self, plan, where, programs)

    monkeypatch.setattr(Workshop, "__init__", short)
    with a_device(monkeypatch) as (_, engine):
        assert engine.programs == engine.workshop.programs == 66
    assert caplog.messages == [f"out of the device's memory: {n} programs run at a time" for n in (132, 66)]
    with pytest.raises(MemoryError, match=r"larger share \(resources.gpus\)"), a_device(monkeypatch, room=2**20):
        pass
