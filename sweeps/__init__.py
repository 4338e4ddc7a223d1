"""The service: specs, plans, drivers, executors and the command line; and its commands as functions.

    >>> import sweeps
    >>> result = sweeps.run("quickstart", executor="in-process")
    >>> result.verdict.text, result.frame, result.best

Nothing is imported before it is used. In a script, a notebook or a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.library import Result, compare, delete, extend, report, run, status, submit, weights

__all__ = ["Result", "compare", "delete", "extend", "report", "run", "status", "submit", "weights"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from sweeps import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
