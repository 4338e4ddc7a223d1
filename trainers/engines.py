"""Which engine trains a member: what the fast engines support, as data, and the one decision.

The reference engine trains everything that the tables of this package hold. The others have code of their own for each
entry, and say for which (`Support`); a member that asks for anything else goes to the reference engine, with a line
that says so. So nothing is ever trained as something else because a table lacks an entry.

    >>> resolve(MemberConfig(), "cpu")
    Resolution(engine='lanes', reason=None)
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

from trainers import optimizers
from trainers.layers import Layer
from trainers.members import SHARED, MemberConfig, layers_of

REFERENCE = "reference"
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


class Resolution(NamedTuple):
    """The engine that trains a member, and in a line why it is not the fast one, if that was not asked for."""

    engine: str
    reason: str | None = None


def resolve(member: MemberConfig, device: str = "cpu", classes: int = 10) -> Resolution:
    """The engine that trains this member on PyTorch's device of that name, on data with so many classes.

    `auto` is the fastest that applies: cuda on a device, lanes on the CPU. Raises ValueError, with the reason, where an
    engine was asked for that can't train it.
    """
    engine = _wanted(member, device)
    if engine == REFERENCE:
        return Resolution(engine)
    layers = layers_of(member, classes)
    reason = _support(engine).refusal(member) or _support(engine).refusal_of(layers)
    if reason is None and engine == "lanes":
        from trainers.lanes.engine import applies

        reason = applies(layers, device)
    elif reason is None:
        reason = _cuda_refusal(layers, device, checked=member.engine == "auto")
    if reason is None:
        return Resolution(engine)
    if member.engine != "auto":
        raise ValueError(reason)
    return Resolution(REFERENCE, reason)


def kind_of(member: MemberConfig, device: str = "cpu") -> tuple[Hashable, ...]:
    """What members trained together must have in common: SHARED, and the engine as far as the member decides it.

    It depends neither on what is installed here nor on the data, so that every process splits packs alike, and imports
    no PyTorch.
    """
    engine = _wanted(member, device)
    if engine != REFERENCE and _support(engine).refusal(member):
        engine = REFERENCE
    return (*(getattr(member, name) for name in SHARED), engine)


def _wanted(member: MemberConfig, device: str) -> str:
    if member.engine != "auto":
        return member.engine
    return "lanes" if device == "cpu" else "cuda"


def _support(engine: str) -> Support:
    if engine == "lanes":
        from trainers.lanes.tables import SUPPORT
    else:
        from trainers.cuda import SUPPORT
    return SUPPORT


def _cuda_refusal(layers: tuple[Layer, ...], device: str, checked: bool) -> str | None:
    """Why the cuda engine can't train this network there; where it must have `checked` itself, also what that found."""
    from trainers.cuda import missing

    if reason := missing(device):
        return reason
    from trainers.cuda.engine import applies

    reason = applies(layers, device)
    if reason is None and checked:
        from trainers.cuda.self_check import earned

        reason = earned(device)
    return reason
