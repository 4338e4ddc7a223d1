"""The networks layer by layer, with our parameter counts beside the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from trainers.layers import Convolution, Dense, Layer, Pooling, output_shapes, parameter_shapes
from trainers.regimes import REGIMES, network


@dataclass(frozen=True)
class Row:
    """One layer; `paper_counts` says what the paper's number is of: parameters, or filters."""

    layer: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    paper: int
    paper_counts: str


def rows(name: str) -> list[Row]:
    """The layers of a regime in the order of the paper's table."""
    regime = REGIMES[name]
    layers = network(name)
    own = {layer: sum(map(prod, shapes)) for layer, shapes in parameter_shapes(layers)}
    return [
        Row(
            layer=layer.name,
            kind=_kind(layer),
            output=shape,
            parameters=own.get(layer.name, 0),
            paper=paper,
            paper_counts="parameters" if isinstance(layer, Dense) else regime.paper_counts_what,
        )
        for layer, shape, paper in zip(layers, output_shapes(layers), regime.paper_counts, strict=True)
    ]


def _kind(layer: Layer) -> str:
    if isinstance(layer, Convolution):
        return "separable 3x3 convolution" if layer.separable else "3x3 convolution"
    if isinstance(layer, Pooling):
        return "2x2 max pooling"
    return "dense with bias" if layer.bias else "dense"
