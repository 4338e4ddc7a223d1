"""What the host asks of a device, without one: PyTorch's fake tensors lie on it, and kernels note how they are called.

It shows what is launched, recorded and replayed, and when the host waits; the kernels' own work is shown elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainers.test_engines import BASE, TINY
from trainers.cuda import array, memory
from trainers.cuda.compiled import POINTERS
from trainers.cuda.engine import CudaEngine
from trainers.cuda.kernels import network as network_kernels
from trainers.cuda.kernels import optimizer as optimizer_kernels
from trainers.regimes import REGIMES, network
from trainers.states import MemberState, initial_state

TYPES = {
    "*fp32": torch.float32,
    "*fp64": torch.float64,
    "*i32": torch.int32,
    "*i64": torch.int64,
    "*u8": torch.uint8,
}
GB = 2**30
STEP = ["network_kernel", "adam_kernel"]


class Operations(TorchDispatchMode):
    """Notes every operation of PyTorch's."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(operation))
        return operation(*args, **(kwargs or {}))


class Launcher:
    """What `kernel[grid]` gives."""

    def __init__(self, launch: Any) -> None:
        self.launch = launch

    def __getitem__(self, grid: Any) -> Any:
        return self.launch


class Device:
    """A device that does nothing; `seen` is what it was asked for, in order, and `current` the current one's number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.seen: list[str] = []
        self.current = 0
        self.used: set[int] = set()
        monkeypatch.delenv("TRITON_INTERPRET", raising=False)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: self.current)
        monkeypatch.setattr(torch.cuda, "device", self.on)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: self.seen.append("wait"))
        properties = SimpleNamespace(multi_processor_count=132, total_memory=room)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        # what is asked of the driver: PyTorch's own functions around it are the real ones
        monkeypatch.setattr("torch.cuda.memory._lazy_init", lambda: None)
        monkeypatch.setattr(torch._C, "_cuda_getMemoryFraction", lambda device: 1.0, raising=False)
        driver = SimpleNamespace(cudaMemGetInfo=lambda device: (room, room))
        monkeypatch.setattr(torch.cuda, "cudart", lambda: driver)
        monkeypatch.setattr(array, "recorded", self.recorded)
        monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: self.read(tensor))
        monkeypatch.setattr(network_kernels, "network_kernel", self.kernel(network_kernels.network_kernel))
        for name in ("adam_kernel", "gradient_kernel", "score_kernel"):
            monkeypatch.setattr(optimizer_kernels, name, self.kernel(getattr(optimizer_kernels, name)))

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        before, self.current = self.current, device.index
        yield
        self.current = before

    def kernel(self, kernel: Any) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            """As it was compiled for: these pointers, numbers elsewhere, and nothing left out."""
            given = dict(zip(kernel.arg_names, args, strict=False)) | options
            assert set(kernel.arg_names) <= set(given)
            for name, value in given.items():
                if name in POINTERS:
                    assert value.device == torch.device("cuda", self.current), name
                    assert value.dtype == TYPES[POINTERS[name]], name
                    assert value.is_contiguous(), name
                else:
                    assert type(value) in (int, bool), name
            self.used.add(self.current)
            self.seen.append(kernel.__name__)

        return Launcher(launch)

    def recorded(self, step: Any) -> Any:
        """Whatever PyTorch does during the recording would be recorded too, or forbidden."""
        with Operations(self.seen):
            self.seen.append("record")
            step()
            self.seen.append("recorded")
        return SimpleNamespace(replay=lambda: self.seen.append("replay"))

    def read(self, tensor: torch.Tensor) -> Any:
        self.seen.append("read")
        return SimpleNamespace(numpy=lambda: np.zeros(tensor.shape, np.dtype(str(tensor.dtype).split(".")[1])))


@contextmanager
def a_device(
    monkeypatch: pytest.MonkeyPatch, name: str = "cuda", regime: str = "combined", room: int = 139 * GB
) -> Iterator[tuple[Device, CudaEngine]]:
    device = Device(monkeypatch, room)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield device, CudaEngine(network(regime), TINY, name, 1)


def members(count: int, regime: str = "combined") -> list[MemberState]:
    state = initial_state(BASE, network(regime))
    return [MemberState(BASE.with_seed(s), 0, 0, *[state.parameters] * 3) for s in range(count)]


@pytest.mark.parametrize("regime", REGIMES)
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


@pytest.mark.parametrize("name, number", [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_everything_happens_on_the_device_that_was_named(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Triton launches on the current device, wherever the tensors are."""
    with a_device(monkeypatch, name) as (device, engine):
        engine.train_epoch(members(2))
        engine.evaluate(members(2), "validation")
        engine.probe(members(2))
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
    with pytest.raises(MemoryError, match=r"larger share \(resources.gpus\)"), a_device(monkeypatch, room=2**20):
        pass
