"""What may stand between a layer and its activation, as one table: batch and layer normalization, dynamic tanh.

Each has learned parameters per channel or unit: its values are multiplied by a `scale`, which starts at 1, and a
`shift`, which starts at 0, is added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers import plugins
from trainers.layers.layer import Shape

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-5  # added to a variance
MOMENTUM = 0.1  # the part of a running statistic that a batch replaces
DYNAMIC_ALPHA = 0.5  # where dynamic tanh's starts

Tensors = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Normalization:
    """One normalization.

    `parameters(shape)` says what it learns where each image has that shape: a shape and an initial value by name;
    `buffers(shape)` what running statistics it keeps, likewise. `forward(x, parameters, buffers)` maps x, (images,
    channels, height, width) or (images, units), to its shape; buffers are None in training. It returns as well those
    of the batch, of which `MOMENTUM` is mixed into the running ones.
    """

    line: str
    parameters: Callable[[Shape], dict[str, tuple[Shape, float]]]
    forward: Callable[[Tensor, Tensors, Tensors | None], tuple[Tensor, Tensors]]
    buffers: Callable[[Shape], dict[str, tuple[Shape, float]]] = lambda shape: {}


def _scale_and_shift(shape: Shape) -> dict[str, tuple[Shape, float]]:
    return {"scale": (shape[:1], 1.0), "shift": (shape[:1], 0.0)}


def _by_channel(values: Tensor, x: Tensor) -> Tensor:
    """(channels,) so that it meets x's second axis."""
    return values.view(-1, *(1,) * (x.dim() - 2))


def _affine(x: Tensor, parameters: Tensors) -> Tensor:
    return x * _by_channel(parameters["scale"], x) + _by_channel(parameters["shift"], x)


def _batch(x: Tensor, parameters: Tensors, buffers: Tensors | None) -> tuple[Tensor, Tensors]:
    """By the mean and the biased variance of a batch's channel or unit; the running variance is of the unbiased one."""
    if buffers is not None:
        mean, variance, kept = buffers["mean"], buffers["variance"], buffers
    else:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        mean = x.mean(axes)
        variance = (x - _by_channel(mean, x)).square().mean(axes)
        count = x.numel() // x.shape[1]
        kept = {"mean": mean.detach(), "variance": variance.detach() * (count / max(1, count - 1))}
    normalized = (x - _by_channel(mean, x)) * _by_channel((variance + EPSILON).rsqrt(), x)
    return _affine(normalized, parameters), kept


def _layer(x: Tensor, parameters: Tensors, _: Tensors | None) -> tuple[Tensor, Tensors]:
    """By the mean and the biased variance of all channels and pixels, or units, of an image."""
    axes = list(range(1, x.dim()))
    centered = x - x.mean(axes, keepdim=True)
    return _affine(centered * (centered.square().mean(axes, keepdim=True) + EPSILON).rsqrt(), parameters), {}


def _dynamic_tanh(x: Tensor, parameters: Tensors, _: Tensors | None) -> tuple[Tensor, Tensors]:
    """tanh(alpha x): Zhu et al. 2025."""
    return _affine((parameters["dynamic_alpha"] * x).tanh(), parameters), {}


NORMALIZATIONS: Mapping[str, Normalization] = {
    "batch": Normalization(
        "Ioffe and Szegedy 2015; running statistics in evaluation",
        _scale_and_shift,
        _batch,
        lambda shape: {"mean": (shape[:1], 0.0), "variance": (shape[:1], 1.0)},
    ),
    "layer": Normalization("Ba et al. 2016, over all channels and pixels of an image", _scale_and_shift, _layer),
    "dynamic_tanh": Normalization(
        "Zhu et al. 2025: scale tanh(a x) + shift, a learned",
        lambda shape: {"dynamic_alpha": ((), DYNAMIC_ALPHA)} | _scale_and_shift(shape),
        _dynamic_tanh,
    ),
}
NORMALIZATIONS = plugins.extended(NORMALIZATIONS, "gradsweep.layers", Normalization, taken=["none"])
