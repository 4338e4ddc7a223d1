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
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainers.activations import ACTIVATIONS, SATURATED_BELOW, activation, inner
from trainers.data.dataset import Dataset, Split
from trainers.layers import Layer, parameter_shapes, places
from trainers.optimizers import OPTIMIZER, OPTIMIZERS
from trainers.penalties import PENALTIES
from trainers.states import MemberState
from trainers.statistics import Probe
from trainers.streams import order_of_images
from trainers.training import Engine

IMAGES_AT_ONCE = 500

T = TypeVar("T")


class Recipe(NamedTuple):
    """What members must share to be one batched array; alpha, r and the learning rate may differ."""

    layers: tuple[Layer, ...]
    activation: str
    scaling: str
    penalty: str


def forward(recipe: Recipe, parameters: Tensor, alpha: float | Tensor, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """One member's logits (images, classes), and the argument of f at every activated layer.

    `parameters` is the flat vector, `images` are floats in [0, 1] of shape (images, 3, 32, 32).
    """
    f = activation(recipe.activation, recipe.scaling)
    tensors = iter(unflatten(recipe.layers, parameters))
    arguments = []
    x = images
    for layer in recipe.layers:
        x = layer.forward(x, tensors)
        if not layer.activated:
            continue
        arguments.append(inner(recipe.scaling, x, alpha))
        x = f(x, alpha)
    return x, arguments


def unflatten(layers: tuple[Layer, ...], parameters: Tensor) -> list[Tensor]:
    """The tensors of `trainers.layers.parameter_shapes`, as views of the flat vector."""
    shapes = _tensor_shapes(layers)
    pieces = torch.split(parameters, [prod(shape) for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]


@functools.cache
def _tensor_shapes(layers: tuple[Layer, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(shape for _, tensors in parameter_shapes(layers) for shape in tensors)


def objective(
    recipe: Recipe,
    parameters: Tensor,
    alpha: float | Tensor,
    r: float | Tensor,
    images: Tensor,
    labels: Tensor,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """What is minimized, the mean cross-entropy plus the penalty; and the cross-entropy and the hits alone."""
    logits, _ = forward(recipe, parameters, alpha, images)
    loss = F.cross_entropy(logits, labels)
    hits = (logits.argmax(1) == labels).sum()
    return loss + PENALTIES[recipe.penalty].value(parameters, r), (loss, hits)


class Array:
    """Members that share a recipe as tensors on a device: parameters (members, P), the other numbers (members,)."""

    def __init__(self, layers: tuple[Layer, ...], states: Sequence[MemberState], device: torch.device) -> None:
        def tensor(values: Sequence[object]) -> Tensor:
            return torch.tensor(np.array(values, dtype=np.float32), device=device)

        member = states[0].member
        self.recipe = Recipe(layers, member.activation, member.scaling, member.penalty)
        self.states = states
        self.parameters = tensor([s.parameters for s in states])
        self.kept = tuple(tensor(vectors) for vectors in zip(*(s.kept for s in states), strict=True))
        self.alpha = tensor([s.member.alpha for s in states])
        self.r = tensor([s.member.r for s in states])
        self.learning_rate = tensor([s.member.learning_rate for s in states])[:, None]
        self.step = states[0].step

    def __len__(self) -> int:
        return len(self.states)

    def gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the objective (members, P), losses and hits (members,) on each member's own images."""
        if len(self) == 1:
            parameters = self.parameters[0].requires_grad_()
            member = self.states[0].member
            value, (loss, hits) = objective(self.recipe, parameters, member.alpha, member.r, images[0], labels[0])
            (gradient,) = torch.autograd.grad(value, parameters)
            return gradient[None], loss.detach()[None], hits[None]
        gradient_of = torch.func.grad(functools.partial(objective, self.recipe), has_aux=True)
        gradients, (losses, hits) = torch.func.vmap(gradient_of)(self.parameters, self.alpha, self.r, images, labels)
        return gradients, losses, hits

    def update(self, gradients: Tensor) -> None:
        """One optimizer step of every member."""
        self.step += 1
        self.parameters = self.parameters.detach()
        OPTIMIZERS[OPTIMIZER].update(self.parameters, gradients, self.kept, self.step, self.learning_rate)

    def after_epoch(self) -> list[MemberState]:
        """The members' states, one epoch on."""
        columns = (t.detach().cpu().numpy() for t in (self.parameters, *self.kept))
        return [
            replace(s, epoch=s.epoch + 1, step=self.step, parameters=p, kept=tuple(kept))
            for s, p, *kept in zip(self.states, *columns, strict=True)
        ]


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
        self.splits = {name: Images(split, self.device) for name, split in dataset.splits().items()}

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
            groups.setdefault((alone, m.activation, m.scaling, m.penalty, state.step), []).append(i)
        arrays = [Array(self.layers, [states[i] for i in where], self.device) for where in groups.values()]
        answers: dict[int, T] = {}
        with _one_torch_thread(), ThreadPoolExecutor(self.threads) as pool:
            for where, results in zip(groups.values(), pool.map(work, arrays), strict=True):
                answers |= zip(where, results, strict=True)
        return [answers[i] for i in range(len(states))]

    def _train_epoch(self, array: Array) -> list[tuple[MemberState, float, float]]:
        images = self.splits["train"]
        batch_size = array.states[0].member.batch_size
        orders = np.stack([order_of_images(s.member.seed, s.epoch + 1, len(images)) for s in array.states])
        losses = torch.zeros(len(array), dtype=torch.float64, device=self.device)
        hits = torch.zeros_like(losses)
        for start in range(0, len(images), batch_size):
            batch, labels = images.take(orders[:, start : start + batch_size])
            gradients, loss, hit = array.gradients(batch, labels)
            array.update(gradients)
            losses += loss.double() * labels.shape[1]
            hits += hit
        means = zip((losses / len(images)).tolist(), (hits / len(images)).tolist(), strict=True)
        return [(state, loss, hit) for state, (loss, hit) in zip(array.after_epoch(), means, strict=True)]

    @torch.no_grad()
    def _evaluate(self, array: Array, split: str) -> list[tuple[float, float]]:
        images = self.splits[split]
        losses = torch.zeros(len(array), dtype=torch.float64, device=self.device)
        hits = torch.zeros_like(losses)
        for batch, labels in images.pieces(len(array)):
            logits = _over_members(
                lambda parameters, alpha, x=batch: forward(array.recipe, parameters, alpha, x)[0], array
            )
            flat = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(array)), reduction="none")
            losses += flat.view(len(array), -1).double().sum(1)
            hits += (logits.argmax(2) == labels).sum(1)
        return list(zip((losses / len(images)).tolist(), (hits / len(images)).tolist(), strict=True))

    def _probe(self, array: Array) -> list[Probe]:
        images = self.splits["probe"]
        gradients = torch.zeros_like(array.parameters)
        flat: list[Tensor] = []  # of each activated layer: how often each unit was saturated, (members, units)
        for batch, labels in images.pieces(len(array)):
            flat_here, gradient = self._probe_piece(array, batch, labels)
            gradients += gradient * (len(labels) / len(images))
            flat = [a + b for a, b in zip(flat, flat_here, strict=True)] if flat else flat_here
        columns = {place.name: i for i, place in enumerate(places(self.layers))}
        saturated = np.zeros((len(array), len(columns)))
        dead = np.zeros_like(saturated)
        activated = (layer.name for layer in self.layers if layer.activated)
        for name, often in zip(activated, flat, strict=True):
            if (i := columns.get(name)) is not None:
                saturated[:, i] = (often.double() / len(images)).mean(1).cpu().numpy()
                dead[:, i] = (often == len(images)).double().mean(1).cpu().numpy()
        return [Probe(*rows) for rows in zip(gradients.cpu().numpy(), saturated, dead, strict=True)]

    def _probe_piece(self, array: Array, batch: Tensor, labels: Tensor) -> tuple[list[Tensor], Tensor]:
        def loss(parameters: Tensor, alpha: Tensor) -> tuple[Tensor, list[Tensor]]:
            logits, arguments = forward(array.recipe, parameters, alpha, batch)
            return F.cross_entropy(logits, labels), arguments

        gradient, arguments = _over_members(torch.func.grad(loss, has_aux=True), array)
        threshold = SATURATED_BELOW * ACTIVATIONS[array.recipe.activation].steepest
        often = [(_slope(array.recipe.activation, u).abs() < threshold).sum(1).flatten(1) for u in arguments]
        return often, gradient


class Images:
    """One split: resident on a CUDA device, or read where it lies; floats in [0, 1] come out."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self.device = device
        self.images: NDArray[np.uint8] | Tensor = split.images
        self.labels: NDArray[np.int64] | Tensor = split.labels
        if device.type != "cpu":
            self.images = torch.tensor(np.array(split.images), device=device)
            self.labels = torch.tensor(np.array(split.labels), device=device)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, where: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """The images and labels at an array of indices, in its shape."""
        if isinstance(self.images, Tensor):
            index = torch.from_numpy(where).to(self.device)
            return self._floats(self.images[index]), self.labels[index]
        return self._floats(torch.from_numpy(self.images[where])), torch.from_numpy(self.labels[where])

    def pieces(self, members: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole split in order, in pieces whose activations fit for that many members."""
        size = max(16, IMAGES_AT_ONCE // members) if self.device.type == "cpu" else max(64, 2**15 // members)
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))

    @staticmethod
    def _floats(images: Tensor) -> Tensor:
        # channels_last makes these convolutions two to three times as fast on a CPU
        if images.dim() == 4:
            return images.to(torch.float32, memory_format=torch.channels_last) / 255
        if images.shape[0] == 1:
            return (images[0].to(torch.float32, memory_format=torch.channels_last) / 255)[None]
        return images.float() / 255


def _over_members(of_member: Callable[..., Any], array: Array) -> Any:
    """A function of (parameters, alpha) over an array of members, which becomes the first axis of all it returns."""
    if len(array) == 1:
        return _with_axis(of_member(array.parameters[0], array.states[0].member.alpha))
    return torch.func.vmap(of_member)(array.parameters, array.alpha)


def _with_axis(results: Any) -> Any:
    return results[None] if isinstance(results, Tensor) else [_with_axis(r) for r in results]


def _slope(name: str, u: Tensor) -> Tensor:
    """f'(u), elementwise."""
    u = u.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(ACTIVATIONS[name].f(u).sum(), u)
    return slope


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
