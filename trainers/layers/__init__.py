"""Networks as data: a tuple of layers, their output shapes and where their parameters lie.

A member's parameters are one flat float32 vector, in the order of the layers and, within a layer, of its `parameters`,
then of what its normalization and its activation learn (`learned_shapes`); every engine and every checkpoint uses that
layout. Running statistics are a flat vector of their own, likewise. A kind of layer is one file of this folder: a
frozen dataclass with what `Layer` asks for.

    >>> layers = network("combined", classes=10)      # trainers.regimes
    >>> parameter_count(layers)
    1078
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from math import prod
from typing import NamedTuple

from trainers.layers.convolution import Convolution as Convolution
from trainers.layers.dense import Dense as Dense
from trainers.layers.layer import IMAGE as IMAGE
from trainers.layers.layer import Layer as Layer
from trainers.layers.layer import Shape as Shape
from trainers.layers.normalization import NORMALIZATIONS as NORMALIZATIONS
from trainers.layers.pooling import Pooling as Pooling
from trainers.layers.recurrent import CELLS as CELLS
from trainers.layers.recurrent import Recurrent as Recurrent


class Place(NamedTuple):
    """A layer with parameters in its network: `depth` counts such layers from 1; `where` are its weights and biases.

    `tensors` are their shapes, `learned` the slices of what its normalization and activation learn, by name; `output`
    is the shape of what it puts out, and `units` how many of that are activated, counted at each step.
    """

    name: str
    depth: int
    kind: str
    where: slice
    tensors: tuple[Shape, ...]
    output: Shape
    units: int
    learned: Mapping[str, slice]


def output_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> list[Shape]:
    """The shape (channels, height, width) or (units,) that each layer puts out for one image.

    Raises ValueError, with the layer's name, for what can't be built.
    """
    shapes = [image]
    for layer in layers:
        try:
            shapes.append(layer.output(shapes[-1]))
        except ValueError as error:
            raise ValueError(f"layer {layer.name}: {error}") from None
        if layer.residual and shapes[-1] != shapes[-2]:
            raise ValueError(f"layer {layer.name}: its input of {shapes[-2]} can't be added to {shapes[-1]}")
    return shapes[1:]


@functools.cache
def learned_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> list[dict[str, tuple[Shape, float | None]]]:
    """What each layer's normalization and activation learn, by name: a shape, and where it starts.

    None where the member says that: at its `alpha`, or its `slope`.
    """
    shapes: list[dict[str, tuple[Shape, float | None]]] = []
    for layer, output in zip(layers, output_shapes(layers, image), strict=True):
        normalization = NORMALIZATIONS.get(layer.normalization)
        of_layer: dict[str, tuple[Shape, float | None]] = {}
        if normalization:
            of_layer |= normalization.parameters(output)
        shapes.append(of_layer | {name: ((), None) for name in layer.learned})
    return shapes


@functools.cache
def buffer_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> list[dict[str, tuple[Shape, float]]]:
    """The running statistics that each layer keeps, by name: a shape, and where it starts."""
    outputs = zip(layers, output_shapes(layers, image), strict=True)
    known = [(NORMALIZATIONS.get(layer.normalization), output) for layer, output in outputs]
    return [normalization.buffers(output) if normalization else {} for normalization, output in known]


@functools.cache
def places(layers: tuple[Layer, ...], image: Shape = IMAGE) -> tuple[Place, ...]:
    """The layers with parameters, from the input on."""
    placed: list[Place] = []
    incoming, start = image, 0
    for layer, output, shapes in zip(layers, output_shapes(layers, image), learned_shapes(layers, image), strict=True):
        tensors = layer.parameters(incoming)
        if tensors or shapes:
            where, learned = slice(start, start + sum(map(prod, tensors))), {}
            start = where.stop
            for name, (shape, _) in shapes.items():
                learned[name] = slice(start, start + prod(shape))
                start += prod(shape)
            units = layer.steps * prod(output) if layer.activated else 0
            placed.append(Place(layer.name, len(placed) + 1, layer.kind, where, tensors, output, units, learned))
        incoming = output
    return tuple(placed)


@functools.cache
def tensor_shapes(layers: tuple[Layer, ...], image: Shape = IMAGE) -> tuple[Shape, ...]:
    """The shapes of all parameters, in their order."""
    shapes: list[Shape] = []
    incoming = image
    for layer, output, learned in zip(layers, output_shapes(layers, image), learned_shapes(layers, image), strict=True):
        shapes += (*layer.parameters(incoming), *(shape for shape, _ in learned.values()))
        incoming = output
    return tuple(shapes)


def parameter_count(layers: tuple[Layer, ...], image: Shape = IMAGE) -> int:
    """The length of the flat parameter vector."""
    return sum(map(prod, tensor_shapes(layers, image)))


def multiply_adds(layers: tuple[Layer, ...]) -> list[int]:
    """How many multiply-adds each layer with parameters takes for one image on the way forward."""
    steps = {layer.name: layer.steps for layer in layers}
    weights = ((place, sum(prod(shape) for shape in place.tensors if len(shape) > 1)) for place in places(layers))
    return [steps[place.name] * prod(place.output[1:]) * count for place, count in weights]
