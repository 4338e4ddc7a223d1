"""Networks as data: a tuple of layers, their output shapes and where their parameters lie.

A member's parameters are one flat float32 vector, in the order of the layers and, within a layer, of its `parameters`;
every engine and every checkpoint uses that layout. A kind of layer is one file of this folder: a frozen dataclass with
what `Layer` asks for.

    >>> layers = network("combined", classes=10)      # trainers.regimes
    >>> parameter_count(layers)
    1078
"""

from __future__ import annotations

import functools
from math import prod
from typing import NamedTuple

from trainers.layers.convolution import Convolution as Convolution
from trainers.layers.dense import Dense as Dense
from trainers.layers.layer import IMAGE as IMAGE
from trainers.layers.layer import Layer as Layer
from trainers.layers.layer import Shape as Shape
from trainers.layers.pooling import Pooling as Pooling


class Place(NamedTuple):
    """A layer with parameters in its network: `depth` counts such layers from 1; `where` are its parameters.

    `tensors` are their shapes, `output` is that of what it puts out, and `units` how many of that are activated.
    """

    name: str
    depth: int
    kind: str
    where: slice
    tensors: tuple[Shape, ...]
    output: Shape
    units: int


def output_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> list[Shape]:
    """The shape (channels, height, width) or (units,) that each layer puts out for one image."""
    shapes = [image]
    for layer in layers:
        shapes.append(layer.output(shapes[-1]))
    return shapes[1:]


def places(layers: tuple[Layer, ...], image: Shape = IMAGE) -> tuple[Place, ...]:
    """The layers with parameters, from the input on."""
    placed: list[Place] = []
    incoming, start = image, 0
    for layer in layers:
        output = layer.output(incoming)
        if tensors := layer.parameters(incoming):
            where = slice(start, start + sum(map(prod, tensors)))
            units = prod(output) if layer.activated else 0
            placed.append(Place(layer.name, len(placed) + 1, layer.kind, where, tensors, output, units))
            start = where.stop
        incoming = output
    return tuple(placed)


@functools.cache
def tensor_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> tuple[Shape, ...]:
    """The shapes of all parameters, in their order."""
    return tuple(shape for place in places(layers, image) for shape in place.tensors)


def parameter_count(layers: tuple[Layer, ...], image: Shape = IMAGE) -> int:
    """The length of the flat parameter vector."""
    return sum(map(prod, tensor_shapes(layers, image)))


def multiply_adds(layers: tuple[Layer, ...]) -> list[int]:
    """How many multiply-adds each layer with parameters takes for one image on the way forward."""
    weights = ((place, sum(prod(shape) for shape in place.tensors if len(shape) > 1)) for place in places(layers))
    return [prod(place.output[1:]) * count for place, count in weights]
