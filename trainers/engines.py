"""Which engine trains a member: what the fast engines support, as data, and the one decision.

The reference engine trains everything that the tables of this package hold. The others have code of their own for each
entry, and say for which (`trainers.support`); a member that asks for anything else goes to the reference engine, with
a line that says so. So nothing is ever trained as something else because a table lacks an entry.

    >>> resolve(MemberConfig(), "cpu")
    Resolution(engine='lanes', reason=None)
"""

from __future__ import annotations

from collections.abc import Hashable
from importlib import import_module
from typing import NamedTuple

from trainers.cuda import SUPPORT as CUDA
from trainers.lanes.tables import SUPPORT as LANES
from trainers.members import SHARED, MemberConfig, layers_of

REFERENCE = "reference"
SUPPORTS = {support.engine: support for support in (LANES, CUDA)}


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
    reason = unsupported(member, engine) or import_module(f"trainers.{engine}.engine").applies(layers, device)
    if reason is None and engine == "cuda" and member.engine == "auto":
        from trainers.cuda.self_check import earned

        reason = earned(device)
    if reason is None:
        return Resolution(engine)
    if member.engine != "auto":
        raise ValueError(reason)
    return Resolution(REFERENCE, reason)


def unsupported(member: MemberConfig, engine: str) -> str | None:
    """What an engine has no code for, in a line; None where it has, and for the reference engine."""
    if engine not in SUPPORTS:
        return None
    return SUPPORTS[engine].refusal(member) or SUPPORTS[engine].refusal_of(layers_of(member, 10))


def kind_of(member: MemberConfig, device: str = "cpu") -> tuple[Hashable, ...]:
    """What members trained together must have in common: SHARED, the network, and the engine as far as they decide it.

    It depends neither on what is installed here nor on the data, so that every process splits packs alike, and imports
    no PyTorch.
    """
    engine = _wanted(member, device)
    if engine != REFERENCE and unsupported(member, engine):
        engine = REFERENCE
    return (*(getattr(member, name) for name in SHARED), layers_of(member, 10), engine)


def _wanted(member: MemberConfig, device: str) -> str:
    if member.engine != "auto":
        return member.engine
    return "lanes" if device == "cpu" else "cuda"
