"""What is recorded of gradients and layers, written out once for every engine.

All functions take an array of members, (members, coordinates), and work in float64: NumPy's arrays, or PyTorch's
tensors where an engine has them on a device (`trainers.cuda.statistics`). `Arithmetic` is what differs between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainers.layers import Layer, parameter_slices
from trainers.metrics import GRADIENT_STATISTICS, VANISHED_BELOW
from trainers.penalties import penalty_gradient
from trainers.states import MemberState

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
A = TypeVar("A", Array, "Tensor")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Probe:
    """What an engine measures on the probe images at a member's parameters.

    `gradient` is that of the mean data loss, float32 of shape (parameters,). `saturated` and `dead` have one number a
    layer with parameters: the fraction of its (unit, image) pairs with |f'| < 0.01 sup |f'| at the inner argument,
    and the fraction of its units for which that holds for every image; 0 for the output, which has no activation.
    """

    gradient: NDArray[np.float32]
    saturated: Array
    dead: Array


@dataclass(frozen=True)
class Arithmetic(Generic[A]):
    """A library of arrays, and its means, Euclidean norms and QUANTILES over the last axis.

    (..., coordinates) -> (...); the quantiles are (QUANTILES, ...).
    """

    library: Any
    mean: Callable[[A], A]
    norm: Callable[[A], A]
    quantiles: Callable[[A], A]


NUMPY: Arithmetic[Array] = Arithmetic(
    np,
    mean=lambda x: np.mean(x, axis=-1),
    norm=lambda x: np.linalg.norm(x, axis=-1),
    quantiles=lambda x: np.quantile(x, QUANTILES, axis=-1),
)


class Columns(NamedTuple, Generic[A]):
    """What is known of members before they are probed: parameters now and an epoch ago, and the penalty's kind and r.

    The first two are (members, parameters), the others (members, 1).
    """

    parameters: A
    earlier: A
    l1: A
    r: A


def columns(states: Sequence[MemberState], before: Sequence[MemberState]) -> Columns[Array]:
    """The columns of an array of members; `l1` is of booleans."""
    return Columns(
        np.stack([s.parameters for s in states]).astype(np.float64),
        np.stack([s.parameters for s in before]).astype(np.float64),
        np.array([[s.member.penalty == "l1"] for s in states]),
        np.array([[s.member.r] for s in states]),
    )


def gradient_statistics(gradients: A, by: Arithmetic[A]) -> dict[str, A]:
    """The statistics of `trainers.metrics` over coordinate values; (..., coordinates) -> (...) each."""
    size = abs(gradients)
    mean_abs, mean_square, vanished = by.mean(by.library.stack((size, gradients * gradients, size < VANISHED_BELOW)))
    largest = by.library.amax(size, -1)
    values = (mean_abs, by.library.sqrt(mean_square), largest, *by.quantiles(gradients), vanished)
    return dict(zip(GRADIENT_STATISTICS, values, strict=True))


def statistics(
    layers: tuple[Layer, ...], of: Columns[A], gradient: A, saturated: A, dead: A, by: Arithmetic[A]
) -> dict[str, A]:
    """Everything of `trainers.metrics.names` that comes from the probe, (members,) each.

    `gradient` is the data's, (members, parameters), `saturated` and `dead` are (members, layers with parameters).
    `update_to_weight` compares a layer's change over the epoch with its norm before it (0 where nothing changed, as at
    epoch 0).
    """
    penalized = gradient + penalty_gradient(of.l1, of.parameters, of.r, by.library)
    gradients = by.library.stack((gradient, penalized))
    slices = parameter_slices(layers)
    places = {"": slice(None)} | {f"layer.{layer}.": where for layer, where in slices.items()}
    found: dict[str, A] = {}
    for prefix, where in places.items():
        for name, (data, total) in gradient_statistics(gradients[:, :, where], by).items():
            found |= {f"{prefix}gradient.data.{name}": data, f"{prefix}gradient.total.{name}": total}
    for i, (layer, where) in enumerate(slices.items()):
        now, earlier = of.parameters[:, where], of.earlier[:, where]
        norm, norm_before, change = by.norm(by.library.stack((now, earlier, now - earlier)))
        found[f"layer.{layer}.saturated"] = saturated[:, i]
        found[f"layer.{layer}.dead"] = dead[:, i]
        found[f"layer.{layer}.weight_norm"] = norm
        found[f"layer.{layer}.update_to_weight"] = by.library.where(change == 0, change, change / norm_before)
    first, last = (found[f"layer.{layer}.gradient.data.rms"] for layer in (list(slices)[0], list(slices)[-1]))
    found["gradient.first_to_last"] = first / last
    return found


def by_member(found: Mapping[str, Array]) -> list[dict[str, float]]:
    """Statistics of all members as each member's."""
    return [dict(zip(found, row, strict=True)) for row in np.stack(list(found.values()), axis=1).tolist()]


def layer_statistics(
    layers: tuple[Layer, ...],
    states: Sequence[MemberState],
    before: Sequence[MemberState],
    probes: Sequence[Probe],
) -> list[dict[str, float]]:
    """Each member's statistics by NumPy, from what an engine has probed."""
    probed = [np.stack([getattr(p, name) for p in probes]) for name in ("gradient", "saturated", "dead")]
    gradient, saturated, dead = (array.astype(np.float64) for array in probed)
    # a diverged member has no finite statistics; that is what shall be recorded, without a warning a layer
    with np.errstate(all="ignore"):
        found = statistics(layers, columns(states, before), gradient, saturated, dead, NUMPY)
    return by_member(found)
