"""The networks that a member can be, as one table; first the paper's three settings (its Tables 1 to 3).

The tables count differently: Table 1 counts parameters (a convolution's 36 is a separable one without bias,
depthwise 27 + pointwise 9; the dense 392 = 48*8 + 8 and 90 = 8*10 + 10 are with bias), Tables 2 and 3 count
filters for convolutions and pooling (3) and parameters for dense layers (384, 64, 80: without bias). So Table 1
is read as separable convolutions and dense layers with bias, Tables 2 and 3 as plain 3x3 convolutions (81
parameters) and dense layers, all without bias. Both readings can be switched: `convolution` and
`dense_bias` of a member.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainers.layers import Convolution, Dense, Layer, Pooling


@dataclass(frozen=True)
class Regime:
    """A named network and its initial values.

    `blocks` and `convolutions` say how many groups of how many convolutions, each group ended by a pooling; `dense`
    how many hidden dense layers of 8 units; `further` layers come after them, before the output. What a member leaves
    open is taken from `convolution`, `dense_bias`, `initialization` and `init_scale`. `table` is the number of the
    paper's table, `paper_counts` its last column, one number per layer, and `paper_counts_what` what that number
    counts for the convolutions.
    """

    line: str
    blocks: int
    convolutions: int
    dense: int
    convolution: str = "plain"
    dense_bias: bool = False
    initialization: str = "glorot_uniform"
    init_scale: float = 1.0
    further: tuple[Layer, ...] = ()
    table: int | None = None
    paper_counts: tuple[int, ...] = ()
    paper_counts_what: str = "parameters"


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
}


def network(
    regime: str, classes: int = 10, separable: bool | None = None, dense_bias: bool | None = None
) -> tuple[Layer, ...]:
    """The layers of a regime; `separable` and `dense_bias` switch its reading, None keeps the regime's own."""
    own = REGIMES[regime]
    separable = own.convolution == "separable" if separable is None else separable
    bias = own.dense_bias if dense_bias is None else dense_bias
    layers: list[Layer] = []
    for block in range(own.blocks):
        first = block * own.convolutions + 1
        layers += [Convolution(f"conv{first + i}", 3, separable) for i in range(own.convolutions)]
        layers.append(Pooling(f"pool{block + 1}"))
    layers += [Dense(f"dense{i + 1}", 8, bias) for i in range(own.dense)]
    return (*layers, *own.further, Dense("output", classes, bias, activated=False))
