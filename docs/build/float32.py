"""What float32 is worth: how far recorded gradients are from those of the same parameters in float64.

    python -m docs.build.float32 [--data folder:PATH] [--seeds 16]

The paper's three regimes before the first step, plain tanh and alpha = 2 rescaled, on the probe's first 256 images. Of
each seed the relative deviation of `gradient.data.mean_abs`, of the whole network and of its first layer, and that
of the gradient as a vector, |g32 - g64| / |g64|: the median over seeds and the largest, in percent. The table in
trainers/README.md is made of what this prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from docs.build.pages import table
from trainers import MemberConfig
from trainers.data import load
from trainers.data.dataset import Dataset
from trainers.lanes.engine import LaneEngine
from trainers.layers import Layer, places
from trainers.measurements.subject import MOST_IMAGES, Subject
from trainers.members import layers_of
from trainers.reference import Images, ReferenceEngine, one_torch_thread
from trainers.states import MemberState, initial_state
from trainers.training import Engine

Array = NDArray[np.float64]
WHAT = ("mean absolute value", "of the first layer", "as a vector")
REGIMES, ALPHAS = ("many-layers", "large-parameters", "combined"), (1.0, 2.0)


def few(dataset: Dataset) -> Dataset:
    """So many training images that all of them are the probe, and float64 takes seconds: the probe's first."""
    images = dataset.splits()["probe"].take(np.arange(MOST_IMAGES))
    return Dataset(dataset.name, dataset.classes, images, images, images, digest="")


def in_float64(states: Sequence[MemberState], layers: tuple[Layer, ...], dataset: Dataset) -> Array:
    """The gradients of the mean loss over the probe, (members, parameters)."""
    probe, gradients = Images(dataset, "probe", torch.device("cpu")), []
    for state in states:
        subject = Subject(state, layers, probe)
        parameters = subject.parameters.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(subject.loss(parameters), parameters)
        gradients.append(gradient.numpy())
    return np.stack(gradients)


def deviations(recorded: Array, exact: Array, first: slice) -> Iterator[Array]:
    """Those of WHAT, (members,) each; `first` is where the first layer's parameters are."""
    for where in (slice(None), first):
        sizes = [np.abs(gradients[:, where]).mean(axis=1) for gradients in (recorded, exact)]
        yield np.abs(sizes[0] / sizes[1] - 1)
    yield np.linalg.norm(recorded - exact, axis=1) / np.linalg.norm(exact, axis=1)


def rows(data: str, seeds: int) -> Iterator[list[str]]:
    """One per regime, alpha and engine."""
    dataset = few(load(data))
    for regime in REGIMES:
        for alpha in ALPHAS:
            members = [MemberConfig(regime=regime, alpha=alpha, data=data, seed=seed) for seed in range(seeds)]
            layers = layers_of(members[0], len(dataset.classes))
            states = [initial_state(member, layers, dataset) for member in members]
            exact, first = in_float64(states, layers, dataset), places(layers)[0].where
            engines: tuple[Engine, ...] = tuple(
                kind(layers, dataset, "cpu", 1) for kind in (LaneEngine, ReferenceEngine)
            )
            for engine in engines:
                recorded = np.stack([probe.gradient for probe in engine.probe(states)], dtype=np.float64)
                found = [100 * of for of in deviations(recorded, exact, first)]
                spans = [f"{np.median(of):.2g}, {of.max():.2g}" for of in found]
                yield [regime, f"{alpha:g}", engine.name, *spans]


def main(
    data: Annotated[str, typer.Option(help="digits, cifar10 or folder:PATH")] = "digits",
    seeds: Annotated[int, typer.Option(min=1, help="networks of each row")] = 16,
) -> None:
    """Print the table."""
    with one_torch_thread():
        print(table(["regime", "alpha", "engine", *WHAT], rows(data, seeds)))


if __name__ == "__main__":
    typer.run(main)
