"""The ledger, its mirrors in MLflow and Optuna, the records as tables, the verdict, the figures and the report.

>>> import tracking
>>> frame = tracking.load("alpha-r")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracking.results import export, load, load_layers, sweeps

__all__ = ["export", "load", "load_layers", "sweeps"]


def __getattr__(name: str) -> Any:
    # pandas comes with the first use, not with the package.
    if name in __all__:
        from tracking import results

        return getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
