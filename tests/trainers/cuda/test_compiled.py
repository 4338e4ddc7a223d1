"""The kernels compile for a real architecture, without a device: by Triton's own compiler and assembler."""

import importlib.util
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernels_compile_for_an_h200_without_spilling() -> None:
    """In a process of its own, since in this one they may be interpreted; from nothing, or from Triton's cache."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "trainers.cuda.compiled"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    kernels = [line for line in done.stdout.splitlines() if " registers, " in line]
    names = ["network, train", "network, evaluate", "network, probe", "adam_kernel", "gradient_kernel", "score_kernel"]
    assert [line.split(":")[0] for line in kernels] == names
    for line in kernels:
        registers, stack = (int(line.split(what)[0].split()[-1]) for what in (" registers", " bytes of stack"))
        assert registers <= 255 and stack <= 256  # little goes to memory, and nothing in the loops that do the work
    assert done.stdout.count("multiply-adds:") >= 4  # the loops of the three large phases
