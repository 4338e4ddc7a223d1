"""The kernels compile for a real architecture, without a device: by Triton's own compiler and assembler."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed"),
]


def run(module: str) -> str:
    """What a module prints in a process of its own, since in this one the kernels may be interpreted."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def compiled() -> dict[str, list[str]]:
    """What is reported of each kernel, line by line, compiled for an H200: from nothing, or from Triton's cache."""
    found: dict[str, list[str]] = {}
    for line in run("trainers.cuda.compiled").splitlines():
        if not line.startswith(" "):
            name, _, line = line.partition(": ")
        found.setdefault(name, []).append(line.strip())
    return found


def test_all_kernels_compile_and_hardly_anything_is_spilled(compiled: dict[str, list[str]]) -> None:
    names = ["network, train", "network, evaluate", "network, probe", "adam_kernel", "gradient_kernel", "score_kernel"]
    assert list(compiled) == names
    for first, *_ in compiled.values():
        registers, stack = (int(first.split(what)[0].split()[-1]) for what in (" registers", " bytes of stack"))
        assert registers <= 255 and stack <= 512  # little goes to memory, and in training nothing in the loops
    loops = [line for line in compiled["network, train"] if "multiply-adds" in line]
    assert len(loops) >= 4  # of the three large phases
    assert all(" 0 to or from the stack" in line for line in loops)


def test_no_atomic_operation_is_in_a_sum_whose_order_shows(compiled: dict[str, list[str]]) -> None:
    """Saturated units are counted with them, in whole numbers; there are no others."""
    atomics = {name: first.split("atomic ones: ")[1] for name, (first, *_) in compiled.items()}
    assert atomics.pop("network, probe").split()[1:] == ["red.global.gpu.relaxed.add.u32"]
    assert set(atomics.values()) == {"none"}


def test_what_a_thread_multiplies_in_place_it_has_read_itself(compiled: dict[str, list[str]]) -> None:
    """No barrier is between reading a slope and writing the gradient by z to its place."""
    for kernel in ("network, train", "network, probe"):
        for part in ("by_image", "by_weights"):
            assert f"{part}: values go from thread to thread 0 times" in compiled[kernel]


def test_every_pack_is_trained_by_the_same_machine_code() -> None:
    """Another compilation for a pack of one, or for sizes that 16 divides, could round otherwise."""
    found = {name: len(digests) for name, digests in json.loads(run("tests.trainers.cuda.front_end")).items()}
    # one each for training, evaluation and probe
    assert found == {"network_kernel": 3, "adam_kernel": 1, "gradient_kernel": 1, "score_kernel": 1}
