"""The science: activations, regimes, penalties, data, gradients, engines.

Runs where only torch, torchvision and numpy are installed; nothing heavy is imported until it is used.

    >>> from trainers import MemberConfig, train
    >>> for record in train([MemberConfig(seed=s, alpha=2.0, r=0.01) for s in range(5)], threads=2): ...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.members import EpochRecord, MemberConfig
    from trainers.states import MemberState, load_states, save_states
    from trainers.training import Training, train

__all__ = ["EpochRecord", "MemberConfig", "MemberState", "Training", "load_states", "save_states", "train"]

_HOMES = {"EpochRecord": "members", "MemberConfig": "members", "Training": "training", "train": "training"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'states')}"), name)
