"""The regimes as one table: presets of a network's fields; first the paper's three settings (its Tables 1 to 3).

The tables count differently: Table 1 counts parameters (a convolution's 36 is a separable one without bias,
depthwise 27 + pointwise 9; the dense 392 = 48*8 + 8 and 90 = 8*10 + 10 are with bias), Tables 2 and 3 count
filters for convolutions and pooling (3) and parameters for dense layers (384, 64, 80: without bias). So Table 1
is read as separable convolutions and dense layers with bias, Tables 2 and 3 as plain 3x3 convolutions (81
parameters) and dense layers, all without bias. Both readings can be switched: `convolution` and
`dense_bias` of a member. `docs/readings.md` has these and what else the paper leaves open.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

from trainers.layers import IMAGE, Convolution, Dense, Layer, Pooling, Recurrent, output_shapes


@dataclass(frozen=True)
class Regime:
    """A named network and its initial values: what a member leaves open is taken from here.

    `blocks` groups of `convolutions`, each of so many `channels` and each group ended by a pooling; or, where `cell` is
    one, a recurrent layer that reads the image in so many `steps`; then `dense` hidden dense layers. These and the
    recurrent one have so many `units`. `further` layers come after them, before the output. `measure` is what is
    recorded besides (`trainers.measurements`). `table` is the number of the paper's table, `paper_counts` its last
    column, one number per layer, and `paper_counts_what` what that number counts for the convolutions.
    """

    line: str
    blocks: int
    convolutions: int
    dense: int
    channels: int = 3
    units: int = 8
    normalization: str = "none"
    residual: bool = False
    convolution: str = "plain"
    dense_bias: bool = False
    cell: str = "none"
    steps: int = 32
    scaled_gates: bool = False
    initialization: str = "glorot_uniform"
    init_scale: float = 1.0
    measure: tuple[str, ...] = ()
    further: tuple[Layer, ...] = ()
    table: int | None = None
    paper_counts: tuple[int, ...] = ()
    paper_counts_what: str = "parameters"


# The fields that decide the layers; a member has them too.
NETWORK: tuple[str, ...] = ("blocks", "convolutions", "channels", "dense", "units")
NETWORK += ("normalization", "residual", "convolution", "dense_bias")
NETWORK += ("cell", "steps", "scaled_gates")

REGIMES: dict[str, Regime] = {
    "large-parameters": Regime(
        line="the paper's Table 1",
        blocks=3,
        convolutions=2,
        dense=1,
        convolution="separable",
        dense_bias=True,
        initialization="uniform",
        init_scale=10.0,
        table=1,
        paper_counts=(36, 36, 0) * 3 + (392, 90),
    ),
    "many-layers": Regime(
        line="the paper's Table 2",
        blocks=3,
        convolutions=3,
        dense=4,
        initialization="normal",
        init_scale=0.05,
        table=2,
        paper_counts=(3, 3, 3, 3) * 3 + (384, 64, 64, 64, 80),
        paper_counts_what="filters",
    ),
    "combined": Regime(
        line="the paper's Table 3",
        blocks=3,
        convolutions=2,
        dense=3,
        initialization="uniform",
        init_scale=10.0,
        table=3,
        paper_counts=(3, 3, 3) * 3 + (384, 64, 64, 80),
        paper_counts_what="filters",
    ),
    "mlp": Regime(line="hidden dense layers alone", blocks=0, convolutions=1, dense=2, units=64, dense_bias=True),
    "deep": Regime(line="many hidden dense layers", blocks=0, convolutions=1, dense=20, units=32, dense_bias=True),
    "resnet": Regime(
        line="residual convolutions with batch normalization",
        blocks=3,
        convolutions=3,
        dense=0,
        channels=16,
        normalization="batch",
        residual=True,
        dense_bias=True,
        initialization="he_normal",
    ),
    "recurrent": Regime(
        line="one recurrent layer, which reads an image row by row",
        blocks=0,
        convolutions=1,
        dense=0,
        units=32,
        dense_bias=True,
        cell="rnn",
        measure=("hidden", "lyapunov"),
    ),
}


@functools.cache
def network(
    regime: str, classes: int = 10, *, learn_alpha: str = "none", learn_slope: bool = False, **fields: object
) -> tuple[Layer, ...]:
    """The layers of a regime, of whose own values `fields` (of NETWORK) switch some; None keeps the regime's.

    An alpha that the whole `network` learns is the first layer's, and holds for those after it. A layer is residual
    where its shape allows it. Raises ValueError, with the layer's name, for what can't be built.
    """
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    own = replace(REGIMES[regime], **given)
    layers: list[Convolution | Pooling | Dense | Recurrent] = []
    if own.cell != "none":
        if own.blocks:
            raise ValueError(f"blocks must be 0 where cell is {own.cell!r}, but got {own.blocks}")
        if own.normalization != "none":
            raise ValueError(f"normalization must be none where cell is {own.cell!r}, but got {own.normalization!r}")
        layers.append(Recurrent("recurrent", own.cell, own.units, own.steps, own.dense_bias, own.scaled_gates))
    for block in range(own.blocks):
        first = block * own.convolutions + 1
        numbers = range(first, first + own.convolutions)
        layers += [
            Convolution(f"conv{i}", own.channels, own.convolution == "separable", normalization=own.normalization)
            for i in numbers
        ]
        layers.append(Pooling(f"pool{block + 1}"))
    layers += [
        Dense(f"dense{i + 1}", own.units, own.dense_bias, normalization=own.normalization) for i in range(own.dense)
    ]
    shapes = [IMAGE, *output_shapes(tuple(layers))]
    for i, layer in enumerate(layers):
        if not isinstance(layer, Pooling):
            alpha = learn_alpha == "layer" or (learn_alpha == "network" and i == 0)
            learned = ("alpha",) * alpha + ("slope",) * learn_slope
            if isinstance(layer, Recurrent):
                layers[i] = replace(layer, learned=learned)
            else:
                layers[i] = replace(layer, residual=own.residual and shapes[i] == shapes[i + 1], learned=learned)
    return (*layers, *own.further, Dense("output", classes, own.dense_bias, activated=False))
