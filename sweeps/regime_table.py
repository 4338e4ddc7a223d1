"""The networks layer by layer, with our parameter counts beside the paper's."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from trainers.layers import Dense, output_shapes, parameter_shapes
from trainers.regimes import REGIMES, network


@dataclass(frozen=True)
class Row:
    """One layer; `paper` is the paper's number and `paper_counts` what it is of, parameters or filters.

    Both are None for a network that is not the paper's.
    """

    layer: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    paper: int | None
    paper_counts: str | None


def rows(name: str) -> list[Row]:
    """The layers of a regime, from the input on."""
    regime = REGIMES[name]
    layers = network(name)
    papers = regime.paper_counts or [None] * len(layers)
    own = {layer: sum(map(prod, shapes)) for layer, shapes in parameter_shapes(layers)}
    return [
        Row(
            layer=layer.name,
            kind=layer.description,
            output=shape,
            parameters=own.get(layer.name, 0),
            paper=paper,
            paper_counts=None
            if paper is None
            else "parameters"
            if isinstance(layer, Dense)
            else regime.paper_counts_what,
        )
        for layer, shape, paper in zip(layers, output_shapes(layers), papers, strict=True)
    ]
