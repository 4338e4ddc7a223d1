"""Recurrent layers: an image is read in steps, and a hidden state goes from each step to the next.

`CELLS` are what happens in a step: the simple network of Elman (1990), Hochreiter and Schmidhuber's LSTM (1997) with
the forget gate of Gers et al. (2000), and Cho et al.'s GRU (2014). F is the member's scaled activation, S the logistic
function of the gates; with tanh, alpha = 1 they are torch.nn.RNN, LSTM and GRU with the second bias at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from trainers.layers.layer import Layer, Shape

if TYPE_CHECKING:
    from torch import Tensor

State = tuple["Tensor", ...]  # h, or (h, c): (images, units) each
Function = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True)
class Cell:
    """One kind of step.

    `gates` matrices are stacked in each of its weights, in PyTorch's order, and its state is that many tensors.
    `step(z, state, recurrent, f, s)` gives the state after a step and the argument of F, of which saturation is
    recorded; z is W x + b, (images, gates units), `recurrent` the weights U, f and s are F and S.
    """

    line: str
    gates: int
    states: int
    step: Callable[[Tensor, State, Tensor, Function, Function], tuple[State, Tensor]]


def _rnn(z: Tensor, state: State, recurrent: Tensor, f: Function, s: Function) -> tuple[State, Tensor]:
    u = z + state[0] @ recurrent.T
    return (f(u),), u


def _lstm(z: Tensor, state: State, recurrent: Tensor, f: Function, s: Function) -> tuple[State, Tensor]:
    h, c = state
    i, forget, g, o = (z + h @ recurrent.T).chunk(4, -1)
    c = s(forget) * c + s(i) * f(g)
    return (s(o) * f(c), c), g


def _gru(z: Tensor, state: State, recurrent: Tensor, f: Function, s: Function) -> tuple[State, Tensor]:
    (h,) = state
    of_r, of_z, of_n = (h @ recurrent.T).chunk(3, -1)
    into_r, into_z, into_n = z.chunk(3, -1)
    n, kept = into_n + s(into_r + of_r) * of_n, s(into_z + of_z)
    return ((1 - kept) * f(n) + kept * h,), n


CELLS: Mapping[str, Cell] = {
    "rnn": Cell("h = F(W x + b + U h)", 1, 1, _rnn),
    "lstm": Cell("i, f, o gates and a cell c = f c + i F(...), h = o F(c)", 4, 2, _lstm),
    "gru": Cell("r, z gates, h = (1 - z) F(W x + b + r (U h)) + z h", 3, 1, _gru),
}


@dataclass(frozen=True)
class Recurrent(Layer):
    """A cell of `CELLS` that reads an image in so many `steps`, from states of 0; the last h is what it puts out.

    Step t has the pixels [t P, (t + 1) P) of each channel, P = pixels / steps, ordered (channel, pixel). Its tensors
    are input weights W (gates units, inputs), recurrent weights U (gates units, units) and a bias (gates units,). The
    logistic function of the gates is scaled as the activation where they are `scaled_gates`. Of (step, unit) pairs each
    is a unit of its own in what is recorded of saturation.
    """

    kind = "recurrent"
    activated = True
    name: str
    cell: str = "rnn"
    units: int = 32
    steps: int = 32
    bias: bool = True
    scaled_gates: bool = False
    learned: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        return f"{self.cell} over {self.steps} steps{' with bias' if self.bias else ''}"

    @property
    def gates(self) -> int:
        return CELLS[self.cell].gates

    def output(self, incoming: Shape) -> Shape:
        if len(incoming) != 3:
            raise ValueError("a recurrent layer needs images, and can't follow a dense layer")
        if (pixels := prod(incoming[1:])) % self.steps:
            raise ValueError(f"steps must divide the {pixels} pixels of an image, but got {self.steps}")
        return (self.units,)

    def parameters(self, incoming: Shape) -> tuple[Shape, ...]:
        rows = self.gates * self.units
        weights = (rows, prod(incoming) // self.steps), (rows, self.units)
        return (*weights, (rows,)) if self.bias else weights

    def sequence(self, x: Tensor) -> Tensor:
        """Images (images, channels, height, width) as (images, steps, inputs)."""
        return x.reshape(*x.shape[:2], self.steps, -1).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, tensors: Iterator[Tensor]) -> Tensor:
        """W x + b at every step, (images, steps, gates units): what `loop` starts from."""
        from torch.nn.functional import linear

        weight, _, *bias = (next(tensors) for _ in range(3 if self.bias else 2))
        return linear(self.sequence(x), weight, *bias)

    def loop(
        self,
        z: Tensor,
        recurrent: Tensor,
        f: Callable[[Tensor, int], Tensor],
        s: Function,
        state: State | None = None,
    ) -> tuple[list[State], list[Tensor]]:
        """The states after each step, and F's arguments at each; z is what `forward` gives, f(argument, step) is F.

        It begins at a `state` where that is given, else at 0.
        """
        cell = CELLS[self.cell]
        state = state or (z.new_zeros(len(z), self.units),) * cell.states
        states, arguments = [], []
        for t, of_step in enumerate(z.unbind(1)):
            state, argument = cell.step(of_step, state, recurrent, lambda u, t=t: f(u, t), s)  # type: ignore[misc]
            states.append(state)
            arguments.append(argument)
        return states, arguments
