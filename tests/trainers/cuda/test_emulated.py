"""The compiled kernels themselves, run thread by thread without a device (`ptx`): no race, no address out of place.

What is held is what is held of the interpreted ones; a Fault in the emulation ends the process that these tests start.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.trainers.cuda.ptx import Fault, Memory, launch, parse
from trainers.members import ACTIVATIONS
from trainers.regimes import REGIMES

slow = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed"),
]


def emulated(what: str) -> Any:
    """In a process of its own, since in this one the kernels may be interpreted."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-W", "error", "-m", "tests.trainers.cuda.emulated", what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("regime", [pytest.param(regime, marks=slow) for regime in REGIMES])
def test_a_pack_of_each_regime(regime: str) -> None:
    """Two members on two blocks of images, the second one incomplete; the second member alone has the same bits."""
    found = emulated(regime)
    assert len(found["errors"]) == 4 and max(found["errors"]) <= 1e-5
    assert found["same"] and all(found["same"])
    assert found["barriers"] > 100


@pytest.mark.parametrize("of", [pytest.param("activations", marks=slow)])
def test_each_activation(of: str) -> None:
    found = emulated(of)
    assert list(found) == list(ACTIVATIONS)
    for one in found.values():
        assert max(one["errors"]) <= 1e-5
        assert one["parameters"] < 5e-5 and one["loss"] < 1e-5 and one["hits"] == 0


@pytest.mark.parametrize("of", [pytest.param("barriers", marks=slow)])
def test_a_barrier_left_out_is_a_race(of: str) -> None:
    """Of all but two: the compiler has put one of its own beside them, or the next ones are near enough."""
    found = emulated(of)
    assert len(found) >= 10
    assert sum(bool(fault) for fault in found.values()) >= len(found) - 2


HEAD = ".visible .entry k(\n\t.param .u64 k_param_0\n)\n.reqntid 64\n{\n\tld.param.b64 %rd1, [k_param_0];\n"
MINE = "\tmov.u32 %r1, %tid.x;\n\tmad.wide.u32 %rd2, %r1, 4, %rd1;\n\tst.global.b32 [%rd2], %r1;\n"
NEXT = "\txor.b32 %r2, %r1, 1;\n\tmad.wide.u32 %rd3, %r2, 4, %rd1;\n\tld.global.b32 %r3, [%rd3];\n"


def run(body: str, places: int = 64) -> np.ndarray:
    memory = Memory(1)
    array = np.zeros(places, np.uint32)
    at = memory.put(array)
    launch(parse(HEAD + body + "\tret;\n}\n"), [at], (1,), 64, memory)
    return memory.get(at, array)


def test_the_emulator_sees_what_a_kernel_must_not_do() -> None:
    """Each thread writes its number, reads its neighbour's, and writes that."""
    exchange = MINE + "\tbar.sync 0;\n" + NEXT + "\tbar.sync 0;\n\tst.global.b32 [%rd2], %r3;\n"
    assert run(exchange).tolist() == [i ^ 1 for i in range(64)]
    with pytest.raises(Fault, match="reads what another one wrote"):
        run(exchange.replace("\tbar.sync 0;\n", "", 1))
    with pytest.raises(Fault, match="overwrites what another one read"):
        run("".join(exchange.rsplit("\tbar.sync 0;\n", 1)))
    with pytest.raises(Fault, match="beyond what is allocated"):
        run(exchange, places=63)
    with pytest.raises(Fault, match="not all threads come to"):
        run(MINE + "\tsetp.lt.u32 %p1, %r1, 5;\n\t@%p1 bra $L1;\n\tbar.sync 0;\n$L1:\n")
    with pytest.raises(Fault, match="different values to one place"):
        run("\tmov.u32 %r1, %tid.x;\n\tst.global.b32 [%rd1], %r1;\n")
    both = (
        MINE
        + "\tsetp.lt.u32 %p1, %r1, 5;\n\t@!%p1 bra $L1;\n\tadd.s32 %r1, %r1, 7;\n$L1:\n\tst.global.b32 [%rd2], %r1;\n"
    )
    assert run(both).tolist() == [i + 7 if i < 5 else i for i in range(64)]
