"""A sweep as its user writes it (section 5 of the design): a YAML file, checked before anything runs.

    >>> spec = read("alpha-r", ["base.epochs=2", "seeds=2"])
    >>> spec.members({"alpha": 2.0, "r": 0.01})
    (MemberConfig(..., seed=0), MemberConfig(..., seed=1))

An error says where (the file and line, or the setting), what is wrong, and what would be right:
`quickstart.yaml:12: search.space.alpha.low: low < high must hold, but got 0.5 and 0.1`.
"""

from __future__ import annotations

import importlib.resources
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from search_spaces.space import SEARCHABLE
from sweeps.spec.checks import problems
from sweeps.spec.model import PARTS, Resources, SweepSpec
from sweeps.spec.values import KINDS, RANGE_KEYS, Path, Problem
from sweeps.spec.yaml_lines import DEEPEST, YamlError, dump, load
from tracking.store import without_password
from trainers.errors import MOST_PROBLEMS, SpecError, did_you_mean, shown
from trainers.members import FIELDS

__all__ = ["Resources", "SpecError", "SweepSpec", "parse", "read", "studies"]

LARGEST = 1 << 20  # bytes


def studies() -> dict[str, str]:
    """The shipped studies: name -> YAML text, by name."""
    folder = importlib.resources.files("sweeps") / "studies"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return {f.name.removesuffix(".yaml"): f.read_text(encoding="utf-8") for f in files}


def read(
    source: str | pathlib.Path | Mapping[str, Any], settings: Sequence[str] = (), name: str | None = None
) -> SweepSpec:
    """The spec of a file, of a shipped study or of plain data, with `key=value` settings and a name over it.

    Raises SpecError.
    """
    settings = [*settings, *([] if name is None else [f"name={name}"])]
    if isinstance(source, Mapping):
        return _of_data(source, settings)
    path = pathlib.Path(source)
    shipped = studies()
    if str(source) in shipped and not path.exists():
        return parse(shipped[str(source)], f"{source}.yaml", settings)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        hint = did_you_mean(str(source), shipped)
        raise SpecError([f"{source}: there is no such file, and no shipped study of this name; {hint}"]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError([f"{source}: can't be read: {reason}; a YAML file is wanted"]) from None
    if len(content) > LARGEST:
        raise SpecError([f"{source}: a spec has at most {LARGEST >> 20} MiB, but this is larger"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError([f"{source}:{line}: not text: a spec is YAML in UTF-8"]) from None
    return parse(text, str(source), settings)


def parse(text: str, name: str = "spec", settings: Sequence[str] = ()) -> SweepSpec:
    """The same from YAML text; `name` stands for the file in errors."""
    try:
        data, lines = load(text)
    except YamlError as error:
        raise SpecError([f"{name}:{error.line}: {_dotted(error.path)}{error}"]) from None
    if not isinstance(data, dict):
        what = "is empty" if data is None else f"is {shown(data)}"
        raise SpecError([f"{name}:1: a spec is a mapping that begins with name: ..., but this {what}"])
    return _checked(data, {path: f"{name}:{line}" for path, line in lines.items()}, settings)


def _of_data(source: Mapping[str, Any], settings: Sequence[str]) -> SweepSpec:
    """By way of YAML: what could not be written there could not be kept either."""
    try:
        data, _ = load(dump(source))
    except YamlError as error:
        raise SpecError([f"spec: {_dotted(error.path)}{error}"]) from None
    except Exception as error:  # PyYAML's own, of an object that is no plain data
        raise SpecError([f"spec: must be plain data, as in YAML: {error}"]) from None
    return _checked(data, {(): "spec"}, settings)


def _checked(data: dict[str, Any], places: dict[Path, str], settings: Sequence[str]) -> SweepSpec:
    for setting in settings:
        _set(data, setting, places)
    try:
        spec = SweepSpec.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # To find words for each takes longer than to read them: a file of a hundred thousand wrong keys takes no time.
        wrong = [_problem(detail) for detail in details[:MOST_PROBLEMS]]
        unsaid = max(0, len(details) - MOST_PROBLEMS)
    else:
        wrong, unsaid = problems(spec), 0
        if not wrong:
            return spec
    if not isinstance(data.get("objective"), list):  # one is written without the list that it is in the model
        wrong = [((path[0], *path[2:]) if path[:1] == ("objective",) else path, message) for path, message in wrong]
    raise SpecError([_line(problem, places) for problem in wrong], unsaid) from None


def _set(data: dict[str, Any], setting: str, places: dict[Path, str]) -> None:
    """Puts a `key=value` into the data, and its place, for errors, over what was there."""
    place = without_password(f"--set {setting if len(setting) <= 80 else setting[:77] + '...'}")
    key, equals, text = setting.partition("=")
    if not equals or not all(key.split(".")) or key.count(".") >= DEEPEST:
        raise SpecError([f"{place}: must be key=value, with a dotted key like base.epochs=2"])
    try:
        value, _ = load(text)
    except YamlError as error:
        raise SpecError([f"{place}: {_dotted((key,))}{error}"]) from None
    path: Path = ()
    inner: Any = data
    *parents, last = key.split(".")
    for part in parents:
        step = _step(inner, part, path, place)
        path = (*path, step)
        if isinstance(inner, dict) and inner.get(part) is None:
            inner[part] = {}
            places[path] = place
        inner = inner[step]
    path = (*path, _step(inner, last, path, place))
    inner[path[-1]] = value
    for below in [p for p in places if p[: len(path)] == path]:
        del places[below]
    places[path] = place


def _step(inner: Any, part: str, path: Path, place: str) -> str | int:
    if isinstance(inner, dict):
        return part
    if isinstance(inner, list) and part.isdecimal() and int(part) < len(inner):
        return int(part)
    raise SpecError([f"{place}: {_dotted(path)}has no {part!r} to set: it is {shown(inner)}"])


def _problem(detail: ErrorDetails) -> Problem:
    """Pydantic's words in ours."""
    path, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    if kind == "rule":
        return path, context["text"]
    if kind == "value_error":
        message = str(context["error"])
        word = message.split()[0]  # a range's messages begin with the end that is wrong
        return (*path, word) if word in ("low", "high") else path, message
    if kind == "missing":
        return path, "is missing"
    if kind == "extra_forbidden":
        return path, _unknown(path)
    mapping = "a mapping of keys to values"
    wanted = {
        "string_type": KINDS[str],
        "int_type": KINDS[int],
        "float_type": KINDS[float],
        "bool_type": KINDS[bool],
        "tuple_type": "a list",
        "dict_type": "a mapping with a name" if path[-1] in ("sampler", "pruner") else mapping,
        "model_type": mapping,
        "greater_than_equal": f"at least {context.get('ge', 0):g}",
        "less_than_equal": f"at most {context.get('le', 0):.15g}",
        "literal_error": str(context.get("expected")).replace("'", ""),
    }.get(kind)
    what = f"must be {wanted}" if wanted else detail["msg"]
    return path, f"{what}, but got {shown(detail['input'])}"


def _unknown(path: Path) -> str:
    """What to say about an unknown key."""
    first, key = path[0], str(path[-1])
    if len(path) == 1:
        return f"unknown key; {did_you_mean(key, SweepSpec.model_fields)}"
    if path[:2] == ("search", "space"):
        if len(path) > 3:
            return f"unknown key; {did_you_mean(key, RANGE_KEYS)}"
        if key in FIELDS:
            return f"can't be searched; can be: {', '.join(SEARCHABLE)}"
        return f"unknown key; {did_you_mean(key, SEARCHABLE)}"
    if first in ("base", "arms"):
        if key == "seed":
            return "unknown key; the seeds of all configurations are given by seeds"
        if first == "base" and key in ("alpha", "r"):
            return f"unknown key; {key} is given in arms and searched in search.space"
        kept = [name for name in FIELDS if name != "seed" and (first == "arms" or name not in ("alpha", "r"))]
        return f"unknown key; {did_you_mean(key, kept)}"
    return f"unknown key; {did_you_mean(key, [f.alias or name for name, f in PARTS[str(first)].model_fields.items()])}"


def _line(problem: Problem, places: Mapping[Path, str]) -> str:
    """The problem with its place: that of its key, or of the nearest one around it that is written."""
    path, message = problem
    nearby = path
    while nearby and nearby not in places:
        nearby = nearby[:-1]
    return f"{places[nearby]}: {_dotted(path)}{message}"


def _dotted(path: Path) -> str:
    names = (str(part) if str(part).isprintable() else repr(part) for part in path)
    text = ".".join(name if len(name) <= 60 else f"{name[:57]}..." for name in names)
    return f"{text}: " if text else ""
