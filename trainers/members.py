"""The two plain types that everything else passes around: a member, and what it did in one epoch."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from trainers.activations import ACTIVATIONS, SCALINGS
from trainers.activations import alpha_acts as alpha_acts
from trainers.data import names as data_names
from trainers.data import source_of
from trainers.errors import DataError
from trainers.initialization import INITIALIZATIONS
from trainers.layers import Layer
from trainers.penalties import PENALTIES
from trainers.regimes import REGIMES, network

# What every engine can do in float32: which engine trains a member must not depend on the others in its pack.
ALPHAS = (1e-6, 1e6)
LARGEST = sys.float_info.max  # whole numbers can be larger, and are then no floats any more
MOST = 2**31 - 1  # epochs, and images per batch: what the engines count with

# Fields that name an entry of a table, numbers and what they must be, and whole numbers.
CHOICES: dict[str, Collection[str]] = {
    "regime": REGIMES,
    "activation": ACTIVATIONS,
    "scaling": SCALINGS,
    "penalty": PENALTIES,
    "initialization": INITIALIZATIONS,
    "convolution": ("plain", "separable"),
    "engine": ("auto", "lanes", "cuda", "reference"),
}
NUMBERS = {"alpha": (">", 0), "learning_rate": (">", 0), "init_scale": (">", 0), "r": (">=", 0)}
WHOLE = {"epochs": (">=", 1), "batch_size": (">=", 1), "seed": (">=", 0)}


def _lines(table: Mapping[str, Any]) -> str:
    return " | ".join(f"{name}: {entry.line}" for name, entry in table.items())


def _help(text: str, default: Any) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class MemberConfig:
    """One network in training: everything that determines its numbers, to the bit.

    >>> MemberConfig(regime="combined", activation="tanh", alpha=2.0, r=0.01, seed=3)

    Where `initialization`, `init_scale`, `convolution` or `dense_bias` is None the regime's own is filled in. Raises
    ValueError, with the rule and the value, for what can't be trained.
    """

    regime: str = _help(_lines(REGIMES), "combined")
    activation: str = _help(f"of every convolution and hidden dense layer: {' | '.join(ACTIVATIONS)}", "tanh")
    scaling: str = _help("rescaled: alpha f(z / alpha), the paper's (1) | naive: alpha f(z)", "rescaled")
    alpha: float = _help("the scale of the activation; 1 leaves it as it is", 1.0)
    r: float = _help("the strength of the penalty", 0.0)
    penalty: str = _help(_lines(PENALTIES), "l2")
    data: str = _help(data_names(), "digits")
    epochs: int = _help("passes over the training split", 30)
    batch_size: int = _help("images per step; the last batch of an epoch may be smaller", 32)
    learning_rate: float = _help("Adam's", 0.001)
    initialization: str | None = _help(" | ".join(INITIALIZATIONS), None)
    init_scale: float | None = _help("half-width of uniform, deviation of normal, factor of the others", None)
    convolution: str | None = _help("plain | separable 3x3 convolutions; the reading of the table", None)
    dense_bias: bool | None = _help("whether dense layers have a bias; the reading of the table", None)
    engine: str = _help("auto: the fastest | lanes: C, on CPUs | cuda: Triton, on GPUs | reference: PyTorch", "auto")
    seed: int = _help("decides initial values and the order of images", 0)

    def __post_init__(self) -> None:
        self._check_choice("regime")
        regime = REGIMES[self.regime]
        own = {name: getattr(regime, name) for name in ("initialization", "convolution", "dense_bias")}
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
        if not isinstance(self.dense_bias, bool):
            raise ValueError(f"dense_bias must be true or false, but got {self.dense_bias!r}")
        for name, (relation, least) in (NUMBERS | WHOLE).items():
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if name in WHOLE and not whole:
                raise ValueError(f"{name} must be a whole number, but got {value!r}")
            fits = (whole or isinstance(value, float)) and least <= value <= LARGEST
            if not fits or (relation == ">" and value == least):
                raise ValueError(f"{name} {relation} {least:g} must hold and be finite, but got {value!r}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) > MOST:
                raise ValueError(f"{name} <= {MOST} must hold, but got {getattr(self, name)!r}")
        if not ALPHAS[0] <= self.alpha <= ALPHAS[1]:
            raise ValueError(f"{ALPHAS[0]:g} <= alpha <= {ALPHAS[1]:g} must hold, but got {self.alpha!r}")
        try:
            source_of(self.data)
        except DataError as error:
            raise ValueError(str(error)) from None

    def _check_choice(self, name: str) -> None:
        if (value := getattr(self, name)) not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}, but got {value!r}")

    def with_seed(self, seed: int) -> MemberConfig:
        """The same configuration under another seed."""
        return replace(self, seed=seed)


def layers_of(member: MemberConfig, classes: int) -> tuple[Layer, ...]:
    """The network of a member on data with so many classes."""
    return network(member.regime, classes, member.convolution == "separable", member.dense_bias)


FIELDS = {f.name: f for f in fields(MemberConfig)}
# What members trained together must have in common: it decides the network, the data and the batches.
SHARED = ("regime", "convolution", "dense_bias", "data", "batch_size", "engine")


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
