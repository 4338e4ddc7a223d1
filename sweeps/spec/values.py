"""The values of a spec that need more than a type: seeds, ranges and choices, goals and epochs, addresses, names.

A validator gives what is meant by what was written. It raises ValueError with what is wrong and what would be right, or
`refuse`s with several problems, each at its place below the value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, get_type_hints
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    with_config,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError
from typing_extensions import TypedDict

from search_spaces.space import SEARCHABLE, Choice, Range, When
from sweeps.spec.yaml_lines import Path
from tracking.verdict.claims import BEST
from trainers.errors import did_you_mean, shown
from trainers.members import MemberConfig
from trainers.objectives import Epochs, Near

MOST_SEEDS = 10_000
# KubeRay appends six characters to make a cluster's name, and "-serve-svc" to that: 63 in all.
NAME = re.compile(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])?")
ARM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,46}")
SPAN = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?){unit})?" for unit in "dhms"))
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}  # seconds
PERCENT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) *%")
URI_SCHEMES = ("http", "https", "sqlite", "postgresql")
KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
STRICT = ConfigDict(extra="forbid", strict=True)

Problem = tuple[Path, str]  # where, below the value; what is wrong and what would be right


class Part(BaseModel):
    """A part of a spec."""

    model_config = STRICT | {"frozen": True}


def optional(default: Any, description: str, **bounds: Any) -> Any:
    """A field that may be left out, and what `gradsweep fields` says of it."""
    return Field(default=default, description=description, **bounds)


def refuse(problems: list[Problem]) -> None:
    """Raise ValidationError for these problems, if there are any."""
    if problems:
        details = [
            InitErrorDetails(type=PydanticCustomError("rule", "{text}", {"text": message}), loc=path, input=None)
            for path, message in problems
        ]
        raise ValidationError.from_exception_data("spec", details)


def arms(value: dict[str, Any]) -> dict[str, Any]:
    """Arms whose names can be used in claims, on command lines and in file names."""
    rule = "the name of an arm must be 1 to 47 of a-z, A-Z, 0-9, _ and -"
    taken = "an arm can't be called best: in a claim, best is whichever configuration is the best"
    refuse([((arm,), taken if arm == BEST else rule) for arm in value if arm == BEST or not ARM.fullmatch(arm)])
    return value


def seeds(value: Any) -> int | tuple[int, ...]:
    """A count, or a list of different seeds."""
    count = value if type(value) is int else len(value) if isinstance(value, list) else 0
    if not 1 <= count <= MOST_SEEDS:
        raise ValueError(f"must be a count from 1 to {MOST_SEEDS} or a list of seeds, but got {shown(value)}")
    if isinstance(value, int):
        return value
    wrong = [(i, seed) for i, seed in enumerate(value) if type(seed) is not int or seed < 0]
    refuse([((i,), f"must be a whole number >= 0, but got {shown(seed)}") for i, seed in wrong])
    first: dict[int, int] = {}
    again = [(i, seed) for i, seed in enumerate(value) if first.setdefault(seed, i) != i]
    refuse([((i,), f"the seeds must differ, but got {seed} twice") for i, seed in again])
    return tuple(value)


def concurrent(value: Any) -> Any:
    """auto, or how many."""
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError(f"must be auto or a whole number >= 1, but got {shown(value)}")


def seconds(value: Any) -> float:
    """A span of time in seconds, of `2h`, `1h30m`, `1d` or a number of them."""
    length = float(value) if type(value) in (int, float) else 0.0
    if isinstance(value, str) and (written := SPAN.fullmatch(value)):
        length = sum(float(amount or 0) * UNITS[unit] for unit, amount in written.groupdict().items())
    if not 0 < length < math.inf:
        raise ValueError(f"must be a time like 2h, 90m, 30s, 1h30m or 1d, or seconds, but got {shown(value)}")
    return length


def span(seconds: float) -> str:
    """Seconds as `seconds` reads them: `2h`, `1h30m`, `0.5s`."""
    parts = []
    for unit, size in UNITS.items():
        whole = seconds // size if size > 1 else seconds
        seconds -= whole * size
        parts += [f"{whole:.15g}{unit}"] if whole else []
    return "".join(parts)


def _address(text: str, right: str) -> SplitResult:
    """The parts of an address. Raises ValueError, with what would be right, where it is none."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 (raises where it is none)
    except ValueError as error:
        raise ValueError(f"{right}: {error}") from None
    return parts


def tracking_uri(uri: str) -> str:
    """MLflow's address without a password: a spec is shown to everybody who may see the sweep."""
    right = "must be like http://HOST:5000"
    parts = _address(uri, right)
    if parts.password is not None or (parts.username and parts.scheme in ("http", "https")):
        raise ValueError("must not hold a password: give it in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    if parts.scheme.partition("+")[0] not in URI_SCHEMES or not (parts.netloc or parts.scheme == "sqlite"):
        raise ValueError(f"{right} (or {', '.join(URI_SCHEMES[1:])}), but got {shown(uri)}")
    return uri


def webhook(url: str) -> str:
    """Where a notice is posted; without a password, as the store file is."""
    right = "must be like https://HOST/PATH"
    parts = _address(url, right)
    if parts.username is not None or any(name == "password" for name, _ in parse_qsl(parts.query)):
        raise ValueError("must not hold a user or a password: a spec is shown to everybody who may see the sweep")
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable() or " " in url:
        raise ValueError(f"{right}, but got {shown(url)}")
    return url


def space(value: Any, validate: Callable[[Any], Any]) -> Any:
    """What is searched, in the order in which it is written, on which some samplers depend."""
    if value == {}:
        raise ValueError("must have something to search; leave search out for the arms alone")
    entries = validate(value)
    return {key: entries[key] for key in value}


def when(value: Any) -> When:
    """The fields on which something in the space depends, each with the values of which it must have one."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"must be a mapping like {{initialization: uniform}}, but got {shown(value)}")
    condition = {}
    for field, allowed in value.items():
        known = [name for name, hint in MEMBER_TYPES.items() if name != "seed" and hint not in LISTS.values()]
        if field not in known:
            hint = did_you_mean(field, known, "`gradsweep fields base` lists them")
            refuse([((field,), f"unknown field; {hint}")])
        kind = _kind(MEMBER_TYPES[field])
        several = allowed if isinstance(allowed, list) else [allowed]
        wrong = [v for v in several if type(v) is not kind and not (kind is float and type(v) is int)]
        if wrong or not several:
            got = shown(wrong[0]) if wrong else "none"
            refuse([((field,), f"must be {KINDS[kind]}, or a list of which one holds, but got {got}")])
        condition[field] = tuple(several)
    return condition


@with_config(STRICT)
class _Ends(TypedDict):
    low: Any  # a range checks its ends itself
    high: Any
    log: NotRequired[bool]
    integer: NotRequired[bool]
    when: NotRequired[Annotated[Any, PlainValidator(when)]]


_ENDS = TypeAdapter(_Ends)
SPACE_KEYS = (*_Ends.__annotations__, "values")


def _entry(name: str, kind: type) -> Callable[[Any], Range | Choice]:
    """What may be said of one field of the space: a list to choose from, `{values, when}`, or `{low, high, ...}`."""
    listed = list[kind]  # type: ignore[valid-type]
    of_choice = {"values": listed, "when": NotRequired[_Ends.__annotations__["when"]]}
    values = TypeAdapter(listed, config=ConfigDict(strict=True))
    choice = TypeAdapter(with_config(STRICT)(TypedDict("Values", of_choice)))  # type: ignore[operator]

    def entry(what: Any) -> Range | Choice:
        if isinstance(what, list):
            return Choice(tuple(values.validate_python(what)))
        if not isinstance(what, Mapping):
            raise ValueError(f"must be a range like {{low: 1, high: 2}} or a list, but got {shown(what)}")
        if "values" in what or (kind not in (int, float) and not {"low", "high"} & what.keys()):
            given = choice.validate_python(what)
            return Choice(**given | {"values": tuple(given["values"])})
        if kind not in (int, float):
            raise ValueError(f"{name} is {KINDS[kind]}: give a list to choose from, not a range")
        ends = _ENDS.validate_python(what)
        if kind is int and ends.setdefault("integer", True) is False:
            refuse([(("integer",), "must be true, or left out: this field is a whole number")])
        return Range(**ends)

    return entry


def goal(value: Any) -> str | Near:
    """Which way is better, or what is to be near."""
    if value in ("maximize", "minimize"):
        return str(value)
    if isinstance(value, Mapping) and [*value] == ["near"]:
        if type(value["near"]) in (int, float):
            return Near(float(value["near"]))
        refuse([(("near",), f"must be {KINDS[float]}, but got {shown(value['near'])}")])
    raise ValueError(f"must be maximize, minimize or {{near: NUMBER}}, but got {shown(value)}")


_AMOUNTS = {"mean_of_last": int, "first_above": float}


def epoch(value: Any) -> Epochs:
    """Which epochs count."""
    if value in ("last", "best"):
        return Epochs(value)
    if not isinstance(value, Mapping) or len(value) != 1 or (how := next(iter(value))) not in _AMOUNTS:
        raise ValueError(f"must be last, best, {{mean_of_last: 5}} or {{first_above: 0.5}}, but got {shown(value)}")
    kind, amount = _AMOUNTS[how], value[how]
    if type(amount) not in (int, kind) or (kind is int and amount < 1):
        refuse([((how,), f"must be {KINDS[kind]}{' >= 1' * (kind is int)}, but got {shown(amount)}")])
    return Epochs(how, kind(amount))


def _kind(hint: Any) -> type:
    """int of `int`, and of `int | None`."""
    return next(kind for kind in (bool, int, float, str) if hint == kind or hint == kind | None)


def earlier_is_better(given: Any) -> Any:
    """An objective or a claim; where it is about when something is first above a value, its goal is to be early."""
    if not isinstance(given, dict) or not isinstance(given.get("epoch"), dict) or "first_above" not in given["epoch"]:
        return given
    if (goal := given.get("goal", "minimize")) != "minimize":
        rule = "must be minimize, or left out, where epoch is first_above (the earlier, the better)"
        refuse([(("goal",), f"{rule}, but got {shown(goal)}")])
    return given | {"goal": goal}


GOAL = "which way is better"
EPOCH = "which of the epochs count"
if TYPE_CHECKING:
    Seconds = float
    Goal = str | Near
    Epoch = Epochs
else:
    Seconds = Annotated[float | str, PlainValidator(seconds), PlainSerializer(span)]
    Goal = Annotated[
        Literal["maximize", "minimize"] | Near,
        PlainValidator(goal),
        PlainSerializer(lambda goal: {"near": goal.target} if isinstance(goal, Near) else goal),
    ]
    Epoch = Annotated[
        Literal["last", "best"] | Epochs,
        PlainValidator(epoch),
        PlainSerializer(lambda epoch: {epoch.how: epoch.amount} if epoch.how in _AMOUNTS else epoch.how),
    ]
Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Seeds = Annotated[int | tuple[int, ...], PlainValidator(seeds)]
EachSeed = Annotated[
    tuple[int, ...],
    PlainValidator(seeds),
    AfterValidator(lambda given: tuple(range(given)) if isinstance(given, int) else given),
]
Concurrent = Annotated[int | Literal["auto"], PlainValidator(concurrent)]
Uri = Annotated[str, AfterValidator(tracking_uri)]
Webhook = Annotated[str, AfterValidator(webhook)]
# In a spec a list is one.
LISTS = {tuple[str, ...] | None: list[str] | None, tuple[int, ...] | None: list[int] | None}
MEMBER_TYPES = {name: LISTS.get(hint, hint) for name, hint in get_type_hints(MemberConfig).items()}
SPACE = {name: Annotated[Any, PlainValidator(_entry(name, _kind(MEMBER_TYPES[name])))] for name in SEARCHABLE}
