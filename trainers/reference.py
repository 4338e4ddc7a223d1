"""The reference engine: the training step as PyTorch has it, on any device, written to be read.

It is the judge of the faster engines. On a CPU it trains member after member, each with one thread of PyTorch's own
(whose sums depend on their number), so that a member's numbers are the same to the bit in any pack and with any
number of threads; up to `threads` members are trained side by side. On a CUDA device the members that share an
activation and a penalty are one batched array, `torch.func.vmap` over the very same functions, and its data lie there.

The functions themselves, layers, activations, penalties and optimizers, are those of the tables; whatever is in them it
trains.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainers.activations import ACTIVATIONS, SATURATED_BELOW, Activation, activation, inner
from trainers.data.dataset import Dataset
from trainers.layers import (
    NORMALIZATIONS,
    Layer,
    Recurrent,
    Shape,
    buffer_shapes,
    learned_shapes,
    parameter_count,
    places,
    tensor_shapes,
)
from trainers.layers.normalization import MOMENTUM
from trainers.layers.recurrent import State
from trainers.losses import LOSSES
from trainers.members import MemberConfig
from trainers.optimizers import OPTIMIZERS, Epsilon, clipped
from trainers.penalties import PENALTIES
from trainers.schedules import learning_rates
from trainers.states import MemberState
from trainers.statistics import Probe, penalized
from trainers.streams import order_of_images, slope_key, uniform
from trainers.training import Engine

IMAGES_AT_ONCE = 500
CALIBRATED_ON = 256  # images of the probe
# What members of one array have in common besides their network and what `SHARED` names.
ALIKE = ("activation", "scaling", "slope", "penalty", "penalized", "clip", "epsilon", "epsilon_at")

T = TypeVar("T")


class Steps(NamedTuple):
    """How a recurrent layer went through images: its state, h or (h, c), after each step, (images, units) each.

    `inputs` are W x + b, (images, steps, gates units); `after(state, inputs)` is the state one step after another, from
    one step's inputs, (rows, gates units).
    """

    states: list[State]
    inputs: Tensor
    after: Callable[[State, Tensor], State]


class Outputs(NamedTuple):
    """One member's outputs (images, classes); at each activated layer the argument of f and its slope, if f has one;
    the running statistics after a training step, where it is one; the steps of a recurrent layer, where there is one.

    A recurrent layer's argument of f is (images, steps, units).
    """

    logits: Tensor
    arguments: list[tuple[Tensor, Any]]
    buffers: Tensor
    steps: Steps | None = None


def forward(
    layers: tuple[Layer, ...],
    member: MemberConfig,
    parameters: Tensor,
    alpha: float | Tensor,
    images: Tensor,
    buffers: Tensor,
    *,
    by_batch: bool = False,
    drawn: tuple[Tensor, int] | None = None,
) -> Outputs:
    """One member's pass over images (images, channels, height, width), floats as its `input` has them.

    `parameters` and `buffers` are the flat vectors, `alpha` stands in for the member's own where it is not learned.
    Batches are normalized by their own statistics where `by_batch`, else by the running ones. Random slopes are drawn
    by the member's key at a step where that is given, else they are at their mean.
    """
    known = ACTIVATIONS[member.activation]
    image = tuple(images.shape[1:])
    running = buffer_shapes(layers, image)
    tensors = iter(_apart(parameters, tensor_shapes(layers, image)))
    kept = iter(_apart(buffers, [shape for of_layer in running for shape, _ in of_layer.values()]))
    arguments: list[tuple[Tensor, Any]] = []
    after: list[Tensor] = []
    steps: Steps | None = None
    slope: Any = member.slope
    x = images
    for layer, learned, names in zip(layers, learned_shapes(layers, image), running, strict=True):
        weights = [next(tensors) for _ in layer.parameters(tuple(x.shape[1:]))]
        z = layer.forward(x, iter(weights))
        if layer.activated:
            own = {name: next(tensors) for name in learned}
            if normalization := NORMALIZATIONS.get(layer.normalization):
                before = {name: next(kept) for name in names}
                z, new = normalization.forward(z, own, None if by_batch else before)
                after += [torch.lerp(before[name], new[name], MOMENTUM) for name in before]
            alpha, slope = own.get("alpha", alpha), own.get("slope", slope)
            if known.random and drawn:
                shape = (*z.shape[:-1], z.shape[-1] // layer.gates)
                numbers = torch.arange(prod(shape), device=z.device).view(shape)
                low, high = known.random
                slope = low + (high - low) * 2.0**-24 * uniform(*drawn, len(arguments) + 1, numbers)
            if isinstance(layer, Recurrent):
                steps, u = _through_steps(layer, member, z, weights[1], alpha, slope)
                z = steps.states[-1][0]
            else:
                u, z = z, _activated(member, z, alpha, slope)
            arguments.append((inner(member.scaling, u, alpha), slope))
        x = z + x if layer.residual else z
    return Outputs(x, arguments, torch.cat(after) if after else buffers, steps)


def _activated(member: MemberConfig, z: Tensor, alpha: float | Tensor, slope: Any) -> Tensor:
    parameter = () if slope is None else (slope,)
    return activation(member.activation, member.scaling)(z, alpha, *parameter)


def _through_steps(
    layer: Recurrent, member: MemberConfig, inputs: Tensor, recurrent: Tensor, alpha: float | Tensor, slope: Any
) -> tuple[Steps, Tensor]:
    """A recurrent layer's steps, and F's arguments (images, steps, units)."""
    gate = activation("sigmoid", member.scaling)

    def f(u: Tensor, step: int) -> Tensor:
        drawn = isinstance(slope, Tensor) and slope.dim() > 0
        return _activated(member, u, alpha, slope[:, step] if drawn else slope)

    def s(u: Tensor) -> Tensor:
        return gate(u, alpha if layer.scaled_gates else 1.0)

    def after(state: State, inputs: Tensor) -> State:
        return layer.loop(inputs[:, None], recurrent, f, s, state)[0][0]

    states, arguments = layer.loop(inputs, recurrent, f, s)
    return Steps(states, inputs, after), torch.stack(arguments, 1)


def _apart(vector: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    pieces = torch.split(vector, [prod(shape) for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]


class Array:
    """Members that share all but alpha, r, learning rate and seed as tensors on a device.

    Parameters, what the optimizer keeps and running statistics are (members, each), the other numbers (members,).
    """

    def __init__(self, layers: tuple[Layer, ...], states: Sequence[MemberState], device: torch.device) -> None:
        def tensor(values: Sequence[object]) -> Tensor:
            return torch.tensor(np.array(values, dtype=np.float32), device=device)

        self.layers = layers
        self.states = states
        self.member = states[0].member
        self.parameters = tensor([s.parameters for s in states])
        self.buffers = tensor([s.buffers for s in states])
        self.kept = tuple(tensor(vectors) for vectors in zip(*(s.kept for s in states), strict=True))
        self.alpha, self.r = (tensor([getattr(s.member, name) for s in states]) for name in ("alpha", "r"))
        self.keys = torch.tensor([slope_key(s.member.seed) for s in states], device=device)
        self.penalized = None if self.member.penalized == "all" else tensor(penalized(self.member, layers).tolist())
        self.step = states[0].step

    def __len__(self) -> int:
        return len(self.states)

    def over(self, of_member: Callable[..., Any], *batch: Tensor) -> Any:
        """A function of (parameters, alpha, r, buffers) and of each member's part of `batch`, over all members.

        They are the first axis of `batch` and of all tensors that come back.
        """
        if len(self) > 1:
            return torch.func.vmap(of_member)(self.parameters, self.alpha, self.r, self.buffers, *batch)
        own = self.parameters[0], self.member.alpha, self.member.r, self.buffers[0]
        return _with_axis(of_member(*own, *(b[0] for b in batch)))

    def gradients(self, images: Tensor, labels: Tensor) -> Any:
        """Gradients of the objective (members, P), on each member's own images; losses and hits (members,).

        The running statistics go on by this batch.
        """

        def gradient_of(parameters: Tensor, *rest: Any) -> tuple[Tensor, Any]:
            """As torch.func.grad, and a fifth faster."""
            parameters = parameters.detach().requires_grad_()
            value, scores = self.objective(parameters, *rest)
            return torch.autograd.grad(value, parameters)[0], scores

        of_member = gradient_of if len(self) == 1 else torch.func.grad(self.objective, has_aux=True)
        gradients, (loss, hits, self.buffers) = self.over(of_member, images, labels, self.keys)
        return gradients, loss, hits

    def objective(
        self,
        parameters: Tensor,
        alpha: float | Tensor,
        r: float | Tensor,
        buffers: Tensor,
        images: Tensor,
        labels: Tensor,
        key: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """What a member minimizes, the mean loss plus the penalty; the loss, the hits and the running statistics."""
        logits, _, buffers, _ = forward(
            self.layers, self.member, parameters, alpha, images, buffers, by_batch=True, drawn=(key, self.step)
        )
        loss = LOSSES[self.member.loss].of(logits, labels, "mean")
        hits = (logits.argmax(1) == labels).sum()
        of_penalty = parameters if self.penalized is None else parameters * self.penalized
        return loss + PENALTIES[self.member.penalty].value(of_penalty, r), (loss, hits, buffers)

    def update(self, gradients: Tensor, learning_rate: Tensor) -> None:
        """One optimizer step of every member, at learning rates (members, 1)."""
        self.step += 1
        m = self.member
        if PENALTIES[m.penalty].decoupled:
            mask = 1.0 if self.penalized is None else self.penalized
            self.parameters.mul_(1 - learning_rate * self.r[:, None] * mask)
        if m.clip:
            gradients = clipped(gradients, m.clip)
        epsilon = Epsilon(m.epsilon, m.epsilon_at == "after")
        OPTIMIZERS[m.optimizer].update(self.parameters, gradients, self.kept, self.step, learning_rate, epsilon)


def _with_axis(results: Any) -> Any:
    return results.detach()[None] if isinstance(results, Tensor) else [_with_axis(r) for r in results]


def calibrated(state: MemberState, layers: tuple[Layer, ...], dataset: Dataset) -> MemberState:
    """A member whose weights are divided, layer by layer, by the deviation of their outputs on a batch of the probe.

    So that it is 1 (LSUV: Mishkin and Matas 2016), and then multiplied by the member's `init_scale`. In float64 on one
    thread, so that every engine starts from the same bits.
    """
    member, placed = state.member, {place.name: place for place in places(layers)}
    images = Images(dataset, "probe", torch.device("cpu"))
    x = images.take(np.arange(min(CALIBRATED_ON, len(images))), member.input)[0].double()
    parameters, buffers = torch.from_numpy(state.parameters).double(), torch.from_numpy(state.buffers).double()
    alpha: float | Tensor = member.alpha
    with one_torch_thread(), torch.no_grad():
        for layer, kept in zip(layers, buffer_shapes(layers), strict=True):
            place, own = placed.get(layer.name), parameters[:0]
            if place:
                own = parameters[place.where.start :][: parameter_count((layer,), tuple(x.shape[1:]))]
                tensors = _apart(parameters[place.where], place.tensors)
                read = tensors
                weights = [tensor for tensor in tensors if tensor.dim() > 1]
                if isinstance(layer, Recurrent):  # what it reads: no recurrent weights, and no forget bias
                    read, weights = [*weights, *map(torch.zeros_like, tensors[2:])], weights[:1]
                deviation = layer.forward(x, iter(read)).std(correction=0)
                for tensor in weights if deviation > 0 else ():  # not where all units before it are dead
                    # the factors of a separable convolution share it
                    tensor *= (float(member.init_scale or 1.0) / deviation) ** (1 / len(weights))
                if "alpha" in place.learned:
                    alpha = parameters[place.learned["alpha"]][0]
            count = sum(prod(shape) for shape, _ in kept.values())
            x = forward((layer,), member, own, alpha, x, buffers[:count], by_batch=True).logits
            buffers = buffers[count:]
    return replace(state, parameters=parameters.float().numpy())


class ReferenceEngine(Engine):
    """Trains, evaluates and probes arrays of members on one data set."""

    name = "reference"

    def __init__(self, layers: tuple[Layer, ...], dataset: Dataset, device: str, threads: int) -> None:
        self.layers = layers
        self.device = torch.device(device)
        self.threads = threads
        if self.device.type == "cuda":
            # PyTorch's default for convolutions is tf32, whose mantissa has 10 bits: not what a judge computes with.
            torch.backends.cudnn.allow_tf32 = False
        self.splits = {name: Images(dataset, name, self.device) for name in dataset.splits()}

    def train_epoch(self, states: Sequence[MemberState]) -> list[tuple[MemberState, float, float]]:
        return self._over_arrays(self._train_epoch, states)

    def evaluate(self, states: Sequence[MemberState], split: str) -> list[tuple[float, float]]:
        return self._over_arrays(lambda array: self._evaluate(array, split), states)

    def probe(self, states: Sequence[MemberState]) -> list[Probe]:
        return self._over_arrays(self._probe, states)

    def _over_arrays(self, work: Callable[[Array], list[T]], states: Sequence[MemberState]) -> list[T]:
        """Split the members into arrays, do the work on each, and put the answers into the members' order."""
        groups: dict[object, list[int]] = {}
        for i, state in enumerate(states):
            m = state.member
            alone = i if self.device.type == "cpu" else 0
            groups.setdefault((alone, *(getattr(m, name) for name in ALIKE), state.step), []).append(i)
        arrays = [Array(self.layers, [states[i] for i in where], self.device) for where in groups.values()]
        answers: dict[int, T] = {}
        with one_torch_thread(), ThreadPoolExecutor(self.threads) as pool:
            for where, results in zip(groups.values(), pool.map(work, arrays), strict=True):
                answers |= zip(where, results, strict=True)
        return [answers[i] for i in range(len(states))]

    def _train_epoch(self, array: Array) -> list[tuple[MemberState, float, float]]:
        images = self.splits["train"]
        orders = np.stack([order_of_images(s.member.seed, s.epoch + 1, len(images)) for s in array.states])
        scores = torch.zeros((2, len(array)), dtype=torch.float64, device=self.device)
        starts = range(0, len(images), array.member.batch_size)
        by_member = [learning_rates(s.member, s.epoch + 1, len(starts)) for s in array.states]
        rates = torch.tensor(np.stack(by_member).astype(np.float32), device=self.device)
        for i, start in enumerate(starts):
            batch, labels = images.take(orders[:, start : start + array.member.batch_size], array.member.input)
            gradients, loss, hits = array.gradients(batch, labels)
            array.update(gradients, rates[:, i : i + 1])
            scores[0] += loss.double() * labels.shape[1]
            scores[1] += hits
        columns = (t.cpu().numpy() for t in (array.parameters, array.buffers, *array.kept))
        return [
            (replace(s, epoch=s.epoch + 1, step=array.step, parameters=p, buffers=b, kept=tuple(kept)), loss, hits)
            for s, (loss, hits), p, b, *kept in zip(array.states, self._means(scores, images), *columns, strict=True)
        ]

    @torch.no_grad()
    def _evaluate(self, array: Array, split: str) -> list[tuple[float, float]]:
        images = self.splits[split]
        scores = torch.zeros((2, len(array)), dtype=torch.float64, device=self.device)
        for batch, labels in images.pieces(len(array), array.member.input):
            logits = array.over(
                lambda p, alpha, _, buffers, x=batch: forward(self.layers, array.member, p, alpha, x, buffers).logits
            )
            flat = LOSSES[array.member.loss].of(logits.flatten(0, 1), labels.repeat(len(array)), "none")
            scores[0] += flat.view(len(array), -1).double().sum(1)
            scores[1] += (logits.argmax(2) == labels).sum(1)
        return self._means(scores, images)

    @staticmethod
    def _means(scores: Tensor, images: Images) -> list[tuple[float, float]]:
        return [(loss, hits) for loss, hits in (scores / len(images)).T.tolist()]

    def _probe(self, array: Array) -> list[Probe]:
        images, f = self.splits["probe"], ACTIVATIONS[array.member.activation]
        gradients = torch.zeros_like(array.parameters)
        activated = [layer.name for layer in self.layers if layer.activated]
        often: dict[str, Any] = dict.fromkeys(activated, 0)  # of each unit, (members, units)
        by_batch = any(buffer_shapes(self.layers))
        size = array.member.batch_size if by_batch else None
        for batch, labels in images.pieces(len(array), array.member.input, size):

            def loss(
                parameters: Tensor,
                alpha: Tensor,
                r: Tensor,
                buffers: Tensor,
                batch: Tensor = batch,
                labels: Tensor = labels,
            ) -> tuple[Tensor, list[Tensor]]:
                logits, arguments, *_ = forward(
                    self.layers, array.member, parameters, alpha, batch, buffers, by_batch=by_batch
                )
                flat = [_slope(f, *u).abs() < SATURATED_BELOW * f.steepest_at(u[1]) for u in arguments]
                return LOSSES[array.member.loss].of(logits, labels, "mean"), flat

            gradient, flat = array.over(torch.func.grad(loss, has_aux=True))
            gradients += gradient * (len(labels) / len(images))
            for name, saturated in zip(activated, flat, strict=True):
                often[name] += saturated.sum(1).flatten(1)
        placed = places(self.layers)
        saturated, dead = np.zeros((2, len(array), len(placed)))
        for i, place in enumerate(placed):
            if (count := often.get(place.name)) is not None:
                saturated[:, i] = (count.double() / len(images)).mean(1).cpu().numpy()
                dead[:, i] = (count == len(images)).double().mean(1).cpu().numpy()
        return [Probe(*rows) for rows in zip(gradients.cpu().numpy(), saturated, dead, strict=True)]


class Images:
    """One split, on a CUDA device or where it lies; floats come out, as a member's `input` has them."""

    def __init__(self, dataset: Dataset, name: str, device: torch.device) -> None:
        split = dataset.splits()[name]
        self.dataset = dataset
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these arrays can't be written to, and nobody does
            self.images, self.labels = (torch.from_numpy(a).to(device) for a in (split.images, split.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, where: NDArray[np.int64], input: str) -> tuple[Tensor, Tensor]:
        """The images and labels at an array of indices, in its shape."""
        index = torch.from_numpy(where).to(self.labels.device)
        images = self.images[index]
        if images.dim() == 5 and len(images) > 1:
            rows = images.float()
        else:
            # channels_last makes these convolutions two to three times as fast on a CPU
            rows = images.view(-1, *images.shape[-3:]).to(torch.float32, memory_format=torch.channels_last)
        if input != "bytes":
            rows = rows / 255
        if input == "standardized":
            mean, deviation = (
                torch.tensor(s, dtype=torch.float32, device=rows.device).view(3, 1, 1)
                for s in self.dataset.channel_statistics
            )
            rows = (rows - mean) / deviation
        return rows.view(images.shape), self.labels[index]

    def pieces(self, members: int, input: str, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole split in order, in pieces of that size, or whose activations fit for that many members."""
        least, most = (16, IMAGES_AT_ONCE) if self.labels.device.type == "cpu" else (64, 2**15)
        size = size or max(least, most // members)
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))), input)


def _slope(activation: Activation, u: Tensor, slope: float | Tensor | None) -> Tensor:
    """f'(u), elementwise."""
    parameter = () if slope is None else (slope,)
    result: Tensor = torch.func.grad(lambda u: activation.f(u, *parameter).sum())(u.detach())
    return result


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """PyTorch on one thread, whose sums would else depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
