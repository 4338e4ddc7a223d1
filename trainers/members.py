"""The two plain types that everything else passes around: a member, and what it did in one epoch."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from trainers import plugins
from trainers.activations import ACTIVATIONS, SCALINGS
from trainers.activations import alpha_acts as alpha_acts
from trainers.data import HOLDOUT, steps_of
from trainers.data import names as data_names
from trainers.errors import DataError, PluginError
from trainers.initialization import DEPTHWISE_FANS, INITIALIZATIONS, RECURRENT
from trainers.layers import CELLS, NORMALIZATIONS, Layer, output_shapes
from trainers.losses import LOSSES
from trainers.measurements import MEASUREMENTS
from trainers.optimizers import OPTIMIZERS
from trainers.penalties import PENALIZED, PENALTIES
from trainers.regimes import NETWORK, REGIMES, network
from trainers.schedules import SCHEDULES

# What every engine can do in float32: which engine trains a member must not depend on the others in its pack.
ALPHAS = (1e-6, 1e6)
LARGEST = sys.float_info.max  # whole numbers can be larger, and are then no floats any more
MOST = 2**31 - 1  # epochs, and images per batch: what the engines count with
DEEPEST = dict.fromkeys(("blocks", "convolutions", "dense"), 1000)  # a mistyped number would fill the memory
DEEPEST["steps"] = 1024  # pixels

CONVOLUTIONS = ("plain", "separable")
INPUTS = {
    "unit": "[0, 1]",
    "bytes": "[0, 255]",
    "standardized": "mean 0, deviation 1 per channel of the training split",
}
LEARN_ALPHA = {"none": "it stays", "network": "one for all layers", "layer": "one for each"}
EPSILON_AT = {"after": "as in PyTorch", "before": "as in Keras"}

# Fields that name an entry of a table, numbers and what they must be, and whole numbers.
CHOICES: dict[str, Collection[str]] = {
    "regime": REGIMES,
    "normalization": ("none", *NORMALIZATIONS),
    "convolution": CONVOLUTIONS,
    "cell": ("none", *CELLS),
    "activation": ACTIVATIONS,
    "scaling": SCALINGS,
    "learn_alpha": LEARN_ALPHA,
    "loss": LOSSES,
    "penalty": PENALTIES,
    "penalized": PENALIZED,
    "optimizer": OPTIMIZERS,
    "epsilon_at": EPSILON_AT,
    "schedule": SCHEDULES,
    "initialization": INITIALIZATIONS,
    "depthwise_fans": DEPTHWISE_FANS,
    "recurrent_initialization": RECURRENT,
    "input": INPUTS,
    "engine": ("auto", "lanes", "cuda", "reference"),
}
NUMBERS = {"alpha": (">", 0), "learning_rate": (">", 0), "init_scale": (">", 0), "epsilon": (">", 0)}
NUMBERS |= dict.fromkeys(("r", "slope", "clip", "bias_scale", "forget_bias"), (">=", 0))
NUMBERS["holdout"] = (">", 0)
WHOLE = dict.fromkeys(("convolutions", "channels", "units", "steps", "batch_size"), (">=", 1))
WHOLE |= dict.fromkeys(("blocks", "dense", "epochs", "warmup", "seed"), (">=", 0))
OPTIONAL = ("slope", "bias_scale", "forget_bias", "measure_at")  # None where there is nothing of the kind


def _lines(table: Mapping[str, Any]) -> str:
    return " | ".join(f"{name}: {getattr(entry, 'line', entry)}" for name, entry in plugins.unloaded(table).items())


def _help(text: str, default: Any) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class MemberConfig:
    """One network in training: everything that determines its numbers, to the bit.

    >>> MemberConfig(regime="combined", activation="tanh", alpha=2.0, r=0.01, seed=3)

    Fields of the network and its initial values that are None are filled in from the regime. Raises ValueError, with
    the rule and the value, for what can't be trained.
    """

    regime: str = _help(f"a network and its initial values, for what is not given: {_lines(REGIMES)}", "combined")
    blocks: int | None = _help("groups of convolutions, each ended by a 2x2 max pooling", None)
    convolutions: int | None = _help("3x3 convolutions in each block", None)
    channels: int | None = _help("channels of each convolution", None)
    dense: int | None = _help("hidden dense layers after the blocks", None)
    units: int | None = _help("units of each hidden dense layer", None)
    normalization: str | None = _help(f"before every activation: none | {_lines(NORMALIZATIONS)}", None)
    residual: bool | None = _help("whether each layer's input is added to its output, where their shapes agree", None)
    convolution: str | None = _help("plain: 3x3 | separable: 3x3 in each channel, then 1x1, as in Table 1", None)
    dense_bias: bool | None = _help("whether dense and recurrent layers have a bias, as in Table 1", None)
    cell: str | None = _help(f"of a recurrent layer that reads the image: none | {_lines(CELLS)}", None)
    steps: int | None = _help(
        "in how many steps it does: a power of two up to 1024; 32 are the rows; null: the data's, or 32", None
    )
    scaled_gates: bool | None = _help("whether the gates' logistic function is scaled like the activation", None)
    activation: str = _help(
        f"of every convolution, hidden dense and recurrent layer: {' | '.join(ACTIVATIONS)}", "tanh"
    )
    scaling: str = _help("rescaled: alpha f(z / alpha), the paper's (1) | naive: alpha f(z)", "rescaled")
    alpha: float = _help("the scale of the activation; 1 leaves it as it is", 1.0)
    learn_alpha: str = _help(f"whether alpha is learned, starting at `alpha`: {_lines(LEARN_ALPHA)}", "none")
    slope: float | None = _help("of leaky_relu below 0, of prelu there at the start; the alpha of elu", None)
    loss: str = _help(f"what is minimized: {_lines(LOSSES)}", "cross_entropy")
    r: float = _help("the strength of the penalty", 0.0)
    penalty: str = _help(f"how r acts: {_lines(PENALTIES)}", "l2")
    penalized: str = _help(f"what the penalty is on: {_lines(PENALIZED)}", "all")
    optimizer: str = _help(_lines(OPTIMIZERS), "adam")
    epsilon: float = _help("added to the root of the mean square by adam and rmsprop", 1e-7)
    epsilon_at: str = _help(f"added before or after adam's correction of bias: {_lines(EPSILON_AT)}", "after")
    learning_rate: float = _help("the optimizer's, after the warm-up and before the schedule lowers it", 0.001)
    schedule: str = _help(
        f"the learning rate's course: {' | '.join(SCHEDULES)}; but for constant, to 0 at the last epoch's end",
        "constant",
    )
    warmup: int = _help("epochs over which the learning rate rises, in equal steps, to its full height", 0)
    clip: float = _help("bound on the norm of a step's gradient, which is scaled down to it; 0: none", 0.0)
    initialization: str | None = _help(f"of the weights: {' | '.join(INITIALIZATIONS)}", None)
    init_scale: float | None = _help(
        "half-width of uniform, deviation of normal, and of truncated_normal before truncation, factor on the others",
        None,
    )
    bias_scale: float | None = _help("deviation of the biases' initial values; null: the initialization's own", None)
    depthwise_fans: str = _help(
        "how glorot, he and lecun count the inputs and outputs of a separable convolution's 3x3 part: "
        f"{_lines(DEPTHWISE_FANS)}",
        "own",
    )
    recurrent_initialization: str = _help(
        f"of the weights between steps, times init_scale where that is a factor: {_lines(RECURRENT)}", "same"
    )
    forget_bias: float | None = _help("added to an LSTM's forget gate's initial bias (Gers et al. 2000); null: 1", None)
    data: str = _help(f"{data_names()}; adding and copy are memory tasks, made from SEED", "digits")
    holdout: float = _help("the share of the training images that is the validation split, at most 0.5", HOLDOUT)
    input: str = _help(f"the range of pixels: {_lines(INPUTS)}", "unit")
    epochs: int = _help("passes over the training split; 0: the network at its initial values alone", 30)
    batch_size: int = _help("images per step; the last batch of an epoch may be smaller", 32)
    measure: tuple[str, ...] | None = _help(f"what is recorded besides; a list of: {_lines(MEASUREMENTS)}", None)
    measure_at: tuple[int, ...] | None = _help("the epochs at which; null: every one", None)
    engine: str = _help("auto: the fastest | lanes: C, on CPUs | cuda: Triton, on GPUs | reference: PyTorch", "auto")
    seed: int = _help("decides initial values and the order of images", 0)

    def __post_init__(self) -> None:
        self._check_choice("regime")
        regime = REGIMES[self.regime]
        own = {name: getattr(regime, name) for name in (*NETWORK, "initialization", "measure")}
        own["steps"] = self._steps_of_data() or regime.steps
        if self.init_scale is None:
            kept = self.initialization in (None, regime.initialization)
            drawn = INITIALIZATIONS.get(str(self.initialization))
            if not kept and drawn and drawn.needs_scale:
                raise ValueError(
                    f"init_scale must be given where initialization is {self.initialization!r}: "
                    f"the {self.regime} regime's own is for {regime.initialization!r}"
                )
            own["init_scale"] = regime.init_scale if kept else 1.0
        for name, value in own.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in CHOICES:
            self._check_choice(name)
        tables = {"activation": ACTIVATIONS, "normalization": NORMALIZATIONS, "initialization": INITIALIZATIONS}
        for name, table in tables.items():
            try:
                table.get(getattr(self, name))  # of a package, it is imported now
            except PluginError as error:
                raise PluginError(f"{name} {getattr(self, name)!r}: {error}") from None
        for name in ("dense_bias", "residual", "scaled_gates"):
            if not isinstance(value := getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, but got {value!r}")
        for name, (relation, least) in (NUMBERS | WHOLE).items():
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            whole = isinstance(value, int) and not isinstance(value, bool)
            if name in WHOLE and not whole:
                raise ValueError(f"{name} must be a whole number, but got {value!r}")
            fits = (whole or isinstance(value, float)) and least <= value <= LARGEST
            if not fits or (relation == ">" and value == least):
                raise ValueError(f"{name} {relation} {least:g} must hold and be finite, but got {value!r}")
        for name in WHOLE:
            if name != "seed" and getattr(self, name) > (most := DEEPEST.get(name, MOST)):
                raise ValueError(f"{name} <= {most} must hold, but got {getattr(self, name)!r}")
        if not ALPHAS[0] <= self.alpha <= ALPHAS[1]:
            raise ValueError(f"{ALPHAS[0]:g} <= alpha <= {ALPHAS[1]:g} must hold, but got {self.alpha!r}")
        if self.holdout > 0.5:
            raise ValueError(f"holdout <= 0.5 must hold, but got {self.holdout!r}")
        if self.warmup > self.epochs:
            raise ValueError(f"warmup <= epochs must hold, but got {self.warmup} and {self.epochs}")
        slope = ACTIVATIONS[self.activation].slope
        forget_bias = 1.0 if self.forget_bias is None else float(self.forget_bias)
        # so that members that are trained alike are equal
        object.__setattr__(self, "slope", slope if slope is None or self.slope is None else float(self.slope))
        object.__setattr__(self, "forget_bias", forget_bias if self.cell == "lstm" and self.dense_bias else None)
        layers = layers_of(self, 10)
        output_shapes(layers)  # refuses what can't be built
        self._check_measurements({layer.kind for layer in layers})

    def _steps_of_data(self) -> int | None:
        try:
            return steps_of(self.data)
        except PluginError as error:
            raise PluginError(f"data {self.data!r}: {error}") from None
        except DataError as error:
            raise ValueError(str(error)) from None

    def _check_choice(self, name: str) -> None:
        if (value := getattr(self, name)) not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}, but got {value!r}")

    def _check_measurements(self, kinds: Collection[str]) -> None:
        lists: dict[str, tuple[str, Callable[[Any], bool]]] = {
            "measure": (f"a list of {', '.join(MEASUREMENTS)}", MEASUREMENTS.__contains__),
            "measure_at": ("a list of epochs", lambda epoch: type(epoch) is int and epoch >= 0),
        }
        for name, (rule, fits) in lists.items():
            if (value := getattr(self, name)) is None:
                continue
            if not isinstance(value, list | tuple) or not all(map(fits, value)) or len(set(value)) < len(value):
                raise ValueError(f"{name} must be {rule}, each once, but got {value!r}")
            object.__setattr__(self, name, tuple(value))
        for name in self.measure or ():
            if (needs := MEASUREMENTS[name].needs) and needs not in kinds:
                raise ValueError(f"measure {name} needs a {needs} layer, but this network has none")

    def with_seed(self, seed: int) -> MemberConfig:
        """The same configuration under another seed."""
        return replace(self, seed=seed)


def layers_of(member: MemberConfig, classes: int) -> tuple[Layer, ...]:
    """The network of a member on data with so many classes."""
    return network(
        member.regime,
        classes,
        learn_alpha=member.learn_alpha,
        learn_slope=ACTIVATIONS[member.activation].learned,
        **{name: getattr(member, name) for name in NETWORK},
    )


def measured_at(member: MemberConfig, epoch: int) -> tuple[str, ...]:
    """What is measured of a member at an epoch besides what is always recorded: names of `MEASUREMENTS`."""
    return member.measure or () if member.measure_at is None or epoch in member.measure_at else ()


FIELDS = {f.name: f for f in fields(MemberConfig)}
# What members trained together must have in common: it decides the data, the batches, and what is kept between steps;
# their network (`layers_of`) must be the same too.
SHARED = ("data", "holdout", "input", "batch_size", "loss", "optimizer", "engine")


@dataclass(frozen=True)
class EpochRecord:
    """What one member did in one epoch; epoch 0 is the state before the first step.

    `metrics` holds every metric of `trainers.metrics.names` as a float; `engine` is the engine that trained it.
    """

    member: MemberConfig
    epoch: int
    engine: str
    metrics: Mapping[str, float]

    @property
    def diverged(self) -> bool:
        """Whether a loss is no longer finite: such a member is not trained any further."""
        return not all(math.isfinite(self.metrics[name]) for name in ("train.loss", "validation.loss"))
