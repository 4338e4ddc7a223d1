"""What is recorded of every member and epoch, as one table: a name, a line, and how it is computed.

Losses are the member's own (`trainers.losses`) without the penalty. `train.loss` and `train.accuracy` are the means
over the epoch's batches, each at the parameters before its step (as Keras reports them; at epoch 0, before any step,
they are those of the whole split at the initial values); `validation.*` and `test.*` are taken after the epoch.

Gradients are those of the mean loss over the *probe*, a fixed sample of the training split, at the parameters after
the epoch, so that epoch 0 shows the gradient at the start, and members can be compared image by image:
`gradient.data` without the penalty, `gradient.total` with it. Statistics are over coordinate values, with sign for
the quantiles; they are taken over all coordinates and over the weights and biases of each layer. With batch
normalization the probe is taken in batches of the member's size, in order, each normalized by its own statistics, as in
training. Random slopes are at their mean. `zero` counts what is 0 in float32, by rounding below 1e-45 too, and the lane
engine takes denormal numbers, below 1.2e-38, for 0.

They are computed in float32. Where nothing is saturated they are float64's to some 1e-6. With initial values on
[-10, 10), in the regimes large-parameters and combined, `mean_abs` deviates by 0.05 to 1.7 % in the median over seeds
and by 5 % to a factor of 12 in the worst of 16: one member's gradient is no more than an order of magnitude there
(trainers/README.md has the table, `python -m docs.build.float32` makes it).

A unit is without slope on an image where |f'| is below 1 % of its largest value: a tanh is saturated there, a relu
inactive. `saturated` counts both. A unit without slope on any image is `dead`. `dead_layers` counts the layers all of
whose units are: one is enough to stop a gradient, and in the mean over all units it hardly shows.

`seconds` is the time by the wall that the epoch took the array of members, evaluation and statistics in it, shared out
equally: it says what one member costs, and nothing about two of the same array.

The functions take arrays of members, in NumPy or PyTorch (`trainers.statistics`): what is measured must be written in
what the two libraries have in common.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from trainers import plugins
from trainers.layers import Layer, Place, places
from trainers.measurements import MEASUREMENTS
from trainers.measurements import Metric as Metric
from trainers.members import FIELDS

VANISHED_BELOW = 1e-7
# What is said where metrics are listed.
PRECISION = (
    "Gradients are computed in float32: with initial values on [-10, 10) they differ from float64's by up to 5 % in "
    "the median over seeds, and some by more than their size"
)
FLAT = "share of (unit, image) pairs with |f'| below 1 % of sup |f'|: saturated, or inactive as a relu below 0"


SPLITS: dict[str, Metric] = {
    "train.loss": Metric("mean loss over the epoch's batches, each before its step"),
    "train.accuracy": Metric("share of training images classified correctly, each before its step"),
    "validation.loss": Metric("mean loss on the validation split after the epoch"),
    "validation.accuracy": Metric("accuracy on the validation split after the epoch"),
    "test.accuracy": Metric("accuracy on the test split after the epoch; only reported, never selected on"),
}


# Functions of `trainers.statistics.Coordinates`: recorded of the data's and of the total gradient, over all parameters
# and over those of each layer.
GRADIENT_STATISTICS: dict[str, Metric] = {
    "mean_abs": Metric("mean absolute value", lambda g: g.means[0], log=True),
    "rms": Metric("root mean square", lambda g: g.by.library.sqrt(g.means[1]), log=True),
    "max_abs": Metric("largest absolute value", lambda g: g.by.library.amax(g.size, -1), log=True),
    "q05": Metric("5 % quantile", lambda g: g.quantiles[0]),
    "q25": Metric("25 % quantile", lambda g: g.quantiles[1]),
    "q50": Metric("median", lambda g: g.quantiles[2]),
    "q75": Metric("75 % quantile", lambda g: g.quantiles[3]),
    "q95": Metric("95 % quantile", lambda g: g.quantiles[4]),
    "vanished": Metric(f"share of coordinates below {VANISHED_BELOW:g} in absolute value", lambda g: g.means[2]),
    "zero": Metric("share of coordinates that are exactly 0", lambda g: g.means[3]),
}
GRADIENTS: dict[str, Metric] = {
    f"gradient.{of}.{name}": Metric(f"{whose}: {metric.line}", log=metric.log)
    for of, whose in (("data", "gradient of the loss"), ("total", "gradient of loss and penalty"))
    for name, metric in GRADIENT_STATISTICS.items()
}

# Functions of `trainers.statistics.Part`, one layer with parameters.
LAYER_METRICS: Mapping[str, Metric] = {
    "saturated": Metric(FLAT, lambda layer: layer.saturated),
    "dead": Metric("share of units without slope on any image", lambda layer: layer.dead),
    "weight_norm": Metric("Euclidean norm of the parameters", lambda layer: layer.norms[0]),
    "update_to_weight": Metric(
        "norm of the parameters' change in the epoch over their norm before it; 0 where nothing changed",
        lambda layer: layer.by.library.where(layer.norms[2] == 0, layer.norms[2], layer.norms[2] / layer.norms[1]),
        log=True,
    ),
}

# Functions of a sequence of `trainers.statistics.Part`: the layers with parameters, from the input on.
NETWORK_METRICS: Mapping[str, Metric] = {
    "gradient.first_to_last": Metric(
        "rms of the data gradient in the first layer over that in the last",
        lambda layers: layers[0].gradients["rms"][0] / layers[-1].gradients["rms"][0],
        log=True,
    ),
    "saturated": Metric(f"{FLAT}, over all units", lambda layers: _over_units(layers, "saturated")),
    "dead": Metric("share of units without slope on any image", lambda layers: _over_units(layers, "dead")),
    "dead_layers": Metric(
        "number of layers of which every unit is without slope on any image",
        # a share that is 1 is itself, and 0 otherwise: of the output, which has no units, it is 0
        lambda layers: sum(layer.dead * (layer.dead == 1) for layer in layers),
    ),
}


# What a network may learn besides weights and biases, recorded where it does: of the network, the mean over its layers.
LEARNED: dict[str, Metric] = {
    "learned.alpha": Metric("the activation's learned alpha"),
    "learned.slope": Metric("the activation's learned slope"),
}


OTHERS: dict[str, Metric] = {"seconds": Metric("wall-clock time per member")}

# Of packages' metrics, those called `layer.NAME` are of a layer, the others of the network. No name is a column twice.
_COLUMNS = (*SPLITS, *GRADIENTS, *LEARNED, *OTHERS, *FIELDS, "sweep", "configuration", "arm", "phase", "state", "epoch")
_COLUMNS += tuple(name for entry in MEASUREMENTS.values() for name in (*entry.network, *entry.layer))
LAYER_METRICS = plugins.extended(
    LAYER_METRICS, plugins.METRICS, Metric, prefix="layer.", taken=(*_COLUMNS, "layer", "depth", "kind")
)
NETWORK_METRICS = plugins.extended(NETWORK_METRICS, plugins.METRICS, Metric, but="layer.", taken=_COLUMNS)


def _over_units(layers: Sequence[Any], share: str) -> Any:
    return sum(getattr(layer, share) * layer.units for layer in layers) / max(1, sum(layer.units for layer in layers))


def layer_metrics(layer: str, learned: Collection[str] = LEARNED) -> tuple[str, ...]:
    """The metrics of one layer with parameters, those of LEARNED that it learns among them."""
    return tuple(f"layer.{layer}.{metric}" for metric in (*GRADIENTS, *LAYER_METRICS, *learned))


def always(layers: Iterable[str]) -> Iterator[str]:
    """What is recorded of every network with layers of these names, whatever it learns or asks for."""
    yield from (*SPLITS, *GRADIENTS, *NETWORK_METRICS, *OTHERS)
    for layer in layers:
        yield from layer_metrics(layer, ())


def learned_by(place: Place) -> list[str]:
    """Those of LEARNED that a layer learns."""
    return [metric for metric in LEARNED if metric.removeprefix("learned.") in place.learned]


def names(layers: tuple[Layer, ...], measure: Sequence[str] = ()) -> tuple[str, ...]:
    """Every metric of one member and epoch, in the order in which they are stored; `measure` is what it asks for."""
    placed = places(layers)
    of_layers = (metric for place in placed for metric in layer_metrics(place.name, learned_by(place)))
    learned = dict.fromkeys(metric for place in placed for metric in learned_by(place))
    asked = (metric for name in measure for metric in MEASUREMENTS[name].names(layers))
    return (*SPLITS, *GRADIENTS, *NETWORK_METRICS, *learned, *of_layers, *asked, *OTHERS)


def _asked(per: str) -> dict[str, Metric]:
    """The metrics of all measurements, per network or per layer."""
    return {name: metric for entry in MEASUREMENTS.values() for name, metric in getattr(entry, per).items()}


def on_log_scale(name: str) -> bool:
    """Whether a metric, of a network or of a layer, is a size or a ratio."""
    of_layer = name.split(".", 2)[-1] if name.startswith("layer.") else ""
    of_layers = {**GRADIENTS, **LAYER_METRICS, **_asked("layer")}
    metric = of_layers.get(of_layer) or {**GRADIENTS, **NETWORK_METRICS, **_asked("network")}.get(name)
    return metric is not None and metric.log


def described() -> dict[str, str]:
    """A line about each metric; those of a layer as `layer.NAME.…`, in the order in which they are stored."""
    of_layer = {**GRADIENTS, **plugins.unloaded(LAYER_METRICS), **LEARNED, **_asked("layer")}
    every = {**SPLITS, **GRADIENTS, **plugins.unloaded(NETWORK_METRICS), **LEARNED, **_asked("network")}
    every |= {f"layer.NAME.{name}": metric for name, metric in of_layer.items()} | OTHERS
    return {name: metric.line for name, metric in every.items()}
