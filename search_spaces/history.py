"""What a pruner in the worker is told about the other configurations: plain data that can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Past:
    """One other configuration that has ended, in `state`; `intermediate` is epoch -> objective.

    `attributes` is what `Judge.attributes` gave for it.
    """

    number: int
    state: str
    value: float | None
    intermediate: Mapping[int, float] = field(default_factory=dict)
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """What is known of the others; `study` is the sweep's name (Hyperband draws its brackets by it).

    `arms` is how many of the first numbers are arms: they compete, but are never stopped, for a comparison needs
    its lines to the end. `own` are those of the judge's pack that had ended when its former worker was lost, with all
    that was judged of them: they compete from epoch to epoch, as they did then.
    """

    study: str = ""
    past: tuple[Past, ...] = ()
    arms: int = 0
    own: tuple[Past, ...] = ()
