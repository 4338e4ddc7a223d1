"""Training time of the engines against plain PyTorch, all in one run, on the CPU or on a CUDA device.

The ways take turns, round by round, so that a machine whose speed drifts is fair to all; what is reported is the
median over the rounds of the seconds that one member needs for a thousand images, to be read as ratios. The machine's
peaks are measured in the same rounds. The images are random: the time of a step does not depend on them.

    >>> for row in bench(MemberConfig(regime="combined"), threads=2):
    ...     print(row["way"], row["members"], row["seconds_per_thousand"])
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.activations import activation
from trainers.cuda.engine import CudaEngine
from trainers.cuda.plan import DEVICE, Plan, plan_of
from trainers.data.dataset import Dataset, Split
from trainers.engines import resolve
from trainers.lanes import available
from trainers.lanes.engine import LaneEngine
from trainers.lanes.kernels import multiply_adds_a_second as cores_peak
from trainers.layers import IMAGE, Convolution, Dense, Layer, Pooling, Recurrent, multiply_adds, output_shapes, places
from trainers.members import MemberConfig
from trainers.optimizers import MOMENTUM
from trainers.reference import ReferenceEngine
from trainers.states import initial_state
from trainers.training import Engine, Training, layers_of

log = logging.getLogger("gradsweep")

EPOCH = 45_000  # images of CIFAR-10
# Images per epoch of the fast engines: enough that the probe takes the same share of it as in a sweep.
IMAGES = {"lanes": 6144, "cuda": EPOCH}
# Images per pass of the other ways, some of which take 0.2 s per step on a device.
FEWER = {"lanes": 6144, "cuda": 1024}
MEMBERS = {"lanes": (1, 8, 32), "cuda": (1, 25, 100, 225, 1000)}
WHOLE = {"lanes": (1, 8, 32), "cuda": (225,)}  # members for which a sweep's whole epoch is timed too
# Multiply-adds of an epoch of the CPU's engines: a larger network sees fewer images, but not so few that what
# an epoch does once takes a part of the time that it would not take in a sweep.
LIGHT = 24_000_000_000
MATRIX = 8192  # the side of the matrices whose product measures a device's peak

Pass = Callable[[], int]  # trains once over the images; how many they were, for all members together
T = TypeVar("T")


def bench(
    member: MemberConfig,
    *,
    device: str = "cpu",
    engine: str = "lanes",
    threads: int = 1,
    rounds: int = 5,
    compiled: bool = True,
) -> list[dict[str, Any]]:
    """Time every way to train members like this one but those that the device can't do; the first round is not counted.

    A row per way and number of members. `spread` is the slowest round over the fastest. `peak` and `memory` are shares
    of what the machine did in the same rounds, of its multiply-adds in float32 and of its bandwidth; 0 where nothing
    measured them. `member_epochs_an_hour` are epochs of CIFAR-10's 45,000 images, of all members together.

    All in float32: left alone, PyTorch's convolutions on a device would be in tf32, which is another amount of work.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    torch.set_num_threads(threads)
    layers = layers_of(member, 10)
    prepare = {way[:2]: way[2] for way in ways(member, device, engine, threads, compiled)}
    passes: dict[tuple[str, int], Pass] = {}
    times: dict[tuple[str, int], list[float]] = {way: [] for way in prepare}
    peaks = []
    for _ in range(rounds + 1):
        for way in list(times):
            try:
                if way not in passes:
                    passes[way] = prepare[way]()
                seconds, images = _timed(passes[way], device)
            except torch.AcceleratorError:  # the device itself has failed
                raise
            except RuntimeError as error:  # as with too little memory
                why = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("%s with %d members is left out: %s", *way, why)
                del times[way]
            else:
                times[way].append(1000 * seconds / images)
                log.info("%s, members: %d, ms per 1,000 images of one: %.3g", *way, 1000 * times[way][-1])
        peaks.append(_peaks(device, engine, threads))
    multiplying, moving = map(statistics.median, zip(*peaks, strict=True))
    least = 1000 * of_a_step(layers) / multiplying if multiplying else 0.0
    moved = 1000 * bytes_an_image(plan_of(layers, IMAGE, DEVICE)) / moving if moving else 0.0
    rows = []
    for (name, members), (_, *counted) in times.items():
        median = statistics.median(counted)
        rows.append(
            {
                "batch_size": member.batch_size,
                "way": name,
                "members": members,
                "seconds_per_thousand": median,
                "spread": max(counted) / min(counted),
                "peak": least / median,
                "memory": moved / median if name == "cuda" else 0.0,
                "member_epochs_an_hour": 3600 / (median * EPOCH / 1000),
            }
        )
    return rows


def ways(
    member: MemberConfig, device: str, engine: str, threads: int, compiled: bool
) -> Iterator[tuple[str, int, Callable[[], Pass]]]:
    """Every way to train members like this one: its name, its number of members, and what makes it ready."""
    layers = layers_of(member, 10)
    most = images_of(layers, member.batch_size) if engine == "lanes" else EPOCH
    few, many = (random_dataset(min(images[engine], most)) for images in (FEWER, IMAGES))
    if engine == "lanes":
        plain: dict[str, dict[str, Any]] = {"dataloader": {"workers": threads}, "resident": {}}
        plain["channels_last"] = {"channels_last": True}
    else:
        plain = {"eager": {}} | ({} if device == "cpu" else {"graphs": {"graph": True}})
    if compiled:
        plain["compile"] = {"compiled": True, "channels_last": engine == "lanes"}
    for name, options in plain.items():
        yield f"pytorch {name}", 1, partial(pytorch, member, few.train, device, **options)
    reference = ReferenceEngine(layers, few, device, threads)
    fast: Engine | None = None
    if engine == "cuda":
        fast = CudaEngine(layers, many, device, threads)
    else:
        resolved, reason = resolve(member, device)
        if resolved == engine:
            fast = LaneEngine(layers, many, device, threads)
        elif reason:
            log.warning("lanes is left out: %s", reason)
    whole = len(many.train) == IMAGES[engine]  # with fewer, the probe would take more than its share of an epoch
    for count in MEMBERS[engine]:
        if engine == "cuda" or count == 1:
            yield "reference", count, partial(epochs, reference, member, count, len(few.train))
        if fast and (whole or count <= 8):
            yield engine, count, partial(epochs, fast, member, count, len(many.train))
        if fast and whole and count in WHOLE[engine]:
            yield f"{engine}, whole epoch", count, partial(epochs, fast, member, count, len(many.train), whole=True)


def images_of(layers: tuple[Layer, ...], batch_size: int) -> int:
    """How many images are `LIGHT` multiply-adds: whole batches, four at the least."""
    return max(4, LIGHT // (of_a_step(layers) * batch_size)) * batch_size


# ---- the ways


def epochs(trainer: Engine, member: MemberConfig, count: int, images: int, whole: bool = False) -> Pass:
    """Epochs of that many members, `whole` as a sweep has them: with evaluation, gradients and statistics."""
    states = [initial_state(member.with_seed(seed), trainer.layers) for seed in range(count)]
    going_on = [replace(s, epoch=1, member=replace(s.member, epochs=2, measure=())) for s in states]

    def epoch() -> int:
        next(Training(going_on, trainer)) if whole else trainer.train_epoch(states)
        return count * images

    return epoch


def random_dataset(images: int) -> Dataset:
    """Random images and labels; validation and test are one and two ninths of the training split, as in CIFAR-10."""
    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        return Split(random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), random.integers(0, 10, count))

    return Dataset("random", tuple("abcdefghij"), split(images), split(images // 9), split(images * 2 // 9), digest="")


class Function(nn.Module):
    """A member's activation; slope and alpha are parameters of its own where they are learned."""

    def __init__(self, member: MemberConfig, learned: tuple[str, ...]) -> None:
        super().__init__()
        self.f = activation(member.activation, member.scaling)
        for name in ("alpha", "slope"):
            value = getattr(member, name)
            setattr(self, name, nn.Parameter(torch.tensor(value)) if name in learned else value)

    def forward(self, z: Tensor) -> Tensor:
        result: Tensor = self.f(z, self.alpha) if self.slope is None else self.f(z, self.alpha, self.slope)
        return result


class Last(nn.Module):
    """PyTorch's own recurrent network over an image's steps: its last hidden state."""

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[layer.cell]
        (_, inputs), *_ = layer.parameters(IMAGE)
        self.layer, self.own = layer, kind(inputs, layer.units, bias=layer.bias, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.own(self.layer.sequence(x))[0][:, -1]
        return result


class Added(nn.Sequential):
    """What comes in is added to what comes out."""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + super().forward(x)  # type: ignore[no-untyped-call]
        return result


def plain_module(member: MemberConfig) -> nn.Sequential:
    """The network as anybody would write it in PyTorch. Raises RuntimeError where PyTorch has no such network."""
    modules: list[nn.Module] = []
    layers = layers_of(member, 10)
    shape: tuple[int, ...] = IMAGE
    f: nn.Module | None = None
    for layer, outgoing in zip(layers, output_shapes(layers), strict=True):
        of_layer: list[nn.Module] = []
        match layer:
            case Pooling():
                of_layer.append(nn.MaxPool2d(2))
            case Convolution(separable=True):
                of_layer.append(nn.Conv2d(shape[0], shape[0], 3, padding=1, groups=shape[0], bias=False))
                of_layer.append(nn.Conv2d(shape[0], layer.channels, 1, bias=layer.bias))
            case Convolution():
                of_layer.append(nn.Conv2d(shape[0], layer.channels, 3, padding=1, bias=layer.bias))
            case Dense():
                modules += [nn.Flatten()] * (len(shape) == 3)
                of_layer.append(nn.Linear(prod(shape), layer.units, bias=layer.bias))
            case Recurrent():
                if (member.activation, member.alpha, layer.learned) != ("tanh", 1.0, ()):
                    raise RuntimeError("PyTorch's recurrent modules have tanh alone, and no alpha")
                of_layer.append(Last(layer))
        if layer.activated and not isinstance(layer, Recurrent):
            of_layer += _normalized(layer.normalization, outgoing)
            f = Function(member, layer.learned) if f is None or layer.learned else f
            of_layer.append(f)
        modules += [Added(*of_layer)] if layer.residual else of_layer
        shape = outgoing
    return nn.Sequential(*modules)


def _normalized(normalization: str, shape: tuple[int, ...]) -> list[nn.Module]:
    """The module of a normalization. Raises RuntimeError where PyTorch has none."""
    match normalization:
        case "none":
            return []
        case "batch":
            return [nn.BatchNorm1d(*shape) if len(shape) == 1 else nn.BatchNorm2d(shape[0])]
        case "layer":
            return [nn.GroupNorm(1, shape[0])]
    raise RuntimeError(f"PyTorch has no module for {normalization} normalization")


def plain_optimizer(member: MemberConfig, module: nn.Module, device: str, graph: bool) -> torch.optim.Optimizer:
    """PyTorch's own of the member's optimizer; the fastest there is of Adam."""
    parameters, rate = list(module.parameters()), member.learning_rate
    match member.optimizer:
        case "adam":
            fused = device != "cpu"
            return torch.optim.Adam(parameters, rate, eps=member.epsilon, capturable=graph, fused=fused)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, rate, eps=member.epsilon, capturable=graph)
    momentum = 0.0 if member.optimizer == "sgd" else MOMENTUM
    return torch.optim.SGD(parameters, rate, momentum, nesterov=member.optimizer == "nesterov")


def _floats_one_by_one(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """A batch whose images were converted one by one, as torchvision's CIFAR10 with ToTensor does it."""
    return torch.stack([image.float() / 255 for image, _ in items]), torch.stack([label for _, label in items])


def pytorch(
    member: MemberConfig,
    split: Split,
    device: str,
    *,
    workers: int = 0,
    channels_last: bool = False,
    graph: bool = False,
    compiled: bool = False,
) -> Pass:
    """The training step of every PyTorch tutorial: the member's network and optimizer, without a penalty or a schedule.

    On shuffled batches of whole float tensors on the device, or from a DataLoader with so many `workers`; `graph`
    records a step once and replays it.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    module, batch_size = plain_module(member).to(device).to(memory_format=layout), member.batch_size
    optimizer = plain_optimizer(member, module, device, graph)
    run = torch.compile(module) if compiled else module

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(run(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    if workers:
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.tensor(split.images), torch.tensor(split.labels)),
            batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=True,
            collate_fn=_floats_one_by_one,
        )

        def loaded() -> int:
            for batch in loader:
                step(*batch)
            return len(split)

        return loaded

    images = (torch.tensor(split.images, device=device).float() / 255).to(memory_format=layout)
    labels = torch.tensor(split.labels, device=device)
    count = len(split) // batch_size * batch_size if graph else len(split)  # a recorded step has one size

    def indexed(where: Tensor) -> None:
        step(images[where], labels[where])

    train = _recorded(indexed, torch.zeros(batch_size, dtype=torch.int64, device=device)) if graph else indexed

    def epoch() -> int:
        for where in torch.split(torch.randperm(len(split), device=device)[:count], batch_size):
            train(where)
        return count

    return epoch


def _recorded(step: Callable[[Tensor], None], where: Tensor) -> Callable[[Tensor], None]:
    """The step as a CUDA graph; three ordinary ones on the side come first, as PyTorch asks for."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(where)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(where)

    def replay(batch: Tensor) -> None:
        where.copy_(batch)
        graph.replay()

    return replay


# ---- what there is to do, what the machine can do, and how long it takes


def of_a_step(layers: tuple[Layer, ...]) -> int:
    """Multiply-adds of a training step for one image: forward, and back to the weights and to all but the image."""
    forward, first = multiply_adds(layers), layers[0]
    by_image = first.steps * prod(places(layers)[0].tensors[0]) if isinstance(first, Recurrent) else forward[0]
    return 3 * sum(forward) - by_image


def bytes_an_image(plan: Plan) -> int:
    """Bytes that a step of the cuda engine has to move for one image: every area once a pass over it."""
    pixels = 3 * plan.image[1] * plan.image[2]
    floats = pixels  # gathered
    for number, (height, width, _, _, pooled, *_) in enumerate(plan.convolutions.tolist()):
        full = 3 * height * width
        passes = 2 if number else 1  # over the gradient by z: by the weights and, but in the first layer, by the image
        # the input is read on both ways; value, slope and gradient are written, the slope is read;
        # pooled a quarter of each, and which of a pool's four won
        floats += 2 * full + (full // 4 * (5 + 2 * passes) if pooled else full * (4 + passes))
    return 4 * floats + pixels


def _peaks(device: str, engine: str, threads: int) -> tuple[float, float]:
    """Multiply-adds and bytes per second: of the cores, or of a large matrix product in float32 and a large copy."""
    if engine == "lanes":
        return cores_peak(threads) if available() else 0.0, 0.0
    a, b = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))

    def fastest(work: Callable[[], Tensor]) -> float:
        """Seconds of the fastest of five after one that is not counted."""
        return min([_timed(work, device)[0] for _ in range(6)][1:])

    return MATRIX**3 / fastest(lambda: torch.mm(a, b)), 2 * a.nbytes / fastest(lambda: b.copy_(a))


def _timed(work: Callable[[], T], device: str) -> tuple[float, T]:
    """How many seconds the work takes the device, and what it gives."""
    started = time.perf_counter()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started, result
