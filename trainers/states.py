"""A member in the middle of its training, and its file.

The file is NumPy's .npz without pickles: it can hold numbers and text, and reading it runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.files import replaced
from trainers.initialization import INITIALIZATIONS
from trainers.layers import Layer, tensor_shapes
from trainers.members import MemberConfig
from trainers.optimizers import OPTIMIZER, OPTIMIZERS
from trainers.streams import stream

Vector = NDArray[np.float32]
KEPT = OPTIMIZERS[OPTIMIZER].state


@dataclass(frozen=True, eq=False)
class MemberState:
    """All that a member's next epoch depends on, besides the data.

    `parameters` and what the optimizer keeps (`Optimizer.state`, in its order) are float32 of shape (parameters,), laid
    out as in `trainers.layers`; `epoch` epochs and `step` optimizer steps are done. The order of images needs no
    state: it is drawn anew from the seed and the epoch.
    """

    member: MemberConfig
    epoch: int
    step: int
    parameters: Vector
    kept: tuple[Vector, ...]

    def __post_init__(self) -> None:
        for name in ("epoch", "step"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
                raise ValueError(f"{name} must be a whole number >= 0, but got {value!r}")
        for name, value in zip(("parameters", *KEPT), (self.parameters, *self.kept), strict=True):
            if value.dtype != np.float32 or value.shape != (len(self.parameters),):
                raise ValueError(f"{name} must be float32 of shape (parameters,), but got {value.dtype} {value.shape}")


States = tuple[MemberState, ...]


def initial_state(member: MemberConfig, layers: tuple[Layer, ...]) -> MemberState:
    """The member before its first step."""
    draws = INITIALIZATIONS[str(member.initialization)].draw(
        stream(member.seed, "initial values"), tensor_shapes(layers)
    )
    parameters = np.asarray(draws * float(member.init_scale or 1.0), dtype=np.float32)
    return MemberState(member, 0, 0, parameters, tuple(np.zeros_like(parameters) for _ in KEPT))


def save_states(states: Sequence[MemberState], path: Path) -> None:
    """Write the states of members that share a network to `path`, whole or not at all."""
    about = json.dumps([{"member": asdict(s.member), "epoch": s.epoch, "step": s.step} for s in states])
    vectors = zip(*((s.parameters, *s.kept) for s in states), strict=True)
    arrays: dict[str, Any] = dict(zip(("parameters", *KEPT), map(np.stack, vectors), strict=True))
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
            parameters, *kept = (file[name] for name in ("parameters", *KEPT))
        return tuple(
            MemberState(MemberConfig(**a["member"]), a["epoch"], a["step"], p, tuple(rows))
            for a, p, *rows in zip(about, parameters, *kept, strict=True)
        )
    except FileNotFoundError:
        raise
    except Exception as error:  # NumPy, zipfile and json raise almost anything for what is not ours
        raise ValueError(f"{path}: not a file of member states, or a torn one ({error})") from error
