"""What a check says: a claim of the paper, where it holds, and a counter-example where it does not.

Draws and grids are evidence only, so the best that they can say is "everywhere tested"; an explicit counter-example
proves that a claim fails. Where `evidence` begins with "proved", the argument is in docs/theory.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Part = Literal["formulas", "theorem 1", "theorem 2", "properties", "in passing"]
Holds = Literal["everywhere tested", "in a region", "fails"]
Relation = Literal["<=", ">=", "=", ">"]
NOWHERE = "for no t"


@dataclass(frozen=True)
class Network:
    """A toy network at a data point: l = len(theta) neurons, loss (y - g)^2 + r/2 sum theta^2, derivative by theta^k.

    `k` counts from 1, as in the paper. `t` is Theorem 1's constant, None where there is none.
    """

    activation: str
    x: float
    y: float
    theta: tuple[float, ...]
    k: int
    alpha: float = 1.0
    scaling: str = "rescaled"
    r: float = 0.0
    t: float | None = None


@dataclass(frozen=True)
class Argument:
    """A point z of an activation function alone; `v` is the factor in f(v z), where a claim has one."""

    activation: str
    z: float
    alpha: float = 1.0
    v: float = 1.0


@dataclass(frozen=True)
class CounterExample:
    """Numbers for which a claim fails: `says` names the two sides; the claim would have `left relation right`."""

    says: str
    at: Network | Argument
    left: float
    relation: Relation
    right: float


@dataclass(frozen=True)
class Worst:
    """The tightest, or most violating, numbers that were met: the two sides and where."""

    left: float
    right: float
    where: str


@dataclass(frozen=True)
class Claim:
    """One statement of the paper about one activation function, and what became of it.

    `statement` is the paper's, in plain letters. `region` says exactly where it holds, "" where that is everywhere or
    nowhere; `holds` follows from it and from whether there is a counter-example.
    """

    part: Part
    name: str
    activation: str
    statement: str
    region: str
    evidence: str
    worst: Worst | None = None
    counter_example: CounterExample | None = None
    holds: Holds = field(init=False)

    def __post_init__(self) -> None:
        wrong: Holds = "fails" if self.region in ("", NOWHERE) else "in a region"
        object.__setattr__(self, "holds", wrong if self.counter_example else "everywhere tested")


@dataclass(frozen=True)
class Curve:
    """A line of the figure: `panel` is where it is drawn, `y` may be a logarithm to base 10 (the panel says so)."""

    panel: str
    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Theory:
    """All claims, the numbers they rest on, and the curves of the figure.

    `disagreement` is the largest relative difference between our closed forms and autograd in float64; `agrees` says
    whether it is within rounding. Were it not, nothing else here could be trusted.
    """

    claims: tuple[Claim, ...]
    constants: dict[str, float]
    curves: tuple[Curve, ...]
    seed: int
    draws: int
    disagreement: float
    agrees: bool
