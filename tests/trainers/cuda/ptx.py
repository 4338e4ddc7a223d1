"""Compiled kernels without a device: PTX, a program's threads side by side in NumPy's arrays, and an eye on its memory.

What Triton's interpreter can't show shows here, in the last readable form of the machine code: how values are laid out
over threads, addresses beyond what was allocated, barriers that not all threads come to, and races: a thread that reads
or overwrites what another one has written, or overwrites what another one has read, with no barrier between, and a
program that does so at all. They are found whatever the order in which threads happen to run here.

It knows the instructions that these kernels have and no others. Rounding is NumPy's: fma.rn.f32 goes through double
precision, and approximate division is exact.

    >>> memory = Memory()
    >>> at = memory.put(array)
    >>> launch(parse(compiled.asm["ptx"]), [at, ...], grid=(2,), threads=256, memory=memory)
    >>> memory.get(at, array)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# What an instruction does to the registers, for the active threads (None: all); where it goes on, None for the next.
Step = Callable[[dict[str, Array], Array | None], Any]

TYPES: dict[str, Any] = {
    **{f"s{8 * n}": np.dtype(f"i{n}").type for n in (2, 4, 8)},
    **{f"{kind}{8 * n}": np.dtype(f"u{n}").type for n in (1, 2, 4, 8) for kind in "bu"},
    "f32": np.float32,
    "f64": np.float64,
}
RAW: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
COMPARE = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "geu": lambda a, b: ~(a < b),
    "nan": lambda a, b: np.isnan(a) | np.isnan(b),
}
MANY = -2  # more than one thread


class Fault(Exception):
    """What a kernel did that it must not do."""


class Watch:
    """Who has written and who has read each word since all of them were last in step."""

    def __init__(self, who: str, words: int) -> None:
        self.who = who
        self.writer, self.reader = np.full(words, -1, np.int32), np.full(words, -1, np.int32)
        self.touched: list[Array] = []

    def in_step(self) -> None:
        for words in self.touched:
            self.writer[words] = self.reader[words] = -1
        self.touched.clear()

    def read(self, words: Array, who: Array) -> None:
        self._check(words, who, self.writer, "reads what another one wrote")
        before = self.reader[words]
        self.reader[words] = np.where((before == -1) | (before == who), who, MANY)
        self.reader[words[self.reader[words] != who]] = MANY
        self.touched.append(words)

    def write(self, words: Array, who: Array, same: Array) -> None:
        """Where the same value is there already it does no harm."""
        self._check(words[~same], who[~same], self.writer, "overwrites what another one wrote")
        self._check(words[~same], who[~same], self.reader, "overwrites what another one read")
        self.writer[words] = who
        self.touched.append(words)

    def _check(self, words: Array, who: Array, others: Array, what: str) -> None:
        before = others[words]
        if ((before != -1) & (before != who)).any():
            raise Fault(f"a {self.who} {what}, with no barrier between")


class Space:
    """Memory by words of 4 bytes: what is allocated, and what threads and programs do there."""

    def __init__(self, name: str, words: int) -> None:
        self.name = name
        self.bytes = np.zeros(4 * words, np.uint8)
        self.allocated = np.zeros(words, bool)
        self.threads, self.programs = Watch("thread", words), Watch("program", words)
        self.program = 0

    def read(self, at: Array, size: int, who: Array) -> Array:
        """The raw values at addresses that these threads read."""
        for words in self._words(at, size):
            self.threads.read(words, who)
            self.programs.read(words, np.full_like(who, self.program))
        found: Array = self.bytes.view(RAW[size])[at // size]
        return found

    def write(self, at: Array, values: Array, size: int, who: Array) -> None:
        """Raw values to addresses."""
        view = self.bytes.view(RAW[size])
        same = view[at // size] == values
        for words in self._words(at, size):
            self.threads.write(words, who, same)
            self.programs.write(words, np.full_like(who, self.program), same)
        view[at // size] = values
        if not np.array_equal(view[at // size], values):
            raise Fault(f"{self.name}: two threads write different values to one place")

    def add(self, at: Array, values: Array, size: int) -> None:
        """Atomically."""
        self._words(at, size)
        np.add.at(self.bytes.view(values.dtype), at // size, values)

    def _words(self, at: Array, size: int) -> list[Array]:
        if (at % size).any():
            raise Fault(f"{self.name}: an address that {size} does not divide")
        words = [at // 4 + i for i in range(max(1, size // 4))]
        for w in words:
            if (w < 0).any() or (w >= len(self.allocated)).any() or not self.allocated[w].all():
                raise Fault(f"{self.name}: an address beyond what is allocated")
        return words


class Memory(Space):
    """The device's; what is put there lies apart, so that nothing is reached from its neighbour by accident."""

    def __init__(self, megabytes: int = 64) -> None:
        super().__init__("memory", megabytes * 2**18)
        self.used = 4096

    def put(self, array: Array) -> int:
        """Copy an array to the device: its address."""
        at = self.used
        self.bytes[at : at + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        self.allocated[at // 4 : -(-(at + array.nbytes) // 4)] = True
        self.used += -(-array.nbytes // 256) * 256 + 4096
        return at

    def get(self, at: int, like: Array) -> Array:
        """What is at an address, in the shape and type of an array."""
        found: Array = self.bytes[at : at + like.nbytes].view(like.dtype).reshape(like.shape).copy()
        return found


@dataclass
class Instruction:
    """`@!predicate operation.kinds operands;`"""

    predicate: str | None
    negated: bool
    kinds: list[str]
    operands: list[str]


@dataclass
class Function:
    """The names of its parameters, its instructions, where its labels are, and its tables of labels."""

    parameters: list[str]
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=dict)


def parse(text: str) -> dict[str, Function]:
    """The functions of a file of PTX by their names, the kernel's is "entry"."""
    text = re.sub(r"//[^\n]*", "", text)
    found = {}
    for kind, name, parameters, body in re.findall(
        r"^(\.visible \.entry|\.func) ([\w$]+)\s*\(([^)]*)\)[^;{]*\{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE
    ):
        function = Function(re.findall(r"[\w$]+_param_\d+", parameters))
        for table, targets in re.findall(r"([$\w]+):\s*\.branchtargets\s*([^;]*);", body):
            function.tables[table] = [target.strip() for target in targets.split(",")]
        for piece in re.split(r"[;\n]", re.sub(r"[$\w]+:\s*\.branchtargets[^;]*;", "", body)):
            line = re.sub(r"^(\{(?!.*\})|\})", "", piece.strip()).strip()
            if label := re.fullmatch(r"([$\w]+):", line):
                function.labels[label[1]] = len(function.code)
            elif line and not line.startswith("."):
                function.code.append(_instruction(line))
        found["entry" if kind.startswith(".visible") else name] = function
    return found


def _instruction(line: str) -> Instruction:
    match = re.fullmatch(r"(?:@(!?)(%p\d+)\s+)?(\S+)\s*(.*)", line)
    assert match, line
    negated, predicate, operation, operands = match.groups()
    parts = re.findall(r"\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|[^\s,]+", operands)
    return Instruction(predicate, negated == "!", operation.split("."), parts)


def launch(
    functions: dict[str, Function], arguments: list[int], grid: tuple[int, ...], threads: int, memory: Memory
) -> int:
    """All programs of a launch to their end; `arguments` are addresses and whole numbers. Raises Fault.

    Returns how many barriers the programs came to.
    """
    x, y = (*grid, 1)[:2]
    barriers = 0
    for number in range(x * y):
        memory.program = number
        machine = _Machine(
            functions,
            memory,
            threads,
            {"%ctaid.x": number % x, "%ctaid.y": number // x, "%nctaid.x": x, "%nctaid.y": y},
        )
        machine.call("entry", [np.full(threads, a % 2**64, np.uint64) for a in arguments])
        memory.threads.in_step()
        barriers += machine.barriers
    memory.programs.in_step()
    return barriers


class _Machine:
    def __init__(self, functions: dict[str, Function], memory: Memory, threads: int, numbers: dict[str, int]) -> None:
        self.functions, self.memory = functions, memory
        self.shared = Space("shared memory", 2**16)
        self.shared.allocated[:] = True
        self.threads = np.arange(threads, dtype=np.int32)
        self.constants = {"%tid.x": self.threads.astype(np.uint64), "global_smem": np.uint64(0)}
        self.constants |= {name: np.uint64(number) for name, number in numbers.items()}
        self.passed: dict[str, Array] = {}
        self.barriers = 0
        self.steps: dict[str, list[Step]] = {}

    def call(self, name: str, arguments: list[Array]) -> None:
        function = self.functions[name]
        if name not in self.steps:
            self.steps[name] = [self._step(function, i) for i in range(len(function.code))]
        steps = self.steps[name]
        registers: dict[str, Array] = dict(zip(function.parameters, arguments, strict=False))
        at: Any = 0  # where all threads are, or an array of where each one is
        while True:
            here = at if isinstance(at, int) else int(at.min())
            if here == len(steps):
                return
            active = None if isinstance(at, int) else at == here
            try:
                goes = steps[here](registers, active)
            except Fault as fault:
                raise Fault(f"{fault} ({name.rpartition('_$_')[2][:20]} {function.code[here]})") from None
            goes = here + 1 if goes is None else goes
            if active is not None:
                goes = np.where(active, goes, at)
            at = goes if isinstance(goes, int) else int(goes[0]) if (goes == goes[0]).all() else goes

    def _step(self, function: Function, here: int) -> Step:
        instruction = function.code[here]
        name, operands = instruction.kinds[0], instruction.operands
        predicate, negated = instruction.predicate, instruction.negated
        if name == "bra":
            target = function.labels[operands[0]]
            if predicate is None:
                return lambda registers, active: target
            return lambda registers, active: np.where(registers[predicate] != negated, target, here + 1)
        if name == "brx":
            targets = np.array([function.labels[t] for t in function.tables[operands[1]]])
            return lambda registers, active: targets[registers[operands[0]]]
        if name == "ret":
            return lambda registers, active: len(function.code)
        work = self._work(instruction)
        if predicate is None:
            return work

        def guarded(registers: dict[str, Array], active: Array | None) -> None:
            mask = registers[predicate] != negated
            mask = mask if active is None else mask & active
            if mask.any():
                work(registers, None if mask.all() else mask)

        return guarded

    def _work(self, instruction: Instruction) -> Step:
        name, operands = instruction.kinds[0], instruction.operands
        if name == "bar":
            return self._barrier
        if name == "prefetch":
            return lambda registers, active: None
        if name == "call":
            names = [n.strip() for n in operands[1].strip("()").split(",")]
            return lambda registers, active: (
                self._together(active, "call") or self.call(operands[0], [self.passed[n] for n in names])
            )
        if name in ("ld", "st") and instruction.kinds[1] == "param":
            return self._parameter(instruction)
        if name in ("ld", "st", "red"):
            return self._access(instruction)
        if name in ("ldmatrix", "stmatrix"):
            return self._matrix(name, operands)
        if name in ("shfl", "redux"):
            return self._exchange(name, operands)
        return self._compute(instruction)

    def _together(self, active: Array | None, what: str) -> None:
        if active is not None:
            raise Fault(f"a {what} that not all threads come to")

    def _barrier(self, registers: dict[str, Array], active: Array | None) -> None:
        self._together(active, "barrier")
        self.barriers += 1
        self.memory.threads.in_step()
        self.shared.threads.in_step()

    def _value(self, operand: str, kind: str) -> Callable[[dict[str, Array]], Any]:
        """An operand as a type: a register's bits, a number, or what is the same all the time."""
        if kind == "pred":
            constant = operand != "0"
            return (lambda registers: registers[operand]) if operand.startswith("%") else lambda registers: constant
        dtype = TYPES[kind]
        raw = RAW[np.dtype(dtype).itemsize]
        if operand in self.constants:
            fixed = self.constants[operand].astype(raw).view(dtype)
            return lambda registers: fixed
        if operand.startswith("%"):
            return lambda registers: registers[operand].astype(raw, copy=False).view(dtype)
        if operand.startswith(("0f", "0d")):
            number = np.array([int(operand[2:], 16)], raw).view(dtype)[0]
        else:
            number = np.array([int(operand.rstrip("U"), 0) % 2 ** (8 * raw().itemsize)], raw).view(dtype)[0]
        return lambda registers: number

    def _all(self, value: Any) -> Array:
        return np.ascontiguousarray(np.broadcast_to(value, self.threads.shape))

    def _set(self, registers: dict[str, Array], name: str, value: Any, active: Array | None) -> None:
        value = self._all(value)
        if value.dtype != bool:
            value = value.view(RAW[value.dtype.itemsize])
        if active is not None:
            value = np.where(active, value, registers.get(name, np.zeros_like(value)).astype(value.dtype, copy=False))
        registers[name] = value

    def _parameter(self, instruction: Instruction) -> Step:
        kind, operands = instruction.kinds[-1], instruction.operands
        if instruction.kinds[0] == "st":
            value, name = self._value(operands[1], kind), operands[0].strip("[] ")
            return lambda registers, active: self._set(self.passed, name, value(registers), active)
        name, dtype = operands[1].strip("[] "), TYPES[kind]
        wide = np.int64 if operands[0].startswith("%rd") and kind == "s32" else dtype
        raw = RAW[np.dtype(dtype).itemsize]
        return lambda registers, active: self._set(
            registers, operands[0], registers[name].astype(raw).view(dtype).astype(wide), active
        )

    def _access(self, instruction: Instruction) -> Step:
        name, where, kind = instruction.kinds[0], instruction.kinds[1], instruction.kinds[-1]
        dtype = TYPES[kind]
        size = np.dtype(dtype).itemsize
        space = self.memory if where == "global" else self.shared
        # the threads of a warp exchange values through shared memory without a barrier
        who = self.threads if where == "global" else self.threads // 32
        place, listed = instruction.operands if name != "ld" else reversed(instruction.operands)
        base, _, offset = place.strip("[] ").partition("+")
        address = self._value(base.strip(), "b64" if where == "global" else "b32")
        names = [n.strip() for n in listed.strip("{} ").split(",")]
        values = [] if name == "ld" else [self._value(n, kind) for n in names]

        def access(registers: dict[str, Array], active: Array | None) -> None:
            mask = slice(None) if active is None else active
            at = self._all(address(registers)).astype(np.int64)[mask] + int(offset or 0)
            if name == "ld":
                for i, register in enumerate(names):
                    found = np.zeros(self.threads.shape, RAW[size])
                    found[mask] = space.read(at + i * size, size, who[mask])
                    self._set(registers, register, found if size > 1 else found.astype(np.uint16), active)
            for i, value in enumerate(values):
                given = self._all(value(registers))[mask]
                if name == "red":
                    space.add(at, given, size)
                else:
                    space.write(at + i * size, given.view(RAW[size]), size, who[mask])

        return access

    def _matrix(self, name: str, operands: list[str]) -> Step:
        """8x8 matrices of 2 bytes an element, a row an address: a thread holds two neighbours of each matrix."""
        place, listed = operands if name == "stmatrix" else reversed(operands)
        address = self._value(place.strip("[] "), "b32")
        names = [n.strip() for n in listed.strip("{} ").split(",")]
        warp, lane = self.threads // 32, self.threads % 32

        def move(registers: dict[str, Array], active: Array | None) -> None:
            self._together(active, name)
            rows = self._all(address(registers)).astype(np.int64).reshape(-1, 32)
            for i, register in enumerate(names):
                at = rows[warp, 8 * i + lane // 4] + 4 * (lane % 4)
                if name == "stmatrix":
                    self.shared.write(at, registers[register], 4, warp)
                else:
                    self._set(registers, register, self.shared.read(at, 4, warp), None)

        return move

    def _exchange(self, name: str, operands: list[str]) -> Step:
        """Among the threads of a warp: shfl.bfly's with another one, redux.add's sum of all."""
        target, source, *more = operands

        def exchange(registers: dict[str, Array], active: Array | None) -> None:
            self._together(active, name)
            by_warp = registers[source].astype(np.uint32).reshape(-1, 32)
            if name == "redux":
                self._set(registers, target, np.repeat(by_warp.sum(1, dtype=np.uint32), 32), None)
            else:
                self._set(registers, target, by_warp[:, np.arange(32) ^ int(more[0])].reshape(-1), None)

        return exchange

    def _compute(self, instruction: Instruction) -> Step:
        name, kinds, operands = instruction.kinds[0], instruction.kinds[1:], instruction.operands
        target, *sources = operands
        if name == "mov" and "{" in operands[-1] + target:
            return self._pack(target, sources[0], kinds[-1])
        types, work = _arithmetic(name, kinds, len(sources))
        values = [self._value(source, kind) for source, kind in zip(sources, types, strict=True)]
        return lambda registers, active: self._set(registers, target, work(*[v(registers) for v in values]), active)

    def _pack(self, target: str, source: str, kind: str) -> Step:
        """Two halves to a register or back, the lower one first."""
        if "{" in target:
            whole = self._value(source, kind)
            halves = [part.strip() for part in target.strip("{}").split(",")]

            def unpack(registers: dict[str, Array], active: Array | None) -> None:
                for i, half in enumerate(halves):
                    self._set(registers, half, (whole(registers) >> np.uint64(32 * i)).astype(np.uint32), active)

            return unpack
        low, high = (self._value(part.strip(), "b32") for part in source.strip("{}").split(","))
        assert kind == "b64"
        return lambda registers, active: self._set(
            registers,
            target,
            self._all(low(registers)).astype(np.uint64) | self._all(high(registers)).astype(np.uint64) << np.uint64(32),
            active,
        )


def _arithmetic(name: str, kinds: list[str], count: int) -> tuple[list[str], Callable[..., Any]]:
    """The types of an instruction's sources, and what it makes of them."""
    kind = kinds[-1]
    if name == "setp":
        return [kind] * 2, COMPARE[kinds[0]]
    if name == "selp":
        return [kind, kind, "pred"], lambda a, b, p: np.where(p, a, b)
    if name == "cvt":
        to = TYPES[kinds[-2]]
        return [kind], lambda a: a.astype(to)
    if name in ("mul", "mad") and kinds[0] in ("wide", "hi"):
        wide = {"s32": "s64", "u32": "u64", "s16": "s32", "u16": "u32"}[kind]
        whole = lambda a, b: np.asarray(a).astype(TYPES[wide]) * np.asarray(b).astype(TYPES[wide])  # noqa: E731
        if kinds[0] == "hi":
            return [kind] * 2, lambda a, b: (whole(a, b) >> TYPES[wide](16)).astype(TYPES[kind])
        return ([kind] * 2, whole) if name == "mul" else ([kind, kind, wide], lambda a, b, c: whole(a, b) + c)
    if name in ("shl", "shr"):
        shift = np.left_shift if name == "shl" else np.right_shift
        return [kind, "u32"], lambda a, b: shift(a, np.asarray(b).astype(np.asarray(a).dtype))
    if name == "bfe":
        return [kind, "u32", "u32"], lambda a, b, c: (a >> b) & ((np.uint32(1) << c) - np.uint32(1))
    if name == "prmt":
        return [kind] * 3, _permute
    if kind == "pred":
        return ["pred"] * count, {"and": operator.and_, "or": operator.or_, "mov": lambda a: a}[name]
    return [kind] * count, SIMPLE[f"{name}.full" if kinds[0] == "full" else f"{name}.f" if kind[0] == "f" else name]


def _permute(a: Any, b: Any, selector: Any) -> Any:
    """Four bytes of eight, by the selector's four digits."""
    whole = np.asarray(a).astype(np.uint64) | np.asarray(b).astype(np.uint64) << np.uint64(32)
    found = np.zeros_like(whole)
    for i in range(4):
        byte = whole >> np.uint64(8 * (int(selector) >> 4 * i & 7)) & np.uint64(255)
        found = found | byte << np.uint64(8 * i)
    return found.astype(np.uint32)


def _fused(a: Any, b: Any, c: Any) -> Any:
    if np.asarray(a).dtype == np.float64:
        return a * b + c
    return (np.float64(a) * b + c).astype(np.float32)


def _quotient(a: Any, b: Any) -> Any:
    """Towards 0, as in C."""
    return (np.abs(a) // np.abs(b) * np.sign(a) * np.sign(b)).astype(np.asarray(a).dtype)


SIMPLE: dict[str, Callable[..., Any]] = {
    "mov": lambda a: a,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "mad": lambda a, b, c: a * b + c,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "neg": operator.neg,
    "min": np.minimum,
    "div": _quotient,
    "rem": lambda a, b: a - _quotient(a, b) * b,
    "mov.f": lambda a: a,
    "add.f": operator.add,
    "sub.f": operator.sub,
    "mul.f": operator.mul,
    "neg.f": operator.neg,
    "abs.f": np.abs,
    "max.f": np.fmax,
    "fma.f": _fused,
    "div.f": operator.truediv,
    "div.full": operator.truediv,
    "sqrt.f": np.sqrt,
    "rcp.f": lambda a: ((1 / a).view(np.uint64) & np.uint64(0xFFFFFFFF00000000)).view(np.float64),
}
