"""A CUDA device that does nothing but to note what it is asked for, where there is none.

PyTorch's fake tensors lie on it (`FakeTensorMode`), and kernels check how they are called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainers.cuda import array
from trainers.cuda.compiled import POINTERS
from trainers.cuda.kernels import network as network_kernels
from trainers.cuda.kernels import optimizer as optimizer_kernels

TYPES = {
    "*fp32": torch.float32,
    "*fp64": torch.float64,
    "*i32": torch.int32,
    "*i64": torch.int64,
    "*u8": torch.uint8,
}
GB = 2**30


class Operations(TorchDispatchMode):
    """Notes every operation of PyTorch's, with the device where one is named."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = (kwargs or {}).get("device")
        self.seen.append(str(operation) if device is None else f"{operation} on {device}")
        return operation(*args, **(kwargs or {}))


class Allocated(TorchDispatchMode):
    """The most bytes that tensors made by PyTorch's operations have had at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._living: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        for storage in (t.untyped_storage() for t in tree_leaves(made) if isinstance(t, torch.Tensor)):
            self._living[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        self._living = {where: (ref, size) for where, (ref, size) in self._living.items() if not ref.expired()}
        self.most = max(self.most, sum(size for _, size in self._living.values()))
        return made


class Launcher:
    """What `kernel[grid]` gives."""

    def __init__(self, launch: Any) -> None:
        self.launch = launch

    def __getitem__(self, grid: Any) -> Any:
        return self.launch


class Device:
    """A device of so many bytes, of which a process has this part.

    `seen` is what it was asked for, in order; `current` the current one's number, `used` those that were launched on.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, part: float = 1.0) -> None:
        self.seen: list[str] = []
        self.current = 0
        self.used: set[int] = set()
        monkeypatch.delenv("TRITON_INTERPRET", raising=False)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: self.current)
        monkeypatch.setattr(torch.cuda, "device", self.on)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: self.seen.append("wait"))
        properties = SimpleNamespace(name="Some GPU", multi_processor_count=132, total_memory=room)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        # what is asked of the driver: PyTorch's own functions around it are the real ones
        monkeypatch.setattr("torch.cuda.memory._lazy_init", lambda: None)
        monkeypatch.setattr(torch._C, "_cuda_getMemoryFraction", lambda device: part, raising=False)
        for name in ("memory_allocated", "memory_reserved"):  # where there is a real device, others have taken some
            monkeypatch.setattr(torch.cuda, name, lambda device=None: 0)
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
            assert options["enable_fp_fusion"] is False  # Triton warns where it is not said
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
