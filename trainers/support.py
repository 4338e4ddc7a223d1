"""What an engine supports, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from trainers import optimizers
from trainers.layers import Layer
from trainers.members import MemberConfig

# Fields that concern no engine, or that all of them take as a number: whatever else a member has, an engine must name.
ANY_VALUE = frozenset(
    ("alpha", "r", "learning_rate", "batch_size", "epochs", "seed", "regime", "convolution", "dense_bias")
    + ("initialization", "init_scale", "data", "engine")
)


@dataclass(frozen=True)
class Support:
    """What an engine has code for: the values of a member's fields, the kinds of layers and the optimizers.

    A field that is not named here has to be at its default.
    """

    engine: str
    fields: Mapping[str, tuple[str, ...]]
    layers: tuple[str, ...]
    optimizers: tuple[str, ...]

    def refusal(self, member: MemberConfig) -> str | None:
        """What of a member the engine has no code for, in a line; None where it can train it."""
        for field in fields(member):
            value = getattr(member, field.name)
            if field.name not in ANY_VALUE and value not in self.fields.get(field.name, (field.default,)):
                return f"the {self.engine} engine does not have the {field.name} {value!r}"
        if optimizers.OPTIMIZER not in self.optimizers:
            return f"the {self.engine} engine does not have the optimizer {optimizers.OPTIMIZER!r}"
        return None

    def refusal_of(self, layers: tuple[Layer, ...]) -> str | None:
        """The first layer of a kind that the engine has no code for, in a line; None where there is none."""
        for layer in layers:
            if layer.kind not in self.layers:
                return f"layer {layer.name}: the {self.engine} engine does not have layers of the kind {layer.kind!r}"
        return None
