"""What the compiler makes of the kernels, without a device: `python -m trainers.cuda.compiled`.

It compiles them for an architecture with the assembler that Triton brings along, and reads registers, memory for what
did not fit into them, and the mix of instructions in the loops that do the work.

    >>> for report in reports("combined", architecture=90): print(report)
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.cuda import interpreted
from trainers.cuda.plan import DEVICE, Plan, plan_of
from trainers.layers import IMAGE
from trainers.regimes import network

POINTERS = {
    "scratch": "*fp32",
    "convolutions": "*i32",
    "dense": "*i32",
    "images": "*u8",
    "labels": "*i32",
    "orders": "*i32",
    "order_of": "*i32",
    "parameters": "*fp32",
    "settings": "*fp32",
    "kinds": "*i32",
    "counters": "*i32",
    "gradients": "*fp32",
    "losses": "*fp64",
    "hits": "*i32",
    "counts": "*i32",
    "first_moment": "*fp32",
    "second_moment": "*fp32",
    "learning_rates": "*fp64",
    "steps": "*i64",
    "loss_sums": "*fp64",
    "hit_sums": "*i64",
    "totals": "*fp32",
}


@dataclass(frozen=True)
class Report:
    """One kernel: registers a thread, bytes of stack a thread and of shared memory, and its loops with most FFMA.

    `atomics` are its atomic operations, and `exchanges` how often a function of its own (`noinline`) hands values from
    thread to thread.
    """

    kernel: str
    registers: int
    stack: int
    shared: int
    instructions: int
    loops: tuple[Counter[str], ...]
    atomics: Counter[str]
    exchanges: dict[str, int]

    def __str__(self) -> str:
        atomics = ", ".join(f"{count} {name}" for name, count in self.atomics.items())
        lines = [
            f"{self.kernel}: {self.registers} registers, {self.stack} bytes of stack, {self.shared} of shared memory, "
            f"{self.instructions} instructions, atomic ones: {atomics or 'none'}"
        ]
        for name, count in self.exchanges.items():
            lines.append(f"    {name}: values go from thread to thread {count} times")
        for loop in self.loops:
            most = ", ".join(f"{count} {name}" for name, count in loop.most_common(9))
            spilled = loop["LDL"] + loop["STL"]
            share = f"{loop['FFMA'] / loop.total():.0%} multiply-adds"
            lines.append(f"    a loop of {loop.total()}, {share}, {spilled} to or from the stack: {most}")
        return "\n".join(lines)


def reports(regime: str, architecture: int) -> Iterator[Report]:
    """Compile every kernel as the engine launches it. Raises ValueError where the interpreter stands in its place."""
    if interpreted():
        raise ValueError("TRITON_INTERPRET must not be set: there would be nothing to compile")
    from trainers.cuda.kernels.network import network_kernel
    from trainers.cuda.kernels.optimizer import adam_kernel, gradient_kernel, score_kernel

    plan = plan_of(network(regime), IMAGE, DEVICE)
    for name, flags in (("train", (True, False)), ("evaluate", (False, False)), ("probe", (True, True))):
        yield _report(f"network, {name}", network_kernel, _constants(plan, *flags), architecture)
    for kernel in (adam_kernel, gradient_kernel, score_kernel):
        yield _report(kernel.__name__, kernel, {"WIDTH": 256, "LANES": plan.blocks.lanes}, architecture)


def _constants(plan: Plan, keep: bool, count: bool) -> dict[str, Any]:
    blocks = plan.blocks
    return {
        "IMAGE_HEIGHT": plan.image[1],
        "IMAGE_WIDTH": plan.image[2],
        "FLAT": plan.flat,
        "WIDEST": plan.widest,
        "LANES": blocks.lanes,
        "SLOTS": blocks.slots,
        "STRIP": blocks.strip,
        "PIXELS": blocks.pixels,
        "SUMS": blocks.sums,
        "KEEP": keep,
        "COUNT": count,
    }


def _report(name: str, kernel: Any, constants: dict[str, Any], architecture: int) -> Report:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants = {k: v for k, v in constants.items() if k in kernel.arg_names}
    signature = {n: POINTERS.get(n, "constexpr" if n in constants else "i32") for n in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(kernel.arg_names) if n in POINTERS}
    warps = DEVICE.warps if "SLOTS" in constants else 4
    made = triton.compile(
        ASTSource(kernel, signature, constexprs=constants, attrs=aligned),
        target=GPUTarget("cuda", architecture, 32),
        options={"num_warps": warps, "num_stages": 1, "enable_fp_fusion": False},
    )
    with tempfile.TemporaryDirectory(prefix="gradsweep-compiled-") as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(made.asm["cubin"])
        usage, code = (_cuobjdump(option, file) for option in ("--dump-resource-usage", "--dump-sass"))
    registers, stack = (int(n) for n in re.findall(r"(?:REG|STACK):(\d+)", usage)[:2])
    instructions = _instructions(code)
    atomics = Counter(re.findall(r"\b(?:atom|red)\.[a-z0-9_.]+", made.asm["ptx"]))
    parts = re.findall(r"tt\.func private @([\w.]+?)__(.*?)\n  }", made.asm["ttgir"], re.DOTALL)
    exchanges = {part.rpartition(".")[2]: body.count("ttg.convert_layout") for part, body in parts}
    return Report(
        name, registers, stack, made.metadata.shared, len(instructions), _loops(instructions), atomics, exchanges
    )


def _cuobjdump(option: str, file: Path) -> str:
    import triton

    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return subprocess.run([program, option, file], check=True, capture_output=True, text=True).stdout


def _instructions(code: str) -> list[tuple[int, str, str]]:
    """(address, operation, operands) of every instruction of a disassembly."""
    line = re.compile(r"^\s+/\*([0-9a-f]{4,6})\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9]+)[A-Z0-9_.]*\s*([^;]*);", re.MULTILINE)
    return [(int(at, 16), name, operands) for at, name, operands in line.findall(code)]


def _loops(instructions: list[tuple[int, str, str]]) -> tuple[Counter[str], ...]:
    """The innermost loops in which a hundred multiply-adds or more are, by their instructions."""
    ends = []
    for at, name, operands in instructions:
        target = re.search(r"0x([0-9a-f]+)", operands)
        if name == "BRA" and target and int(target[1], 16) < at:
            ends.append((int(target[1], 16), at))
    inner = [(a, b) for a, b in ends if not any(a <= c and d <= b and (a, b) != (c, d) for c, d in ends)]
    found = [Counter(name for at, name, _ in instructions if a <= at <= b) for a, b in inner]
    return tuple(loop for loop in found if loop["FFMA"] >= 100)


if __name__ == "__main__":
    for report in reports(sys.argv[1] if len(sys.argv) > 1 else "combined", 90):
        print(report, flush=True)
