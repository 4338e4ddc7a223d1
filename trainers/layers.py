"""Networks as data: a tuple of layers, their output shapes and where their parameters lie.

A member's parameters are one flat float32 vector, in the order of the layers and, within a layer, of
`parameter_shapes`; every engine and every checkpoint uses that layout.

    >>> layers = network("combined", classes=10)      # trainers.regimes
    >>> parameter_count(layers)
    1078
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

Shape = tuple[int, ...]
IMAGE: Shape = (3, 32, 32)


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution with padding that keeps the size, followed by the activation.

    `separable` splits it into a depthwise 3x3 and a pointwise 1x1 convolution with nothing in between.
    """

    name: str
    channels: int = 3
    separable: bool = False
    bias: bool = False


@dataclass(frozen=True)
class Pooling:
    """2x2 max pooling with stride 2; the paper's "linear" activation, so nothing follows it."""

    name: str


@dataclass(frozen=True)
class Dense:
    """A fully connected layer; `activated` is false for the output, whose softmax is in the loss."""

    name: str
    units: int
    bias: bool = False
    activated: bool = True


Layer = Convolution | Pooling | Dense


def output_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> list[Shape]:
    """The shape (channels, height, width) or (units,) that each layer puts out for one image."""
    shapes: list[Shape] = []
    shape = image
    for layer in layers:
        if isinstance(layer, Convolution):
            shape = (layer.channels, *shape[1:])
        elif isinstance(layer, Pooling):
            shape = (shape[0], shape[1] // 2, shape[2] // 2)
        else:
            shape = (layer.units,)
        shapes.append(shape)
    return shapes


def parameter_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> list[tuple[str, tuple[Shape, ...]]]:
    """(layer name, shapes of its tensors) of every layer with parameters.

    Convolution: weight (out, in, 3, 3), or depthwise (in, 1, 3, 3) then pointwise (out, in, 1, 1);
    dense: weight (out, in), its input flattened as (channel, row, column); the bias (out,) comes last.
    """
    found = []
    incoming = image
    for layer, outgoing in zip(layers, output_shapes(layers, image), strict=True):
        if isinstance(layer, Convolution):
            i, o = incoming[0], layer.channels
            weights: tuple[Shape, ...] = ((i, 1, 3, 3), (o, i, 1, 1)) if layer.separable else ((o, i, 3, 3),)
            found.append((layer.name, weights + (((o,),) if layer.bias else ())))
        elif isinstance(layer, Dense):
            weight = (layer.units, prod(incoming))
            found.append((layer.name, (weight, (layer.units,)) if layer.bias else (weight,)))
        incoming = outgoing
    return found


def parameter_slices(layers: tuple[Layer, ...], image: Shape = IMAGE) -> dict[str, slice]:
    """Where each layer's parameters lie in the flat vector."""
    slices, start = {}, 0
    for name, shapes in parameter_shapes(layers, image):
        stop = start + sum(prod(shape) for shape in shapes)
        slices[name] = slice(start, stop)
        start = stop
    return slices


def parameter_count(layers: tuple[Layer, ...], image: Shape = IMAGE) -> int:
    """The length of the flat parameter vector."""
    return sum(prod(shape) for _, shapes in parameter_shapes(layers, image) for shape in shapes)
