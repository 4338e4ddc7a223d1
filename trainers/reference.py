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
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainers.activations import ACTIVATIONS, SATURATED_BELOW, Activation, activation, inner
from trainers.data.dataset import Dataset, Split
from trainers.layers import Layer, places, tensor_shapes
from trainers.members import MemberConfig
from trainers.optimizers import OPTIMIZER, OPTIMIZERS
from trainers.penalties import PENALTIES
from trainers.states import MemberState
from trainers.statistics import Probe
from trainers.streams import order_of_images
from trainers.training import Engine

IMAGES_AT_ONCE = 500

T = TypeVar("T")


def forward(
    layers: tuple[Layer, ...], member: MemberConfig, parameters: Tensor, alpha: float | Tensor, images: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """One member's logits (images, classes), and the argument of f at every activated layer.

    `parameters` is the flat vector, `alpha` stands in for the member's own, `images` are floats in [0, 1] of shape
    (images, 3, 32, 32).
    """
    f = activation(member.activation, member.scaling)
    shapes = tensor_shapes(layers)
    pieces = torch.split(parameters, [prod(shape) for shape in shapes])
    tensors = iter([piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)])
    arguments = []
    x = images
    for layer in layers:
        x = layer.forward(x, tensors)
        if layer.activated:
            arguments.append(inner(member.scaling, x, alpha))
            x = f(x, alpha)
    return x, arguments


class Array:
    """Members that share all but alpha, r, learning rate and seed as tensors on a device.

    Parameters and what the optimizer keeps are (members, parameters), the other numbers (members,).
    """

    def __init__(self, layers: tuple[Layer, ...], states: Sequence[MemberState], device: torch.device) -> None:
        def tensor(values: Sequence[object]) -> Tensor:
            return torch.tensor(np.array(values, dtype=np.float32), device=device)

        self.layers = layers
        self.states = states
        self.member = states[0].member
        self.parameters = tensor([s.parameters for s in states])
        self.kept = tuple(tensor(vectors) for vectors in zip(*(s.kept for s in states), strict=True))
        self.alpha, self.r, self.learning_rate = (
            tensor([getattr(s.member, name) for s in states]) for name in ("alpha", "r", "learning_rate")
        )
        self.step = states[0].step

    def __len__(self) -> int:
        return len(self.states)

    def over(self, of_member: Callable[..., Any], *batch: Tensor) -> Any:
        """A function of (parameters, alpha, r) and of each member's part of `batch`, over all members.

        They are the first axis of `batch` and of all tensors that come back.
        """
        if len(self) > 1:
            return torch.func.vmap(of_member)(self.parameters, self.alpha, self.r, *batch)
        return _with_axis(of_member(self.parameters[0], self.member.alpha, self.member.r, *(b[0] for b in batch)))

    def gradients(self, images: Tensor, labels: Tensor) -> Any:
        """Gradients of the objective (members, P), and losses and hits (members,) on each member's own images."""

        def gradient_of(parameters: Tensor, *rest: Any) -> tuple[Tensor, Any]:
            """As torch.func.grad, and a fifth faster."""
            parameters = parameters.detach().requires_grad_()
            value, scores = self.objective(parameters, *rest)
            return torch.autograd.grad(value, parameters)[0], scores

        of_member = gradient_of if len(self) == 1 else torch.func.grad(self.objective, has_aux=True)
        return self.over(of_member, images, labels)

    def objective(
        self, parameters: Tensor, alpha: float | Tensor, r: float | Tensor, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """What a member minimizes, the mean cross-entropy plus the penalty; the cross-entropy and the hits alone."""
        logits, _ = forward(self.layers, self.member, parameters, alpha, images)
        loss = F.cross_entropy(logits, labels)
        hits = (logits.argmax(1) == labels).sum()
        return loss + PENALTIES[self.member.penalty].value(parameters, r), (loss, hits)

    def update(self, gradients: Tensor) -> None:
        """One optimizer step of every member."""
        self.step += 1
        OPTIMIZERS[OPTIMIZER].update(self.parameters, gradients, self.kept, self.step, self.learning_rate[:, None])


def _with_axis(results: Any) -> Any:
    return results.detach()[None] if isinstance(results, Tensor) else [_with_axis(r) for r in results]


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
        orders = np.stack([order_of_images(s.member.seed, s.epoch + 1, len(images)) for s in array.states])
        scores = torch.zeros((2, len(array)), dtype=torch.float64, device=self.device)
        for start in range(0, len(images), array.member.batch_size):
            batch, labels = images.take(orders[:, start : start + array.member.batch_size])
            gradients, (loss, hits) = array.gradients(batch, labels)
            array.update(gradients)
            scores[0] += loss.double() * labels.shape[1]
            scores[1] += hits
        columns = (t.cpu().numpy() for t in (array.parameters, *array.kept))
        return [
            (replace(s, epoch=s.epoch + 1, step=array.step, parameters=p, kept=tuple(kept)), loss, hits)
            for s, (loss, hits), p, *kept in zip(array.states, self._means(scores, images), *columns, strict=True)
        ]

    @torch.no_grad()
    def _evaluate(self, array: Array, split: str) -> list[tuple[float, float]]:
        images = self.splits[split]
        scores = torch.zeros((2, len(array)), dtype=torch.float64, device=self.device)
        for batch, labels in images.pieces(len(array)):
            logits = array.over(lambda p, alpha, _, x=batch: forward(self.layers, array.member, p, alpha, x)[0])
            flat = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(array)), reduction="none")
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
        for batch, labels in images.pieces(len(array)):

            def loss(
                parameters: Tensor, alpha: Tensor, _: Tensor, batch: Tensor = batch, labels: Tensor = labels
            ) -> tuple[Tensor, list[Tensor]]:
                logits, arguments = forward(self.layers, array.member, parameters, alpha, batch)
                return F.cross_entropy(logits, labels), arguments

            gradient, arguments = array.over(torch.func.grad(loss, has_aux=True))
            gradients += gradient * (len(labels) / len(images))
            for name, u in zip(activated, arguments, strict=True):
                often[name] += (_slope(f, u).abs() < SATURATED_BELOW * f.steepest).sum(1).flatten(1)
        placed = places(self.layers)
        saturated, dead = np.zeros((2, len(array), len(placed)))
        for i, place in enumerate(placed):
            if (count := often.get(place.name)) is not None:
                saturated[:, i] = (count.double() / len(images)).mean(1).cpu().numpy()
                dead[:, i] = (count == len(images)).double().mean(1).cpu().numpy()
        return [Probe(*rows) for rows in zip(gradients.cpu().numpy(), saturated, dead, strict=True)]


class Images:
    """One split, on a CUDA device or where it lies; floats in [0, 1] come out."""

    def __init__(self, split: Split, device: torch.device) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these arrays can't be written to, and nobody does
            self.images, self.labels = (torch.from_numpy(a).to(device) for a in (split.images, split.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, where: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """The images and labels at an array of indices, in its shape."""
        index = torch.from_numpy(where).to(self.labels.device)
        images = self.images[index]
        if images.dim() == 5 and len(images) > 1:
            return images.float() / 255, self.labels[index]
        # channels_last makes these convolutions two to three times as fast on a CPU
        rows = images.view(-1, *images.shape[-3:]).to(torch.float32, memory_format=torch.channels_last) / 255
        return rows.view(images.shape), self.labels[index]

    def pieces(self, members: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole split in order, in pieces whose activations fit for that many members."""
        least, most = (16, IMAGES_AT_ONCE) if self.labels.device.type == "cpu" else (64, 2**15)
        size = max(least, most // members)
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))


def _slope(activation: Activation, u: Tensor) -> Tensor:
    """f'(u), elementwise."""
    u = u.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(activation.f(u).sum(), u)
    return slope


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
