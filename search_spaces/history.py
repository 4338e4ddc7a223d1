"""What a pruner in a worker knows about the other configurations: plain data that can be pickled."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.rows import Row


@dataclass(frozen=True)
class History:
    """What is known of the other configurations.

    `study` is the sweep's name, by which Hyperband draws its brackets. `arms` is how many of the first numbers are
    arms: they compete but are never stopped, since a comparison needs their full curves. `past` are configurations
    that have ended. `own` are those of the judge's own pack that had ended before its previous worker was lost: they
    compete epoch by epoch, as they did then.
    """

    study: str = ""
    past: tuple[Row, ...] = ()
    arms: int = 0
    own: tuple[Row, ...] = ()
