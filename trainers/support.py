"""What an engine supports, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from trainers.activations import ACTIVATIONS
from trainers.layers import Layer
from trainers.members import MemberConfig
from trainers.regimes import NETWORK

# Fields that concern no engine, or that all of them take as a number: whatever else a member has, an engine must name.
# What a network is made of is asked of its layers.
ANY_VALUE = frozenset(
    ("alpha", "r", "learning_rate", "batch_size", "epochs", "seed", "regime", *NETWORK)
    + ("initialization", "init_scale", "bias_scale", "depthwise_fans", "recurrent_initialization", "forget_bias")
    + ("data", "holdout", "engine", "measure", "measure_at")
)


@dataclass(frozen=True)
class Support:
    """What an engine has code for: the values of a member's fields, and the kinds of layers.

    A field that is not named here must have its default; those in `every` may have any value.
    """

    engine: str
    fields: Mapping[str, tuple[Any, ...]]
    layers: tuple[str, ...]
    normalizations: tuple[str, ...] = ("none",)
    residual: bool = False
    every: tuple[str, ...] = ()

    def refusal(self, member: MemberConfig) -> str | None:
        """What of a member the engine has no code for, in a line; None where it can train it."""
        for field in fields(member):
            name, value = field.name, getattr(member, field.name)
            if name in ANY_VALUE or name in self.every:
                continue
            default = ACTIVATIONS[member.activation].slope if name == "slope" else field.default
            if value not in self.fields.get(name, (default,)):
                return f"the {self.engine} engine does not have the {name} {value!r}"
        return None

    def refusal_of(self, layers: tuple[Layer, ...]) -> str | None:
        """The first layer of a kind that the engine has no code for, in a line; None where there is none."""
        for layer in layers:
            if layer.kind not in self.layers:
                return f"layer {layer.name}: the {self.engine} engine does not have layers of the kind {layer.kind!r}"
            if layer.normalization not in self.normalizations:
                return f"layer {layer.name}: the {self.engine} engine does not have {layer.normalization} normalization"
            if layer.residual and not self.residual:
                return f"layer {layer.name}: the {self.engine} engine does not have residual layers"
        return None
