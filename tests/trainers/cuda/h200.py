"""Kernels compiled for an H200 without one: Triton is told of a device, and launches go wherever they are sent.

For processes of their own (`python -m tests.trainers.cuda.front_end`), without TRITON_INTERPRET.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from trainers.cuda.kernels import network as network_kernels
from trainers.cuda.kernels import optimizer as optimizer_kernels

H200 = SimpleNamespace(
    get_current_device=lambda: 0,
    get_current_stream=lambda device: 0,
    get_current_target=lambda: GPUTarget("cuda", 90, 32),
)

# The kernel's name, what was made of it, its arguments but the constants, and the grid.
Launch = Callable[[str, Any, tuple[Any, ...], tuple[int, ...]], None]


class Launcher:
    """A kernel that is compiled for each launch by the very arguments, as Triton does it, and then handed on."""

    def __init__(self, kernel: Any, launch: Launch) -> None:
        self.kernel = kernel.kernel if isinstance(kernel, Launcher) else kernel
        self.launch = launch

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*args: Any, **options: Any) -> None:
            made = self.kernel.warmup(*args, grid=grid, **options)
            self.launch(self.kernel.__name__, made, args, grid)

        return launch


def install(launch: Launch) -> None:
    """From here on all launches of the engine go to this function."""
    driver.set_active(H200)
    network_kernels.network_kernel = Launcher(network_kernels.network_kernel, launch)
    for name in ("adam_kernel", "gradient_kernel", "score_kernel"):
        setattr(optimizer_kernels, name, Launcher(getattr(optimizer_kernels, name), launch))
