"""The commands `fields` and `metrics`: what a spec may say, and what is recorded; read off the models and tables."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NoReturn

from pydantic import BaseModel

from search_spaces.space import SEARCHABLE
from sweeps.commands.text import table
from sweeps.spec.model import Base, SweepSpec
from sweeps.spec.values import KINDS, MEMBER_TYPES
from trainers.errors import RequestError, did_you_mean, shown
from trainers.members import CHOICES, FIELDS

NEEDED = "needed"
RANGE = {
    "low": ("the smallest value", float, NEEDED),
    "high": ("the largest value", float, NEEDED),
    "log": ("search on a log scale", bool, False),
    "integer": ("whole numbers only; always so for a field that is one", bool, False),
}


def fields(name: str | None) -> list[dict[str, Any]]:
    """Every key of a spec: its line, type, default and choices; with a name, those of that name or below it.

    Raises RequestError for an unknown name.
    """
    entries = [*_of_model(SweepSpec, "")]
    for key, below in (("base", _of_members), ("search.space", _of_range), ("search.pruner", _of_names)):
        at = next(i for i, entry in enumerate(entries) if entry["key"] == key) + 1
        entries[at:at] = below()
    if name is None:
        return entries
    short = {e["key"]: e["key"].rpartition(".")[2] for e in entries}
    words = dict.fromkeys(word for pair in short.items() for word in pair)
    return [e for e in entries if name in (e["key"], short[e["key"]]) or e["key"].startswith(f"{name}.")] or _unknown(
        "a spec has no field", name, words, "gradsweep fields"
    )


def fields_text(fields: list[dict[str, Any]]) -> str:
    """A table."""
    rows = [[e["key"], e["type"], _default(e), e["line"] + _choices(e)] for e in fields]
    return table(["field", "type", "default", "meaning~"], rows)


def metrics(name: str | None) -> list[dict[str, Any]]:
    """Every metric with its line; with a name, that one or those below it. Raises RequestError if there is none."""
    from trainers.metrics import described

    lines = described()
    entries = [
        {"name": metric, "line": line, "per": "layer" if metric.startswith("layer.") else "network"}
        for metric, line in lines.items()
    ]
    if name is None:
        return entries
    # A layer's as `layer.NAME.dead` and as `dead`.
    return [
        e
        for e in entries
        if name in (e["name"], e["name"].removeprefix("layer.NAME.")) or e["name"].startswith(f"{name}.")
    ] or _unknown("there is no metric", name, lines, "gradsweep metrics")


def metrics_text(metrics: list[dict[str, Any]]) -> str:
    """A table."""
    return table(["metric", "per", "meaning~"], [[m["name"], m["per"], m["line"]] for m in metrics])


def _unknown(rule: str, name: str, known: Iterable[str], command: str) -> NoReturn:
    hint = did_you_mean(name, [*known])
    raise RequestError(f"{rule} {shown(name)}; {hint if hint.startswith('did') else f'{command} lists them'}")


def _entry(key: str, line: str, kind: str, default: Any, choices: Iterable[str] = ()) -> dict[str, Any]:
    needed = default is NEEDED
    entry = {"key": key, "line": line, "type": kind, "needed": needed, "default": None if needed else default}
    return entry | {"choices": [*choices]}


def _of_model(model: type[BaseModel], prefix: str) -> Iterator[dict[str, Any]]:
    for name, field in model.model_fields.items():
        key, hint = prefix + (field.alias or name), field.annotation
        default = NEEDED if field.is_required() else _plain(field.default)
        yield _entry(key, field.description or "", _kind(hint), default, _literals(hint))
        for part in _models(hint):
            yield from _of_model(part, f"{key}.")


def _of_members() -> Iterator[dict[str, Any]]:
    """The fields of a member, where each is usually given; those of base can be overridden in arms."""
    tables = CHOICES
    for name, field in FIELDS.items():
        if name != "seed":
            key = f"base.{name}" if name in Base.__annotations__ else f"arms.NAME.{name}"
            kind, line = _kind(MEMBER_TYPES[name]), field.metadata["help"]
            yield _entry(key, line, kind, field.default, tables.get(name, ())) | {"searchable": name in SEARCHABLE}


def _of_range() -> Iterator[dict[str, Any]]:
    for name, (line, kind, default) in RANGE.items():
        yield _entry(f"search.space.FIELD.{name}", line, KINDS[kind], default)


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


def _models(hint: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(hint) if isinstance(part, type) and issubclass(part, BaseModel)]


def _literals(hint: Any) -> list[str]:
    return [str(word) for part in _parts(hint) if typing.get_origin(part) is Literal for word in typing.get_args(part)]


def _kind(hint: Any) -> str:
    """The words of a type, as in errors."""
    parts = [*_parts(hint)]
    origins: list[Any] = [typing.get_origin(part) for part in parts]
    if _models(hint) or dict in origins:
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
