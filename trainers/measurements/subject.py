"""What a measurement is given: a member's network at its present parameters, in PyTorch and float64 on the CPU.

The same function measures whichever engine trains, one member at a time on one thread of PyTorch's own, so that a
member's numbers depend on nothing but its state.

    >>> Subject(state, layers, Images(dataset, "probe", torch.device("cpu"))).loss()
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from trainers.data.dataset import Dataset
from trainers.layers import Layer, buffer_shapes, places
from trainers.layers.normalization import MOMENTUM
from trainers.losses import LOSSES
from trainers.measurements import MEASUREMENTS
from trainers.members import MemberConfig, measured_at
from trainers.reference import Images, Outputs, forward, one_torch_thread
from trainers.states import MemberState

MOST_IMAGES = 256


@dataclass(frozen=True)
class Subject:
    """A network at a state, and the images on which it is measured: the first `MOST_IMAGES` of the probe."""

    state: MemberState
    layers: tuple[Layer, ...]
    probe: Images

    @property
    def member(self) -> MemberConfig:
        return self.state.member

    @cached_property
    def parameters(self) -> Tensor:
        """All parameters, float64 of shape (parameters,), laid out as in `trainers.layers`."""
        return torch.from_numpy(self.state.parameters).double()

    @cached_property
    def buffers(self) -> Tensor:
        """The running statistics, float64 of shape (buffers,)."""
        return torch.from_numpy(self.state.buffers).double()

    @cached_property
    def fixed_buffers(self) -> Tensor:
        """The running statistics that these images alone would leave behind: an image's logits depend on no other."""
        if not len(self.buffers):
            return self.buffers
        with torch.no_grad():
            zero = replace(self, state=replace(self.state, buffers=np.zeros_like(self.state.buffers)))
            return zero.forward().buffers / MOMENTUM

    @property
    def images(self) -> Tensor:
        """Float64 of shape (images, channels, height, width), as the member's `input` has them."""
        return _taken(self.probe, self.member.input)[0]

    @property
    def labels(self) -> Tensor:
        """Int64 of shape (images,)."""
        return _taken(self.probe, self.member.input)[1]

    @property
    def alphas(self) -> dict[str, float]:
        """The alpha of each layer with an activation; one that the first layer alone learns holds for all."""
        alpha, alphas = self.member.alpha, {}
        learned = {place.name: place.learned for place in places(self.layers)}
        for layer in self.layers:
            if "alpha" in learned.get(layer.name, ()):
                alpha = float(self.parameters[learned[layer.name]["alpha"]])
            if layer.activated:
                alphas[layer.name] = alpha
        return alphas

    def forward(self, parameters: Tensor | None = None, images: Tensor | None = None) -> Outputs:
        """The network's pass over images. Batch normalization takes these images' own statistics, as in training."""
        p, x = self.parameters if parameters is None else parameters, self.images if images is None else images
        by_batch = any(buffer_shapes(self.layers))
        return forward(self.layers, self.member, p, self.member.alpha, x, self.buffers, by_batch=by_batch)

    def loss(
        self, parameters: Tensor | None = None, images: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """The mean data loss over images, without the penalty."""
        logits = self.forward(parameters, images).logits
        return LOSSES[self.member.loss].of(logits, self.labels if labels is None else labels, "mean")


@lru_cache(maxsize=1)  # for all members that are trained together
def _taken(probe: Images, input: str) -> tuple[Tensor, Tensor]:
    images, labels = probe.take(np.arange(min(MOST_IMAGES, len(probe))), input)
    # channels_last, which is how they come, makes convolutions in float64 half as fast
    return images.double().contiguous(), labels


def measured(
    states: Sequence[MemberState], layers: tuple[Layer, ...], dataset: Dataset, threads: int
) -> list[dict[str, float]]:
    """What each member has asked for at its epoch: metric -> value; empty where that is nothing."""
    wanted = [measured_at(s.member, s.epoch) for s in states]
    probe = Images(dataset, "probe", torch.device("cpu"))

    def of(state: MemberState, names: Sequence[str]) -> dict[str, float]:
        subject, values = Subject(state, layers, probe), dict[str, float]()
        for name in names:
            values |= MEASUREMENTS[name].measure(subject)
        return values

    with one_torch_thread(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(of, states, wanted))
