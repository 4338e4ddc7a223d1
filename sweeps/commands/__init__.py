"""One module per group of commands. A command's function finds what there is to say: a document, and its text.

Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.commands import audit, bench, fields, look, places, results, run, sync, ui

__all__ = ["audit", "bench", "fields", "look", "places", "results", "run", "sync", "ui"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def say(document: Any, text: str, as_json: bool) -> None:
    """Print a command's answer: the document, or the text of it."""
    print(json.dumps(document, indent=2, allow_nan=False) if as_json else text)
