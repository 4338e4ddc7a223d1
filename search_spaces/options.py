"""The options of samplers and pruners, held against the signature of the class that will get them.

Nothing is mirrored: what Optuna's constructor accepts as a number, a text or a truth value can be given, the rest
(functions, other samplers) can't be written in a spec and is refused by name.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from optuna.exceptions import ExperimentalWarning

from trainers.errors import OptionError, nearest, shown

_PLAIN = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "None": "null"}
T = TypeVar("T")


def check_name(what: str, name: str, known: Collection[str]) -> None:
    """Raises OptionError where the name is not known."""
    if name not in known:
        raise OptionError("name", f"unknown {what} {shown(name)}; {nearest(name, known)}")


def plain_options(make: Callable[..., Any]) -> dict[str, tuple[str, ...]]:
    """The keyword arguments that a spec can give: name -> type names."""
    found = {}
    for name, parameter in inspect.signature(make).parameters.items():
        written = parameter.annotation  # text, or the type itself: Optuna has modules of both kinds
        text = written if isinstance(written, str) else inspect.formatannotation(written)
        types = tuple(t.strip() for t in text.split("|"))
        if all(t in _PLAIN for t in types):
            found[name] = types
    return found


def check_options(what: str, options: Mapping[str, Any], make: Callable[..., Any], also: Collection[str] = ()) -> None:
    """Raises OptionError for an option that `make` does not have, has for another type, or must have and has not.

    `also` are let pass.
    """
    known = plain_options(make)
    for name, parameter in inspect.signature(make).parameters.items():
        if name in known and parameter.default is parameter.empty and name not in options:
            raise OptionError(name, f"is missing: {what} needs {' or '.join(_PLAIN[t] for t in known[name])}")
    for key, value in options.items():
        if key in also:
            continue
        if key not in known:
            raise OptionError(key, f"{what} has no option {key!r}; {nearest(key, sorted({*known, *also}))}")
        types = known[key]
        if value is None:
            right = "None" in types
        elif isinstance(value, bool):
            right = "bool" in types
        elif isinstance(value, int):
            right = "int" in types or "float" in types
        else:
            right = type(value).__name__ in types
        if not right:
            raise OptionError(key, f"must be {' or '.join(_PLAIN[t] for t in types)}, but got {shown(value)}")


def construct(what: str, make: Callable[..., T], options: Mapping[str, Any]) -> T:
    """`make(**options)`, with Optuna's complaints as OptionError.

    That a class is experimental is our choice and no news for the user; that an option is deprecated means that
    Optuna may ignore it, and a setting silently lost is worse than an error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            return make(**options)
        except (ValueError, TypeError, FutureWarning) as error:
            raise OptionError("", f"{what}: {' '.join(str(error).split())}") from None
