"""What is recorded of gradients and layers, written out once for every engine.

All functions take an array of members, (members, coordinates), and work in float64: NumPy's arrays, or PyTorch's
tensors where an engine has them on a device (`trainers.cuda.statistics`). `Arithmetic` is what differs between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainers.layers import Layer, parameter_count, places, tensor_shapes
from trainers.members import MemberConfig
from trainers.metrics import GRADIENT_STATISTICS, LAYER_METRICS, NETWORK_METRICS, VANISHED_BELOW, learned_by
from trainers.penalties import PENALTIES, penalty_gradient
from trainers.states import MemberState

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
A = TypeVar("A", Array, "Tensor")
Columns = tuple[A, A, A, A]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Coordinates at a time, all members': their arrays stay in the cache. 400 members of 107,114 parameters each took
# 9 ms of a processor each as one array, and 4 in parts of four.
COORDINATES = 2**19


class Probe(NamedTuple):
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
    """A library of arrays, and its means and Euclidean norms of several, and QUANTILES of one, over the last axis.

    (..., coordinates) -> (...) each; the quantiles are (QUANTILES, ...). `unpenalized(gradient, parameters, r)` is True
    only where the penalty changes no bit of any gradient.
    """

    library: Any
    means: Callable[..., Sequence[A] | A]
    norms: Callable[..., Sequence[A] | A]
    quantiles: Callable[[A], A]
    unpenalized: Callable[[A, A, A], bool]


def quantiles(ordered: A, library: Any) -> A:
    """QUANTILES over the last axis, which is in order, as NumPy takes linear ones; NaN where there is one."""
    last = ordered.shape[-1] - 1
    values = []
    for q in QUANTILES:
        place = q * last
        below = int(place)
        part = place - below
        low, high = ordered[..., below], ordered[..., min(below + 1, last)]
        values.append(low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part))
    # what is no number comes last
    result: A = library.where(library.isnan(ordered[..., -1]), ordered[..., -1], library.stack(values))
    return result


def _mean(x: Array) -> Array:
    """As np.mean to the bit, of truth values in an eighth of its time."""
    if x.dtype != np.bool_:
        means: Array = np.mean(x, axis=-1)
        return means
    counts = np.array([np.count_nonzero(row) for row in x.reshape(-1, x.shape[-1])], dtype=np.float64)
    shares: Array = counts.reshape(x.shape[:-1]) / x.shape[-1]
    return shares


def _negative_zero(x: Array) -> bool:
    return bool((x.view(np.int64) == np.iinfo(np.int64).min).any())


def _quantiles(x: Array) -> Array:
    """As np.quantile to the bit, in a quarter of its time. 0.0 and -0.0, which are equal, it orders in its own way."""
    values = quantiles(np.sort(x), np)
    return values if values.all() or not _negative_zero(x) else np.quantile(x, QUANTILES, axis=-1)


def _unpenalized(gradient: Array, parameters: Array, r: Array) -> bool:
    """Without r there is still a penalty of NaN where a member has diverged, and -0.0 becomes 0.0 or stays."""
    return not r.any() and bool(np.isfinite(parameters).all()) and not _negative_zero(gradient)


NUMPY: Arithmetic[Array] = Arithmetic(
    np,
    means=lambda *arrays: [_mean(x) for x in arrays],
    norms=lambda *arrays: [np.linalg.norm(x, axis=-1) for x in arrays],
    quantiles=_quantiles,
    unpenalized=_unpenalized,
)


def columns(layers: tuple[Layer, ...], states: Sequence[MemberState], before: Sequence[MemberState]) -> Columns[Array]:
    """What is known of members before they are probed: parameters now and an epoch ago, and the penalty and its r.

    The first two are (members, parameters), the third is (members, 1), a penalty's place in `PENALTIES`; the last is
    (members, 1), or (members, parameters) and 0 where a member does not penalize.
    """
    kinds = list(PENALTIES)
    r = np.array([[s.member.r] for s in states])
    if any(s.member.penalized != "all" for s in states):
        r = np.stack([s.member.r * penalized(s.member, layers) for s in states])
    parameters = np.stack([s.parameters for s in states], dtype=np.float64)
    unchanged = all(now is then for now, then in zip(states, before, strict=True))
    return (
        parameters,
        parameters if unchanged else np.stack([s.parameters for s in before], dtype=np.float64),
        np.array([[kinds.index(s.member.penalty)] for s in states]),
        r,
    )


def penalized(member: MemberConfig, layers: tuple[Layer, ...]) -> Array:
    """1 for each of a member's parameters that the penalty is on, 0 for the others: (parameters,)."""
    if member.penalized == "all":
        return np.ones(parameter_count(layers))
    return np.concatenate([np.full(prod(shape), float(len(shape) > 1)) for shape in tensor_shapes(layers)])


@dataclass(frozen=True, eq=False)
class Coordinates(Generic[A]):
    """Coordinates of gradients, (..., coordinates), for the functions of `GRADIENT_STATISTICS`; each gives (...).

    `size` are their absolute values, `means` the means of these, of their squares, of whether they have vanished and of
    whether they are 0; `quantiles` are (QUANTILES, ...).
    """

    size: A
    means: Sequence[A] | A
    quantiles: A
    by: Arithmetic[A]


def gradient_statistics(values: A, by: Arithmetic[A]) -> dict[str, A]:
    """All of `GRADIENT_STATISTICS` of coordinates; (..., coordinates) -> (...) each."""
    size = abs(values)
    means = by.means(size, values * values, size < VANISHED_BELOW, size == 0)
    coordinates = Coordinates(size, means, by.quantiles(values), by)
    return {name: metric.of(coordinates) for name, metric in GRADIENT_STATISTICS.items() if metric.of}


@dataclass(frozen=True, eq=False)
class Part(Generic[A]):
    """One layer of an array of members, for the functions of `LAYER_METRICS` and `NETWORK_METRICS`.

    `parameters` and `earlier` (an epoch ago) are (members, coordinates), `saturated` and `dead` (members,);
    `gradients` holds the statistics of the data's and of the total gradient, two of (members,) each; `units` is how
    many units it has, 0 without an activation.
    """

    parameters: A
    earlier: A
    saturated: A
    dead: A
    gradients: Mapping[str, tuple[A, A]]
    units: int
    by: Arithmetic[A]

    @cached_property
    def norms(self) -> Sequence[A] | A:
        """The norms of the parameters now, an epoch ago, and of their change: (members,) each."""
        if self.earlier is self.parameters:
            (norm,) = self.by.norms(self.parameters)
            return norm, norm, norm * 0  # what is not finite has changed by NaN
        return self.by.norms(self.parameters, self.earlier, self.parameters - self.earlier)


def statistics(
    layers: tuple[Layer, ...], known: Columns[A], gradient: A, saturated: A, dead: A, by: Arithmetic[A]
) -> dict[str, A]:
    """Everything of `trainers.metrics.names` that comes from the probe, (members,) each; `known` are the `columns`.

    `gradient` is the data's, (members, parameters), `saturated` and `dead` are (members, layers with parameters).
    """
    parameters, earlier, penalty, r = known
    gradients = gradient[None]
    if not by.unpenalized(gradient, parameters, r):
        total = gradient + penalty_gradient(penalty, parameters, r, by.library)
        gradients = by.library.stack((gradient, total))
    values: dict[str, A] = {}

    def gradients_of(prefix: str, where: slice) -> dict[str, tuple[A, A]]:
        columns = gradient_statistics(gradients[:, :, where], by)
        of_these = {name: (column[0], column[-1]) for name, column in columns.items()}
        for name, pair in of_these.items():
            values[f"{prefix}gradient.data.{name}"], values[f"{prefix}gradient.total.{name}"] = pair
        return of_these

    gradients_of("", slice(None))
    parts = []
    learned: dict[str, list[A]] = {}
    for i, place in enumerate(places(layers)):
        prefix, where = f"layer.{place.name}.", place.where
        shares = saturated[:, i], dead[:, i]
        now = parameters[:, where]
        then = now if earlier is parameters else earlier[:, where]
        part = Part(now, then, *shares, gradients_of(prefix, where), place.units, by)
        parts.append(part)
        values |= {f"{prefix}{name}": metric.of(part) for name, metric in LAYER_METRICS.items() if metric.of}
        for name in learned_by(place):
            values[f"{prefix}{name}"] = parameters[:, place.learned[name.removeprefix("learned.")].start]
            learned.setdefault(name, []).append(values[f"{prefix}{name}"])
    values |= {name: sum(of_layers[1:], of_layers[0]) / len(of_layers) for name, of_layers in learned.items()}
    return values | {name: metric.of(parts) for name, metric in NETWORK_METRICS.items() if metric.of}


def by_member(values: Mapping[str, Array]) -> list[dict[str, float]]:
    """Statistics of all members as each member's."""
    return [dict(zip(values, row, strict=True)) for row in np.stack(list(values.values()), axis=1).tolist()]


def layer_statistics(
    layers: tuple[Layer, ...], states: Sequence[MemberState], before: Sequence[MemberState], probes: Sequence[Probe]
) -> list[dict[str, float]]:
    """Each member's statistics by NumPy, from what an engine has probed."""
    every: list[dict[str, float]] = []
    size = max(1, COORDINATES // parameter_count(layers))
    for first in range(0, len(states), size):
        part = slice(first, first + size)
        gradient, saturated, dead = (np.stack(rows, dtype=np.float64) for rows in zip(*probes[part], strict=True))
        known = columns(layers, states[part], before[part])
        # a diverged member has no finite statistics; that is what shall be recorded, without a warning a layer
        with np.errstate(all="ignore"):
            every += by_member(statistics(layers, known, gradient, saturated, dead, NUMPY))
    return every
