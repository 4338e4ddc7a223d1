"""The judge of the kernels: the same network in PyTorch at any precision, and cases to judge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from trainers.activations import ACTIVATIONS, activation, inner
from trainers.cuda.plan import refusal
from trainers.engines import unsupported
from trainers.lanes.tables import SUPPORT
from trainers.layers import CELLS, IMAGE, Convolution, Dense, Layer, Pooling, Recurrent, parameter_count, places
from trainers.members import MemberConfig
from trainers.regimes import REGIMES, network

NEAR = 1e-6  # of the largest: a few times what float32 gets wrong


def regimes_of(engine: str) -> list[str]:
    """Those whose networks a fast engine trains."""
    known = [regime for regime in REGIMES if unsupported(MemberConfig(regime=regime), engine) is None]
    return [regime for regime in known if engine != "cuda" or refusal(network(regime), IMAGE) is None]


class Split(NamedTuple):
    """What the kernels need of trainers.data.Split, for images of any size."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Case:
    """A network, images and members to run on them; parameters of shape (members, P)."""

    layers: tuple[Layer, ...]
    split: Split
    members: tuple[MemberConfig, ...]
    parameters: np.ndarray


def glorot(layers: tuple[Layer, ...], image: tuple[int, ...], seed: int, factor: float = 1.0) -> np.ndarray:
    """Initial values that leave most units unsaturated; biases too, so that they are seen."""
    random = np.random.default_rng(seed)
    parts = []
    for place in places(layers, image):
        for shape in place.tensors:
            fan = prod(shape[1:]) + shape[0] * prod(shape[2:]) if len(shape) > 1 else 20
            parts.append(random.uniform(-1, 1, prod(shape)) * factor * np.sqrt(6 / fan))
    return np.concatenate(parts).astype(np.float32)


def images(count: int, image: tuple[int, ...], classes: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, *image), dtype=np.uint8)
    return Split(pixels, random.integers(0, classes, count))


def forward(layers: tuple[Layer, ...], member: MemberConfig, parameters: Tensor, x: Tensor) -> tuple[Tensor, list]:
    """Logits, and for every activated layer its z, a recurrent one's of all steps, and whether a pooling follows."""
    shapes = [s for place in places(layers, tuple(x.shape[1:])) for s in place.tensors]
    pieces = parameters.split([prod(s) for s in shapes])
    tensors = iter([piece.view(s) for piece, s in zip(pieces, shapes, strict=True)])
    f = activation(member.activation, member.scaling)
    arguments = []
    for i, layer in enumerate(layers):
        if isinstance(layer, Pooling):
            x = F.max_pool2d(x, 2)
            continue
        if isinstance(layer, Recurrent):
            own = [next(tensors) for _ in layer.parameters(tuple(x.shape[1:]))]
            gate = partial(activation("sigmoid", member.scaling), alpha=member.alpha if layer.scaled_gates else 1.0)
            z = layer.forward(x, iter(own))
            states, u = layer.loop(z, own[1], lambda u, step: f(u, member.alpha), gate)
            arguments.append((torch.stack(u, 1), False))
            x = states[-1][0]
            continue
        if isinstance(layer, Convolution):
            if layer.separable:
                x = F.conv2d(x, next(tensors), padding=1, groups=x.shape[1])
            padding = 0 if layer.separable else 1
            x = F.conv2d(x, next(tensors), next(tensors) if layer.bias else None, padding=padding)
        else:
            x = F.linear(x.flatten(1), next(tensors), next(tensors) if layer.bias else None)
            if not layer.activated:
                break
        arguments.append((x, i + 1 < len(layers) and isinstance(layers[i + 1], Pooling)))
        x = f(x, member.alpha)
    return x, arguments


def gradient(case: Case, member: int, dtype: torch.dtype, penalized: bool = False) -> np.ndarray:
    """Autograd's gradient of the mean loss, with or without the penalty, in that precision."""
    m = case.members[member]
    parameters = torch.tensor(case.parameters[member], dtype=dtype).requires_grad_()
    x = torch.tensor(np.array(case.split.images)).to(dtype) / 255
    logits, _ = forward(case.layers, m, parameters, x)
    loss = F.cross_entropy(logits, torch.tensor(case.split.labels))
    if penalized:
        loss = loss + m.r * (parameters.abs().sum() if m.penalty == "l1" else parameters.square().sum() / 2)
    (found,) = torch.autograd.grad(loss, parameters)
    return found.numpy()


def smooth(case: Case) -> Case | None:
    """The case without the images that rounding can decide: near-ties of a pooling, arguments next to a kink.

    There float32 and float64 may take different sides, and the gradient jumps; PyTorch's own float32 does it as often.
    None where no image is left.
    """
    keep = np.ones(len(case.split.labels), dtype=bool)
    x = torch.tensor(np.array(case.split.images)).double() / 255
    for member, row in zip(case.members, case.parameters, strict=True):
        _, arguments = forward(case.layers, member, torch.tensor(row).double(), x)
        for z, pooled in arguments:
            u = inner(member.scaling, z, member.alpha)
            for kink in ACTIVATIONS[member.activation].kinks:
                keep &= ((u - kink).abs().flatten(1).amin(1) > NEAR * float(u.abs().max())).numpy()
            if pooled:
                value = activation(member.activation, member.scaling)(z, member.alpha)
                windows = F.unfold(value.flatten(0, 1)[:, None], 2, stride=2)  # (images * channels, 4, windows)
                gaps = windows.sort(1).values.diff(dim=1)[:, -1].reshape(len(keep), -1)
                flat = 0.0 if ACTIVATIONS[member.activation].kinks else -1.0  # ties of a flat piece carry no gradient
                keep &= ((gaps > NEAR * float(value.abs().max())) | (gaps == flat)).all(1).numpy()
    if not keep.any():
        return None
    return Case(case.layers, Split(case.split.images[keep], case.split.labels[keep]), case.members, case.parameters)


def error(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


members = st.builds(
    MemberConfig,
    activation=st.sampled_from([a for a in SUPPORT.fields["activation"] if not ACTIVATIONS[a].random]),
    scaling=st.sampled_from(["rescaled", "naive"]),
    penalty=st.sampled_from(["l1", "l2"]),
    alpha=st.sampled_from([0.5, 1.0, 2.0, 3.7]),
    r=st.sampled_from([0.0, 0.01]),
    learning_rate=st.sampled_from([0.001, 0.01]),
    seed=st.integers(0, 1000),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[Layer, ...]]:
    """Any small network that the kernels take, and the shape of its images."""
    side = st.sampled_from([4, 6, 8, 12, 20])
    image = height, width = draw(side), draw(side)
    layers: list[Layer] = []
    units = st.one_of(st.integers(1, 9), st.integers(10, 90))  # small ones and large ones have kernels of their own
    if recurrent := draw(st.booleans()):
        steps = draw(st.sampled_from([n for n in (1, 2, 3, 4, 5, 8, 16, 20, 48) if height * width % n == 0]))
        cell, bias, scaled_gates = draw(st.sampled_from(list(CELLS))), draw(st.booleans()), draw(st.booleans())
        layers.append(Recurrent("recurrent", cell, draw(units), steps, bias, scaled_gates))
    for i in range(0 if recurrent else draw(st.integers(0, 3))):
        channels, separable, bias = draw(st.integers(1, 7)), draw(st.booleans()), draw(st.booleans())
        layers.append(Convolution(f"conv{i}", channels, separable, bias))
        if height % 2 == width % 2 == 0 and draw(st.booleans()):
            layers.append(Pooling(f"pool{i}"))
            height, width = height // 2, width // 2
    for i in range(draw(st.integers(0, 4))):
        layers.append(Dense(f"dense{i}", draw(units), draw(st.booleans())))
    layers.append(Dense("output", draw(st.integers(2, 11)), draw(st.booleans()), activated=False))
    return (draw(st.integers(1, 4)), *image), tuple(layers)


@st.composite
def cases(draw: st.DrawFn, most_images: int = 40, most_members: int = 1) -> Case:
    """Small networks of any shape with several members."""
    image, layers = draw(tables())
    classes = layers[-1].units
    split = images(draw(st.integers(1, most_images)), image, classes, draw(st.integers(0, 99)))
    chosen = draw(st.lists(members, min_size=1, max_size=most_members))
    rows = [glorot(layers, image, m.seed) for m in chosen]
    assert len(rows[0]) == parameter_count(layers, image)
    return Case(layers, split, tuple(chosen), np.stack(rows))


def regime_case(regime: str, member: MemberConfig, count: int, seed: int, factor: float = 1.0) -> Case:
    """One member of a regime on random images; `regime` may carry the other reading of its table."""
    assert regime in REGIMES
    layers = network(regime)
    parameters = glorot(layers, (3, 32, 32), seed, factor)[None]
    return Case(layers, images(count, (3, 32, 32), 10, seed), (member,), parameters)
