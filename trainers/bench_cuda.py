"""Training time on a CUDA device: PyTorch one member at a time, the batched reference engine, and the cuda engine.

The ways take turns, round by round, as in `trainers.bench`. The device's peaks are measured in the same rounds: plain
float32 by a large matrix product, memory by a large copy. An epoch is CIFAR-10's, 45,000 images.

    >>> for row in bench("combined", batch_size=32):
    ...     print(row.way, row.members, row.member_epochs_an_hour)
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.bench import IMAGES, Pass, multiply_adds, plain_module, random_dataset, whole_epoch
from trainers.bench import engine_pass as engine_pass_of
from trainers.cuda import missing
from trainers.cuda.engine import CudaEngine
from trainers.cuda.plan import DEVICE, Plan, plan_of
from trainers.layers import IMAGE, Layer
from trainers.members import MemberConfig
from trainers.optimizers import EPSILON
from trainers.reference import ReferenceEngine
from trainers.training import layers_of

log = logging.getLogger("gradsweep")

EPOCH = 45_000
MEMBERS = (1, 25, 100, 225, 1000)
ROUNDS = 5
LARGE = 8192  # the side of the matrices whose product measures the peak


@dataclass(frozen=True)
class Sizes:
    """How much is timed: images of an epoch for PyTorch and the reference engine, and for the cuda engine."""

    images: int = IMAGES
    epoch: int = EPOCH
    members: tuple[int, ...] = MEMBERS
    matrix: int = LARGE


@dataclass(frozen=True)
class Row:
    """One way of training one regime on one device.

    `spread` is the slowest round over the fastest; `peak` and `memory` are shares of what the device did in the same
    rounds: of its multiply-adds in plain float32 and, where the way's bytes are known, of its bandwidth (else 0).
    """

    regime: str
    batch_size: int
    way: str
    members: int
    seconds_per_thousand: float
    spread: float
    peak: float
    memory: float

    @property
    def member_epochs_an_hour(self) -> float:
        """How many epochs of 45,000 images all members together do in an hour."""
        return 3600 / (self.seconds_per_thousand * EPOCH / 1000)


def unavailable() -> str | None:
    """Why there is nothing to time here, in a line; None where there is a CUDA device."""
    if not torch.cuda.is_available():
        return "--device cuda: PyTorch sees no CUDA device here; without the option the CPU is timed"
    return missing("cuda")


def device_name() -> str:
    """What the device calls itself."""
    return torch.cuda.get_device_name()


def bytes_an_image(plan: Plan) -> int:
    """Bytes that a training step has to move through memory for one image: every area once a pass over it."""
    floats = 2 * plan.image[1] * plan.image[2] * 3  # gathered, and read by the first layer's gradient
    for number, (height, width, _, _, pooled, *_) in enumerate(plan.convolutions.tolist()):
        full = 3 * height * width
        out = full // 4 if pooled else full
        floats += full  # forward: the input
        floats += out * (3 if pooled else 2)  # value and slope, and which was chosen
        floats += out if pooled else 0  # on the way back: which was chosen
        floats += 2 * out + full  # the slope, the value as the next one's input; the gradient by z
        floats += full * (2 if number else 1)  # read for the weights, and for the image
    return 4 * floats + 3 * plan.image[1] * plan.image[2]


def pytorch_loop(
    layers: tuple[Layer, ...], batch_size: int, images: int, device: str, *, graph: bool = False, compiled: bool = False
) -> Pass:
    """The plain loop for one member, its data resident; `graph` records a whole step once and replays it."""
    module = plain_module(layers).to(device)
    split = random_dataset(images).train
    pixels = torch.tensor(split.images, device=device)
    labels = torch.tensor(split.labels, device=device)
    fused = device != "cpu"  # the fastest of PyTorch's own: 2 operations a step for all parameters, not 17
    optimizer = torch.optim.Adam(module.parameters(), lr=0.001, eps=EPSILON, capturable=graph, fused=fused)
    run = torch.compile(module) if compiled else module
    where = torch.zeros(batch_size, dtype=torch.int64, device=device)

    def step(chosen: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(run(pixels[chosen].float() / 255), labels[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    replay = _recorded(lambda: step(where)) if graph else None

    def one_pass() -> float:
        started, seen = time.perf_counter(), 0
        for chosen in torch.split(torch.randperm(images, device=device), batch_size):
            if replay is None:
                step(chosen)
            elif len(chosen) < batch_size:
                break
            else:
                where.copy_(chosen)
                replay()
            seen += len(chosen)
        _wait(device)
        return (time.perf_counter() - started) / seen * 1000

    return one_pass


def _recorded(step: Callable[[], None]) -> Callable[[], None]:
    """The step as a CUDA graph; three ordinary ones on the side come first, as PyTorch asks for."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def ways(
    regime: str, batch_size: int, device: str, compiled: bool, sizes: Sizes
) -> Iterator[tuple[str, int, Callable[[], Pass]]]:
    """Every way to train a regime: its name, its number of members, and what makes it ready."""
    member = MemberConfig(regime=regime, batch_size=batch_size)
    layers = layers_of(member, 10)

    def loop(**options: bool) -> Callable[[], Pass]:
        return lambda: pytorch_loop(layers, batch_size, sizes.images, device, **options)

    yield "pytorch eager", 1, loop()
    if device != "cpu":
        yield "pytorch graphs", 1, loop(graph=True)
    if compiled:
        yield "pytorch compile", 1, loop(compiled=True)
    few, many = random_dataset(sizes.images), random_dataset(sizes.epoch)
    reference = ReferenceEngine(layers, few, device, 1)
    cuda = CudaEngine(layers, many, device, 1)
    for count in sizes.members:
        members = [member.with_seed(seed) for seed in range(count)]
        yield "reference", count, lambda m=members: engine_pass_of(reference, m, layers, sizes.images)  # type: ignore[misc]
        yield "cuda", count, lambda m=members: engine_pass_of(cuda, m, layers, sizes.epoch)  # type: ignore[misc]
        yield "cuda, whole epoch", count, lambda m=members: whole_epoch(cuda, m, layers, sizes.epoch)  # type: ignore[misc]


def bench(
    regime: str,
    batch_size: int,
    *,
    device: str = "cuda",
    rounds: int = ROUNDS,
    compiled: bool = True,
    sizes: Sizes | None = None,
) -> list[Row]:
    """Time every way on a regime but those that the device can't do; the first round is not counted.

    All in float32: left alone, PyTorch's convolutions would be in tf32, which is another amount of work.
    """
    torch.backends.cudnn.allow_tf32 = False
    sizes = sizes or Sizes()
    layers = layers_of(MemberConfig(regime=regime), 10)
    plan = plan_of(layers, IMAGE, DEVICE)
    found: dict[tuple[str, int], Pass] = {}
    for name, count, ready in ways(regime, batch_size, device, compiled, sizes):
        try:
            found[name, count] = ready()
        except RuntimeError as error:
            _leave_out(name, count, error)
    times: dict[tuple[str, int], list[float]] = {way: [] for way in found}
    flops, bandwidths = [], []
    for i in range(rounds + 1):
        for way in list(found):
            try:
                seconds = found[way]()
            except RuntimeError as error:
                _leave_out(*way, error)
                del found[way], times[way]
                continue
            if i:
                times[way].append(seconds)
        flops.append(multiply_adds_a_second(device, sizes.matrix))
        bandwidths.append(bytes_a_second(device, sizes.matrix))
    least = 1000 * multiply_adds(layers) / statistics.median(flops)
    moved = 1000 * bytes_an_image(plan) / statistics.median(bandwidths)
    return [
        Row(
            regime,
            batch_size,
            name,
            members,
            median,
            max(t) / min(t),
            least / median,
            moved / median if name == "cuda" else 0.0,
        )
        for (name, members), t in times.items()
        if (median := statistics.median(t))
    ]


def _leave_out(way: str, members: int, error: RuntimeError) -> None:
    """Say why a way is not timed, as with too little memory; where the device itself has failed raise that."""
    if isinstance(error, torch.AcceleratorError):
        raise error
    why = (str(error).strip() or type(error).__name__).splitlines()[0]
    log.warning("%s with %d members is left out: %s", way, members, why)


def multiply_adds_a_second(device: str, side: int = LARGE) -> float:
    """Multiply-adds a second of a large matrix product in plain float32, without tf32."""
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        return side**3 / _fastest(lambda: torch.mm(a, b), device)
    finally:
        torch.set_float32_matmul_precision(before)


def bytes_a_second(device: str, side: int = LARGE) -> float:
    """Bytes a second of a large copy on the device, read and written ones."""
    a = torch.randn(2 * side, side, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / _fastest(lambda: b.copy_(a), device)


def _fastest(work: Callable[[], object], device: str) -> float:
    """Seconds of the fastest of five after one that is not counted."""
    times = []
    for _ in range(6):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)
