"""A member in the middle of its training, and its file.

The file is NumPy's .npz without pickles: it can hold numbers and text, and reading it runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainers.files import replaced
from trainers.initialization import INITIALIZATIONS, RECURRENT
from trainers.layers import Layer, Shape, buffer_shapes, learned_shapes, places
from trainers.members import MemberConfig
from trainers.optimizers import OPTIMIZERS
from trainers.streams import stream

if TYPE_CHECKING:
    from trainers.data.dataset import Dataset

Vector = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MemberState:
    """All that a member's next epoch depends on, besides the data.

    `parameters` and what the optimizer keeps (`Optimizer.state`, in its order) are float32 of shape (parameters,), laid
    out as in `trainers.layers`, as are `buffers`, the running statistics, float32 of shape (buffers,); `epoch` epochs
    and `step` optimizer steps are done. The order of images needs no state: it is drawn anew from the seed and the
    epoch. Without what the optimizer keeps (`kept` is then empty) it can be evaluated, but not `trainable`.
    """

    member: MemberConfig
    epoch: int
    step: int
    parameters: Vector
    kept: tuple[Vector, ...]
    buffers: Vector

    def __post_init__(self) -> None:
        for name in ("epoch", "step"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
                raise ValueError(f"{name} must be a whole number >= 0, but got {value!r}")
        vectors = zip(kept_by(self.member) if self.kept else (), self.kept, strict=True)
        for name, value in (("parameters", self.parameters), *vectors, ("buffers", self.buffers)):
            count = "buffers" if name == "buffers" else "parameters"
            if value.dtype != np.float32 or value.shape != (len(getattr(self, count)),):
                raise ValueError(f"{name} must be float32 of shape ({count},), but got {value.dtype} {value.shape}")

    @property
    def trainable(self) -> bool:
        """Whether training can go on from here: nothing that the optimizer keeps is missing."""
        return len(self.kept) == len(kept_by(self.member))


States = tuple[MemberState, ...]


def kept_by(member: MemberConfig) -> tuple[str, ...]:
    """The names of the vectors that its optimizer keeps of a member."""
    return OPTIMIZERS[member.optimizer].state


def initial_state(member: MemberConfig, layers: tuple[Layer, ...], dataset: Dataset | None = None) -> MemberState:
    """The member before its first step; the data set is needed where the initialization is `calibrated`."""
    initialization, placed = INITIALIZATIONS[str(member.initialization)], places(layers)
    gates = {layer.name: layer.gates for layer in layers}
    shapes = [shape for place in placed for whole in place.tensors for shape in _by_gate(whole, gates[place.name])]
    how = [member.depthwise_fans] if initialization.by_fans else []
    drawn = initialization.draw(stream(member.seed, "initial values"), shapes, *how)
    scaled, start = drawn * float(member.init_scale or 1.0), 0
    learned = {layer.name: shapes for layer, shapes in zip(layers, learned_shapes(layers), strict=True)}
    biases = stream(member.seed, "biases")
    values: list[NDArray[np.float64]] = []
    for place in placed:
        for i, shape in enumerate(place.tensors):
            own = scaled[start : start + prod(shape)]
            start += prod(shape)
            if len(shape) == 1 and member.bias_scale is not None:
                own = biases.standard_normal(prod(shape)) * member.bias_scale
            if place.kind == "recurrent":
                own = _recurrent(member, i, own, _by_gate(shape, gates[place.name]))
            values.append(own)
        for name, (shape, value) in learned[place.name].items():
            values.append(np.full(prod(shape), getattr(member, name) if value is None else value))
    parameters = np.concatenate(values).astype(np.float32)
    buffers = [np.full(prod(s), v) for kept in buffer_shapes(layers) for s, v in kept.values()]
    state = MemberState(
        member,
        0,
        0,
        parameters,
        (_zeros(len(parameters)),) * len(kept_by(member)),
        np.concatenate([*buffers, np.zeros(0)]).astype(np.float32),
    )
    if initialization.calibrated:
        if dataset is None:
            raise ValueError(f"the initialization {member.initialization} needs the data set")
        from trainers.reference import calibrated

        state = calibrated(state, layers, dataset)
    return state


def _by_gate(shape: Shape, gates: int) -> list[Shape]:
    return [(shape[0] // gates, *shape[1:])] * gates


def _recurrent(
    member: MemberConfig, tensor: int, drawn: NDArray[np.float64], shapes: Sequence[Shape]
) -> NDArray[np.float64]:
    """The initial values of a recurrent layer's tensor, those between steps and the bias in ways of their own."""
    draw = RECURRENT[member.recurrent_initialization].draw
    if tensor == 1 and draw:
        factor = 1.0 if INITIALIZATIONS[str(member.initialization)].needs_scale else float(member.init_scale or 1.0)
        drawn = factor * draw(stream(member.seed, "recurrent weights"), shapes)
    if tensor == 2 and member.forget_bias is not None:
        drawn = drawn + np.repeat([0.0, member.forget_bias, 0.0, 0.0], shapes[0][0])
    return drawn


@cache
def _zeros(count: int) -> Vector:
    """What an optimizer keeps before the first step, the same for all members: many of them take no more memory."""
    zeros = np.zeros(count, dtype=np.float32)
    zeros.flags.writeable = False
    return zeros


def save_states(states: Sequence[MemberState], path: Path) -> None:
    """Write the states of members that share a network and an optimizer to `path`, whole or not at all.

    Either all of them have what the optimizer keeps, or none.
    """
    about = json.dumps([{"member": asdict(s.member), "epoch": s.epoch, "step": s.step} for s in states])
    vectors = zip(*((s.parameters, s.buffers, *s.kept) for s in states), strict=True)
    names = ("parameters", "buffers", *(kept_by(states[0].member) if states[0].kept else ()))
    arrays: dict[str, Any] = dict(zip(names, map(np.stack, vectors), strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, about=np.array(about), **arrays)


def load_states(path: Path) -> States:
    """The states in `path`. Raises ValueError where the file is torn or is not one of ours."""
    try:
        # opened here, since np.load leaves a torn file open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if any(part.file_size > part.compress_size for part in file.zip.infolist()):
                raise ValueError("it is compressed, so that it may be larger than it looks")
            about = json.loads(str(file["about"]))
            members = [MemberConfig(**a["member"]) for a in about]
            names = ["parameters", "buffers"]
            if len(file.files) > len(names) + 1:  # else it has the weights alone
                names += kept_by(members[0])
            parameters, buffers, *kept = (file[name] for name in names)
        rows = zip(about, members, parameters, buffers, *kept, strict=True)
        return tuple(MemberState(m, a["epoch"], a["step"], p, tuple(k), b) for a, m, p, b, *k in rows)
    except FileNotFoundError:
        raise
    except Exception as error:  # NumPy, zipfile and json raise almost anything for what is not ours
        raise ValueError(f"{path}: not a file of member states, or a torn one ({error})") from error
