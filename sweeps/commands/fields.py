"""The commands `fields` and `metrics`: what a spec may say, and what is recorded; read off the models and tables."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel

from search_spaces.space import SEARCHABLE
from sweeps.commands.text import table
from sweeps.spec.model import Base, SweepSpec
from sweeps.spec.values import KINDS, MEMBER_TYPES, models
from trainers.errors import RequestError, did_you_mean, shown
from trainers.members import CHOICES, FIELDS

NEEDED = "needed"


def fields(name: str | None) -> list[dict[str, Any]]:
    """Every key of a spec: its line, type, default and choices; with a name, those of that name or below it.

    Raises RequestError for an unknown name.
    """
    entries = [*_of_model(SweepSpec, "")]
    words = {entry["key"]: entry["key"].rpartition(".")[2] for entry in entries}
    return _named(name, entries, words, "a spec has no field", "gradsweep fields lists them")


def fields_text(fields: list[dict[str, Any]]) -> str:
    """A table."""
    rows = [[e["key"], e["type"], _default(e), e["line"] + _choices(e)] for e in fields]
    return table(["field", "type", "default", "meaning~"], rows)


def metrics(name: str | None) -> list[dict[str, Any]]:
    """Every metric with its line; with a name, that one or those below it. Raises RequestError if there is none."""
    from trainers.metrics import described

    entries = [
        {"name": metric, "line": line, "per": "layer" if metric.startswith("layer.") else "network"}
        for metric, line in described().items()
    ]
    # A layer's as `layer.NAME.dead` and as `dead`.
    words = {entry["name"]: entry["name"].removeprefix("layer.NAME.") for entry in entries}
    return _named(name, entries, words, "there is no metric", "gradsweep metrics lists them")


def metrics_text(metrics: list[dict[str, Any]]) -> str:
    """A table."""
    return table(["metric", "per", "meaning~"], [[m["name"], m["per"], m["line"]] for m in metrics])


def _named(
    name: str | None, entries: list[dict[str, Any]], words: dict[str, str], rule: str, where: str
) -> list[dict[str, Any]]:
    """The entries of a name or below it; `words` has each entry's own name, and what it is called for short."""
    if name is None:
        return entries
    pairs = zip(entries, words.items(), strict=True)
    named = [entry for entry, pair in pairs if name in pair or pair[0].startswith(f"{name}.")]
    if not named:
        raise RequestError(f"{rule} {shown(name)}; {did_you_mean(name, [*words, *words.values()], where)}")
    return named


def _entry(key: str, line: str, kind: str, default: Any, choices: Iterable[str] = ()) -> dict[str, Any]:
    needed, choices = default is NEEDED, [*choices]
    default = None if needed else default
    return {"key": key, "line": line, "type": kind, "needed": needed, "default": default, "choices": choices}


def _of_model(model: type[BaseModel], prefix: str) -> Iterator[dict[str, Any]]:
    more = {"base": _of_members, "search.space": _of_range, "search.pruner": _of_names}
    for name, field in model.model_fields.items():
        key, hint = prefix + (field.alias or name), field.annotation
        default = NEEDED if field.is_required() else _plain(field.default)
        yield _entry(key, field.description or "", _kind(hint), default, _literals(hint))
        yield from more.get(key, list)()
        for part in models(hint):
            yield from _of_model(part, f"{key}.")


def _of_members() -> Iterator[dict[str, Any]]:
    """The fields of a member, where each is usually given; those of base can be overridden in arms."""
    for name, field in FIELDS.items():
        if name != "seed":
            key = f"base.{name}" if name in Base.__annotations__ else f"arms.NAME.{name}"
            kind, line = _kind(MEMBER_TYPES[name]), field.metadata["help"]
            yield _entry(key, line, kind, field.default, CHOICES.get(name, ())) | {"searchable": name in SEARCHABLE}


def _of_range() -> Iterator[dict[str, Any]]:
    at = "search.space.FIELD"
    yield _entry(f"{at}.low", "the smallest value", "a number", NEEDED)
    yield _entry(f"{at}.high", "the largest value", "a number", NEEDED)
    yield _entry(f"{at}.log", "search on a log scale", "true or false", False)
    yield _entry(f"{at}.integer", "whole numbers only; always so for a field that is one", "true or false", False)


def _of_names() -> Iterator[dict[str, Any]]:
    from search_spaces import pruners, samplers

    yield _entry("search.sampler.name", "how configurations are suggested", "text", "tpe", samplers.NAMES)
    yield _entry("search.sampler.seed", "the seed of the suggestions", "a whole number", 0)
    yield _entry("search.pruner.name", "which configurations are ended early", "text", NEEDED, pruners.NAMES)


def _parts(hint: Any) -> Iterator[Any]:
    """A type and all that it is made of."""
    yield hint
    for part in typing.get_args(hint):
        if isinstance(part, type | types.GenericAlias | types.UnionType) or typing.get_origin(part):
            yield from _parts(part)


def _literals(hint: Any) -> list[str]:
    return [str(word) for part in _parts(hint) if typing.get_origin(part) is Literal for word in typing.get_args(part)]


def _kind(hint: Any) -> str:
    """The words of a type, as in errors."""
    parts = [*_parts(hint)]
    origins: list[Any] = [typing.get_origin(part) for part in parts]
    if models(hint) or dict in origins:
        return "a list" if tuple in origins else "a mapping"
    words = [KINDS[part] for part in parts if part in (bool, int, float, str)]
    words += ["a list"] if tuple in origins else []
    return " or ".join(dict.fromkeys(words)) or ("text" if _literals(hint) else "a mapping")


def _plain(default: Any) -> Any:
    if isinstance(default, BaseModel):
        return default.model_dump()
    if isinstance(default, tuple):
        # Of seeds the count says it all.
        return len(default) if default and default == (*range(len(default)),) else [*map(_plain, default)]
    return default


def _default(entry: dict[str, Any]) -> str:
    default = entry["default"]
    if entry["needed"] or default in (None, []) or isinstance(default, dict):
        return NEEDED if entry["needed"] else ""
    return default if isinstance(default, str) else shown(default)


def _choices(entry: dict[str, Any]) -> str:
    unsaid = [choice for choice in entry["choices"] if choice not in entry["line"]]
    return f": {' | '.join(entry['choices'])}" if unsaid else ""
