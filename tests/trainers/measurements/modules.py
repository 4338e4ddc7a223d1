"""A member's network as modules of torch.nn, in float64: what judges the measurements, written without our forward."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.trainers.test_engines import TINY
from trainers.measurements.subject import Subject
from trainers.members import MemberConfig, layers_of
from trainers.reference import Images
from trainers.states import initial_state
from trainers.weights import content_of, sequential

PROBE = Images(TINY, "probe", torch.device("cpu"))


def subject_of(change: float = 0.05, **fields: Any) -> Subject:
    """A member some way from its initial values, with numbers like 1 in all of its layers."""
    member = MemberConfig(**{"initialization": "he_normal", "init_scale": 1.0, "seed": 1} | fields)
    layers = layers_of(member, 10)
    state = initial_state(member, layers, TINY)
    moved = state.parameters + change * np.random.default_rng(0).normal(size=len(state.parameters))
    return Subject(replace(state, parameters=moved.astype(np.float32)), layers, PROBE)


def model_of(subject: Subject) -> nn.Sequential:
    """The network as `gradsweep weights` writes it."""
    content = content_of(subject.state, TINY)
    model = sequential(content["layers"])
    model.load_state_dict(content["state_dict"])
    return model.double()


def evaluating(subject: Subject) -> nn.Sequential:
    """The network as it evaluates, batch normalization with the statistics of all of the subject's images."""
    model = model_of(subject)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(subject.images)
    return model.eval()


def seen(model: nn.Sequential, images: Tensor) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """z, F(z) and F'(z) by layer, each (images, units), of a pass as in training."""
    calls: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = defaultdict(list)

    def noted(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            z = inputs[0].detach().requires_grad_()
            out = type(module).forward(module, z)
            (slope,) = torch.autograd.grad(out.sum(), z)
            calls[name].append((z.detach().flatten(1), out.detach().flatten(1), slope.flatten(1)))

        return hook

    for name, module in model.named_modules():
        if name.endswith("_activation") or name == "recurrent.f":
            module.register_forward_hook(noted(name.removesuffix(".f").split(".")[-1].removesuffix("_activation")))
    model.train()(images)
    steps = getattr(getattr(model, "recurrent", None), "layer", None)
    # an LSTM takes F of its cell as well, after that of its argument
    every = {name: of[:: len(of) // (steps.steps if steps else 1)] for name, of in calls.items()}
    return {name: tuple(torch.cat(column, 1) for column in zip(*of, strict=True)) for name, of in every.items()}
