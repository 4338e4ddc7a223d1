"""What a spec may say and what is recorded, read off the models and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from search_spaces import pruners, samplers
from search_spaces.space import SEARCHABLE
from sweeps.spec.model import PARTS, Base, SweepSpec
from sweeps.spec.values import KINDS, MEMBER_TYPES
from trainers.errors import shown
from trainers.measurements import MEASUREMENTS
from trainers.measurements.measurement import by_step
from trainers.members import CHOICES, FIELDS
from trainers.metrics import described
from trainers.regimes import NETWORK

NEEDED, REGIMES = "needed", "the regime's"
OF_REGIME = (*NETWORK, "initialization", "init_scale", "measure")
Entry = dict[str, Any]


def row(entry: Entry) -> list[str]:
    """An entry as a row: key, type, default and meaning."""
    default, choices = entry["default"], entry["choices"]
    if entry["needed"]:
        default = NEEDED
    elif entry["key"].removeprefix("base.") in OF_REGIME:
        default = REGIMES
    elif default in (None, []) or isinstance(default, dict):
        default = ""
    meaning = entry["line"]
    if any(choice not in meaning for choice in choices):
        meaning += f": {' | '.join(choices)}"
    return [entry["key"], entry["type"], default if isinstance(default, str) else shown(default), meaning]


def _entry(key: str, line: str, kind: str, default: Any, choices: Iterable[str] = ()) -> Entry:
    needed = default is NEEDED
    entry = {"key": key, "line": line, "type": kind, "needed": needed, "default": None if needed else default}
    return entry | {"choices": [*choices]}


def spec_fields(model: type[BaseModel] = SweepSpec, prefix: str = "") -> Iterator[Entry]:
    """Every key of a spec, in its order: its line, type, default and choices."""
    defaults = model.model_construct().model_dump(by_alias=True)
    for name, field in model.model_fields.items():
        key, hint = field.alias or name, field.annotation
        default = defaults.get(key, NEEDED)
        if isinstance(default, tuple):  # of seeds the count says it all
            default = len(default) if key == "seeds" else [*default]
        yield _entry(prefix + key, field.description or "", _kind(hint), default, _words(hint))
        if key in PARTS:
            yield from spec_fields(PARTS[key], f"{key}.")
        yield from OPEN.get(prefix + key, ())


def recorded() -> list[Entry]:
    """Every metric: its name, its line, what it is per, and the measurement without which it is not recorded.

    A layer is NAME in its metrics; in those of the steps of a recurrent network, K steps before the last are stepK.
    """
    entries = []
    asked = {metric: name for name, of in MEASUREMENTS.items() for metric in of.network}
    asked |= {f"layer.NAME.{metric}": name for name, of in MEASUREMENTS.items() for metric in of.layer}
    for metric, line in described().items():
        measure = asked.get(metric)
        per = "layer" if metric.startswith("layer.") else "network"
        if per == "layer" and measure and MEASUREMENTS[measure].rows is by_step:
            metric, per = metric.replace("NAME", "stepK", 1), "step"
        entries.append({"name": metric, "line": line, "per": per, "measure": measure})
    return entries


def _words(hint: Any) -> Iterator[str]:
    """The words that a type names."""
    for part in get_args(hint):
        yield from [part] if get_origin(hint) is Literal else _words(part)


def _kind(hint: Any) -> str:
    """The words of a type, as in errors."""
    return " or ".join(dict.fromkeys(_kinds(hint))) or "text"


def _kinds(hint: Any) -> Iterator[str]:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for part in parts:
            yield from _kinds(part)
    elif origin is Annotated:
        yield from _kinds(parts[0])
    elif origin is tuple:  # of one a count may be given instead
        yield from (kind for kind in [KINDS.get(parts[0]), "a list"] if kind)
    elif origin is list:
        yield "a list"
    elif hint is not NoneType and origin is not Literal:
        yield KINDS.get(hint, "a mapping")


def _of_members() -> Iterator[Entry]:
    """The fields of a member, where each is usually given; those of base can be overridden in arms."""
    for name, field in FIELDS.items():
        if name != "seed":
            key = f"base.{name}" if name in Base.__annotations__ else f"arms.NAME.{name}"
            kind, line = _kind(MEMBER_TYPES[name]), field.metadata["help"]
            yield _entry(key, line, kind, field.default, CHOICES.get(name, ())) | {"searchable": name in SEARCHABLE}


def _judged(key: str) -> dict[str, list[Entry]]:
    """What an objective's or a claim's goal and epoch may be besides a word."""
    near = (
        "a number to be near: the distance counts, of logarithms for sizes and ratios such as gradient.first_to_last, "
        "where 0 and what is not finite are the farthest"
    )
    mean = "the mean over so many epochs at the end counts, or over all that there are"
    first = (
        "the number of the first epoch with the metric above this counts, the earlier the better; where there is none, "
        "one more than the most epochs that any configuration trains"
    )
    return {
        f"{key}.goal": [_entry(f"{key}.goal.near", near, KINDS[float], None)],
        f"{key}.epoch": [
            _entry(f"{key}.epoch.mean_of_last", mean, KINDS[int], None),
            _entry(f"{key}.epoch.first_above", first, KINDS[float], None),
        ],
    }


# What the models leave open, and after which key it comes.
OPEN = {
    "search.space": [
        _entry("search.space.FIELD.low", "the smallest value", KINDS[float], NEEDED),
        _entry("search.space.FIELD.high", "the largest value", KINDS[float], NEEDED),
        _entry("search.space.FIELD.log", "search on a log scale", KINDS[bool], False),
        _entry(
            "search.space.FIELD.integer", "whole numbers only; always so for a field that is one", KINDS[bool], False
        ),
        _entry("search.space.FIELD.values", "a list to choose from, where it depends on others", "a list", None),
        _entry(
            "search.space.FIELD.when",
            "other field -> its value, or a list of values: elsewhere this one keeps the base's value",
            "a mapping",
            None,
        ),
    ],
    **_judged("objective"),
    **_judged("claims"),
    "search.pruner": [
        _entry("search.sampler.name", "how configurations are suggested", "text", "tpe", samplers.NAMES),
        _entry("search.sampler.seed", "the seed of the suggestions", "a whole number", 0),
        _entry("search.pruner.name", "which configurations are ended early", "text", NEEDED, pruners.NAMES),
    ],
    "base": [*_of_members()],
}
