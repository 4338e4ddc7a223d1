"""The options of samplers and pruners, checked against the signature of the class that gets them.

Optuna's options are not listed here again: whatever its constructor takes as a number, text or truth value is allowed.
The rest (functions, other samplers) can't be written in a spec, and is refused by name.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from optuna.exceptions import ExperimentalWarning

from search_spaces.plan import Settings
from trainers.errors import OptionError, did_you_mean, shown

_PLAIN = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "None": "null"}
T = TypeVar("T")


def split(what: str, settings: Settings, known: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The name and a copy of the options of a sampler or pruner. Raises OptionError where the name is not known."""
    options = dict(settings)
    name = options.pop("name")
    if name not in known:
        raise OptionError("name", f"unknown {what} {shown(name)}; {did_you_mean(name, known)}")
    return name, options


def check_options(what: str, options: Mapping[str, Any], make: Callable[..., Any], also: Collection[str] = ()) -> None:
    """Raises OptionError for an unknown or missing option, or a value of the wrong type; `also` are not checked."""
    known: dict[str, list[str]] = {}  # the keyword arguments that a spec can give, and their types' names
    for name, parameter in inspect.signature(make).parameters.items():
        written = parameter.annotation  # text, or the type itself: Optuna has modules of both kinds
        types = (written if isinstance(written, str) else inspect.formatannotation(written)).split(" | ")
        if all(t in _PLAIN for t in types):
            known[name] = types
            if parameter.default is parameter.empty and name not in options:
                raise OptionError(name, f"is missing: {what} needs {' or '.join(_PLAIN[t] for t in types)}")
    for key, value in options.items():
        if key in also:
            continue
        if key not in known:
            raise OptionError(key, f"{what} has no option {key!r}; {did_you_mean(key, sorted({*known, *also}))}")
        written = "None" if value is None else type(value).__name__
        if written not in known[key] and not (written == "int" and "float" in known[key]):
            raise OptionError(key, f"must be {' or '.join(_PLAIN[t] for t in known[key])}, but got {shown(value)}")


def construct(what: str, make: Callable[..., T], options: Mapping[str, Any]) -> T:
    """`make(**options)`, with Optuna's complaints as OptionError.

    A deprecated option is an error, too: Optuna may ignore it, and a setting must not be lost in silence. Warnings that
    a class is experimental are dropped: using it was our choice.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return make(**options)
        except (ValueError, TypeError, FutureWarning) as error:
            raise OptionError("", f"{what}: {' '.join(str(error).split())}") from None
