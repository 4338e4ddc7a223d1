"""The names of what is recorded, in one order: the contract between the engines, the records and the exports.

Losses are the cross-entropy without the penalty. `train.loss` and `train.accuracy` are the means over the epoch's
batches, each at the parameters before its step (as Keras reports them; at epoch 0, before any step, they are those
of the whole split at the initial values); `validation.*` and `test.*` are taken after the epoch.

Gradients are those of the mean loss over the *probe*, a fixed sample of the training split, at the parameters after
the epoch, so that epoch 0 shows the gradient at the start, and members can be compared image by image:
`gradient.data` without the penalty, `gradient.total` with it. Statistics are over coordinate values, with sign for
the quantiles. Every definition is written out in `trainers.statistics`.

`seconds` is the time by the wall that the epoch took the array of members, evaluation and statistics in it, shared out
equally: it says what one member costs, and nothing about two of the same array.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from trainers.layers import Layer, parameter_slices

SPLITS = ("train.loss", "train.accuracy", "validation.loss", "validation.accuracy", "test.accuracy")
GRADIENT_STATISTICS = ("mean_abs", "rms", "max_abs", "q05", "q25", "q50", "q75", "q95", "vanished")
GRADIENTS = tuple(f"gradient.{of}.{s}" for of in ("data", "total") for s in GRADIENT_STATISTICS)
LAYER_STATISTICS = ("saturated", "dead", "weight_norm", "update_to_weight")
VANISHED_BELOW = 1e-7


def layer_metrics(layer: str) -> tuple[str, ...]:
    """The metrics of one layer with parameters."""
    return tuple(f"layer.{layer}.{s}" for s in (*GRADIENTS, *LAYER_STATISTICS))


@functools.cache
def names(layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """Every metric of one member and epoch, in the order in which they are stored."""
    of_layers: Iterable[str] = (m for name in parameter_slices(layers) for m in layer_metrics(name))
    return (*SPLITS, *GRADIENTS, "gradient.first_to_last", *of_layers, "seconds")


def described() -> dict[str, str]:
    """A line about each metric; those of a layer as `layer.NAME.…`, in the order in which they are stored."""
    return dict.fromkeys([*names(()), *layer_metrics("NAME")], "")
