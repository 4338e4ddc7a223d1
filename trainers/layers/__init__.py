"""Networks as data: a tuple of layers, their output shapes and where their parameters lie.

A member's parameters are one flat float32 vector, in the order of the layers and, within a layer, of its `parameters`;
every engine and every checkpoint uses that layout. A kind of layer is one file of this folder: a frozen dataclass with
what `Layer` asks for.

    >>> layers = network("combined", classes=10)      # trainers.regimes
    >>> parameter_count(layers)
    1078
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from trainers.layers.convolution import Convolution
from trainers.layers.dense import Dense
from trainers.layers.layer import IMAGE, Layer, Shape
from trainers.layers.pooling import Pooling

__all__ = [
    "IMAGE",
    "Convolution",
    "Dense",
    "Layer",
    "Place",
    "Pooling",
    "Shape",
    "multiply_adds",
    "output_shapes",
    "parameter_count",
    "parameter_shapes",
    "places",
]


class Place(NamedTuple):
    """A layer with parameters in its network: `depth` counts such layers from 1; `where` are its parameters."""

    name: str
    depth: int
    kind: str
    where: slice


def output_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> list[Shape]:
    """The shape (channels, height, width) or (units,) that each layer puts out for one image."""
    shapes = [image]
    for layer in layers:
        shapes.append(layer.output(shapes[-1]))
    return shapes[1:]


def parameter_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> list[tuple[str, tuple[Shape, ...]]]:
    """(layer name, shapes of its tensors) of every layer with parameters."""
    incoming = [image, *output_shapes(layers, image)]
    shapes = [(layer.name, layer.parameters(shape)) for layer, shape in zip(layers, incoming, strict=False)]
    return [(name, tensors) for name, tensors in shapes if tensors]


def places(layers: tuple[Layer, ...], image: Shape = IMAGE) -> tuple[Place, ...]:
    """The layers with parameters, from the input on."""
    kinds = {layer.name: layer.kind for layer in layers}
    placed: list[Place] = []
    for name, shapes in parameter_shapes(layers, image):
        start = placed[-1].where.stop if placed else 0
        where = slice(start, start + sum(map(prod, shapes)))
        placed.append(Place(name, len(placed) + 1, kinds[name], where))
    return tuple(placed)


def parameter_count(layers: tuple[Layer, ...], image: Shape = IMAGE) -> int:
    """The length of the flat parameter vector."""
    return sum(prod(shape) for _, shapes in parameter_shapes(layers, image) for shape in shapes)


def multiply_adds(layers: tuple[Layer, ...]) -> list[int]:
    """How many multiply-adds each layer with parameters takes for one image on the way forward."""
    pixels = {layer.name: prod(shape[1:]) for layer, shape in zip(layers, output_shapes(layers), strict=True)}
    return [
        pixels[name] * sum(prod(shape) for shape in shapes if len(shape) > 1)
        for name, shapes in parameter_shapes(layers)
    ]
