"""What is recorded of gradients and layers, written out once for every engine.

All functions take an array of members, (members, coordinates), and work in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.layers import Layer, parameter_slices
from trainers.metrics import GRADIENT_STATISTICS, VANISHED_BELOW
from trainers.penalties import penalty_gradient
from trainers.states import MemberState

Array = NDArray[np.float64]
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


def gradient_statistics(gradients: Array) -> dict[str, Array]:
    """The statistics of `trainers.metrics` over coordinate values; (members, coordinates) -> (members,) each."""
    size = np.abs(gradients)
    quantiles = np.quantile(gradients, QUANTILES, axis=1)
    values = (
        size.mean(axis=1),
        np.sqrt(np.square(gradients).mean(axis=1)),
        size.max(axis=1),
        *quantiles,
        (size < VANISHED_BELOW).mean(axis=1),
    )
    return dict(zip(GRADIENT_STATISTICS, values, strict=True))


def layer_statistics(
    layers: tuple[Layer, ...],
    states: Sequence[MemberState],
    before: Sequence[MemberState],
    probes: Sequence[Probe],
) -> dict[str, Array]:
    """Everything of `trainers.metrics.names` that comes from the probe, (members,) each.

    `update_to_weight` compares a layer's change over the epoch with its norm before it (0 at epoch 0).
    """
    parameters = np.stack([s.parameters for s in states]).astype(np.float64)
    earlier = np.stack([s.parameters for s in before]).astype(np.float64)
    data = np.stack([p.gradient for p in probes]).astype(np.float64)
    total = data + np.stack(
        [penalty_gradient(s.member.penalty, w, s.member.r) for s, w in zip(states, parameters, strict=True)]
    )
    of = {"gradient.data": data, "gradient.total": total}
    found: dict[str, Array] = {}
    # a diverged member has no finite statistics; that is what shall be recorded, without a warning a layer
    with np.errstate(all="ignore"):
        for kind, gradients in of.items():
            found |= {f"{kind}.{s}": v for s, v in gradient_statistics(gradients).items()}
        slices = list(parameter_slices(layers).items())
        for i, (layer, where) in enumerate(slices):
            for kind, gradients in of.items():
                found |= {f"layer.{layer}.{kind}.{s}": v for s, v in gradient_statistics(gradients[:, where]).items()}
            norm = np.linalg.norm(earlier[:, where], axis=1)
            found[f"layer.{layer}.saturated"] = np.array([p.saturated[i] for p in probes])
            found[f"layer.{layer}.dead"] = np.array([p.dead[i] for p in probes])
            found[f"layer.{layer}.weight_norm"] = np.linalg.norm(parameters[:, where], axis=1)
            found[f"layer.{layer}.update_to_weight"] = (
                np.linalg.norm(parameters[:, where] - earlier[:, where], axis=1) / norm
            )
        first, last = (found[f"layer.{layer}.gradient.data.rms"] for layer, _ in (slices[0], slices[-1]))
        found["gradient.first_to_last"] = first / last
    return found
