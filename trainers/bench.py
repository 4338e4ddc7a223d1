"""Training time of the engines against plain PyTorch, all in one run.

The ways take turns, round by round, so that a machine whose speed drifts is fair to all; what is reported is the
median over the rounds of the seconds that one member needs for a thousand images, and ratios of those. The images
are random: the time of a step does not depend on them.

    >>> for row in bench("combined", batch_size=32, threads=2):
    ...     print(row.way, row.seconds_per_thousand)
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.data import Dataset, Split
from trainers.lanes import available
from trainers.lanes.engine import LaneEngine
from trainers.lanes.kernels import multiply_adds_a_second
from trainers.layers import Convolution, Dense, Layer, Pooling, output_shapes, parameter_shapes
from trainers.members import MemberConfig
from trainers.optimizers import EPSILON
from trainers.reference import ReferenceEngine
from trainers.states import initial_state
from trainers.training import Engine, Training, layers_of

# So many that the probe is as large a part of them as of CIFAR-10.
IMAGES = 6144
ROUNDS = 5
MEMBERS = (1, 8, 32)

Pass = Callable[[], float]  # trains once over the images; seconds for one member and a thousand images


@dataclass(frozen=True)
class Row:
    """One way of training one regime.

    `spread` is the slowest round over the fastest; `peak` is the share of the multiply-adds that the machine's cores
    could have done in that time, measured in the same rounds, 0 where no C compiler could make the measure.
    """

    regime: str
    batch_size: int
    way: str
    members: int
    seconds_per_thousand: float
    spread: float
    peak: float


def multiply_adds(layers: tuple[Layer, ...]) -> int:
    """Multiply-adds of one training step for one image: forward, weight gradients, and data gradients but the first."""
    forward = []
    for (_, shapes), outgoing in zip(
        parameter_shapes(layers),
        (s for layer, s in zip(layers, output_shapes(layers), strict=True) if not isinstance(layer, Pooling)),
        strict=True,
    ):
        places = prod(outgoing[1:]) if len(outgoing) == 3 else 1
        forward.append(places * sum(prod(shape) for shape in shapes if len(shape) > 1))
    return 3 * sum(forward) - forward[0]


def plain_module(layers: tuple[Layer, ...]) -> nn.Sequential:
    """The network as anybody would write it in PyTorch, with tanh."""
    modules: list[nn.Module] = []
    shape: tuple[int, ...] = (3, 32, 32)
    for layer, outgoing in zip(layers, output_shapes(layers), strict=True):
        if isinstance(layer, Pooling):
            modules.append(nn.MaxPool2d(2))
        elif isinstance(layer, Convolution):
            i, o, b = shape[0], layer.channels, layer.bias
            if layer.separable:
                modules += [nn.Conv2d(i, i, 3, padding=1, groups=i, bias=False), nn.Conv2d(i, o, 1, bias=b)]
            else:
                modules.append(nn.Conv2d(i, o, 3, padding=1, bias=b))
            modules.append(nn.Tanh())
        elif isinstance(layer, Dense):
            if len(shape) == 3:
                modules.append(nn.Flatten())
            modules.append(nn.Linear(prod(shape), layer.units, bias=layer.bias))
            if layer.activated:
                modules.append(nn.Tanh())
        shape = outgoing
    return nn.Sequential(*modules)


def random_dataset(images: int = IMAGES) -> Dataset:
    """Random images and labels; validation and test are one and two ninths of the training split, as in CIFAR-10."""
    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        return Split(random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), random.integers(0, 10, count))

    names = tuple("abcdefghij")
    return Dataset("random", names, split(images), split(images // 9), split(images * 2 // 9), digest="")


def pytorch_loop(
    layers: tuple[Layer, ...],
    batch_size: int,
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    *,
    channels_last: bool = False,
    compiled: bool = False,
) -> Pass:
    """The training loop of every PyTorch tutorial over the batches, at PyTorch's own number of threads."""
    module: nn.Module = plain_module(layers)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.001, eps=EPSILON)
    run = torch.compile(module) if compiled else module

    def one_pass() -> float:
        started, seen = time.perf_counter(), 0
        for images, labels in batches():
            optimizer.zero_grad()
            F.cross_entropy(run(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen += len(labels)
        return (time.perf_counter() - started) / seen * 1000

    return one_pass


class _Items(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Images one by one, converted to floats one by one, as torchvision's CIFAR10 with ToTensor does it."""

    def __init__(self, split: Split) -> None:
        self.images = torch.from_numpy(np.array(split.images))
        self.labels = split.labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.images[i].float() / 255, self.labels[i]


def resident_batches(
    split: Split, batch_size: int, channels_last: bool
) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    """Shuffled batches of whole float tensors in memory."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = (torch.from_numpy(np.array(split.images)).float() / 255).to(memory_format=layout)
    labels = torch.from_numpy(np.array(split.labels))

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for where in torch.split(torch.randperm(len(labels)), batch_size):
            yield images[where], labels[where]

    return batches


def engine_pass(engine: Engine, members: list[MemberConfig], layers: tuple[Layer, ...], images: int) -> Pass:
    """An epoch of an array of members on one of our engines."""
    states = [initial_state(m, layers) for m in members]

    def one_pass() -> float:
        started = time.perf_counter()
        engine.train_epoch(states)
        return (time.perf_counter() - started) / len(members) / images * 1000

    return one_pass


def whole_epoch(engine: Engine, members: list[MemberConfig], layers: tuple[Layer, ...], images: int) -> Pass:
    """An epoch as a sweep has it: training, evaluation on both splits, gradients and their statistics."""
    states = [replace(initial_state(m, layers), epoch=1) for m in members]

    def one_pass() -> float:
        training = Training([replace(s, member=replace(s.member, epochs=2)) for s in states], layers, engine)
        started = time.perf_counter()
        next(training)
        return (time.perf_counter() - started) / len(members) / images * 1000

    return one_pass


def ways(regime: str, batch_size: int, threads: int, compiled: bool) -> dict[tuple[str, int], Pass]:
    """Every way to train a regime, by its name and its number of members."""
    data = random_dataset()
    member = MemberConfig(regime=regime, batch_size=batch_size)
    layers = layers_of(member, 10)
    loader = torch.utils.data.DataLoader(
        _Items(data.train), batch_size, shuffle=True, num_workers=threads, persistent_workers=True
    )
    last = resident_batches(data.train, batch_size, channels_last=True)
    found = {
        ("pytorch dataloader", 1): pytorch_loop(layers, batch_size, lambda: loader),
        ("pytorch resident", 1): pytorch_loop(layers, batch_size, resident_batches(data.train, batch_size, False)),
        ("pytorch channels_last", 1): pytorch_loop(layers, batch_size, last, channels_last=True),
    }
    if compiled:
        found["pytorch compile", 1] = pytorch_loop(layers, batch_size, last, channels_last=True, compiled=True)
    reference = ReferenceEngine(layers, data, "cpu", threads)
    found["reference", 1] = engine_pass(reference, [member], layers, IMAGES)
    if available():
        lanes = LaneEngine(layers, data, "cpu", threads)
        for count in MEMBERS:
            members = [member.with_seed(seed) for seed in range(count)]
            found["lanes", count] = engine_pass(lanes, members, layers, IMAGES)
            found["lanes, whole epoch", count] = whole_epoch(lanes, members, layers, IMAGES)
    return found


def bench(regime: str, batch_size: int, *, threads: int, rounds: int = ROUNDS, compiled: bool = True) -> list[Row]:
    """Time every way on a regime; in a round each way trains once over the images, and the first is not counted."""
    found = ways(regime, batch_size, threads, compiled)
    torch.set_num_threads(threads)
    times: dict[tuple[str, int], list[float]] = {way: [] for way in found}
    peaks = []
    for i in range(rounds + 1):
        for way, one_pass in found.items():
            seconds = one_pass()
            if i:
                times[way].append(seconds)
        if available():
            peaks.append(multiply_adds_a_second(threads))
    least = (
        1000 * multiply_adds(layers_of(MemberConfig(regime=regime), 10)) / statistics.median(peaks) if peaks else 0.0
    )
    return [
        Row(regime, batch_size, name, members, median, max(t) / min(t), least / median)
        for (name, members), t in times.items()
        if (median := statistics.median(t))
    ]
