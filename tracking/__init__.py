"""Records into MLflow and back: the store, the spool, the runs, the tables and the statistics of the verdict.

>>> import tracking
>>> frame = tracking.load("alpha-r")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracking.results import export, load, sweeps

__all__ = ["export", "load", "sweeps"]


def __getattr__(name: str) -> Any:
    # pandas comes with the first use, not with the package.
    if name in __all__:
        from tracking import results

        return getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
