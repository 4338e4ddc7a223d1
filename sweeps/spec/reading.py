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

from sweeps.spec.checks import Problem, close, shown
from sweeps.spec.model import Arm, Base, ClaimSpec, Confirm, Objective, Resources, SearchSpec, SweepSpec, Tracking
from sweeps.spec.yaml_lines import DEEPEST, Path, YamlError, load
from tracking.store import without_password
from trainers.errors import SpecError
from trainers.members import FIELDS

__all__ = ["Objective", "Resources", "SearchSpec", "SpecError", "SweepSpec", "Tracking", "parse", "read", "studies"]

LARGEST = 1 << 20  # bytes
MOST_PROBLEMS = 20


def studies() -> dict[str, str]:
    """The shipped studies: name -> YAML text, by name."""
    folder = importlib.resources.files("sweeps") / "studies"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return {f.name.removesuffix(".yaml"): f.read_text(encoding="utf-8") for f in files}


def read(source: str | pathlib.Path, settings: Sequence[str] = ()) -> SweepSpec:
    """The spec of a file or of a shipped study, with `key=value` settings over it; raises SpecError."""
    path = pathlib.Path(source)
    shipped = studies()
    if str(source) in shipped and not path.exists():
        return parse(shipped[str(source)], f"{source}.yaml", settings)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        hint = close(str(source), tuple(shipped))
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
        found = "is empty" if data is None else f"is {shown(data)}"
        raise SpecError([f"{name}:1: a spec is a mapping that begins with name: ..., but this {found}"])
    places = {path: f"{name}:{line}" for path, line in lines.items()}
    for setting in settings:
        _set(data, setting, places)
    try:
        return SweepSpec.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        # To find words for each takes longer than to read them: a file of a hundred thousand wrong keys takes no time.
        problems = [p for detail in details[:MOST_PROBLEMS] for p in _problems(detail, data)]
        unsaid = max(0, len(details) - MOST_PROBLEMS)
        raise SpecError([_line(problem, places) for problem in problems], unsaid) from None


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


def _problems(detail: ErrorDetails, data: Mapping[str, Any]) -> list[Problem]:
    """Pydantic's words in ours."""
    path = _written(detail["loc"], data)
    kind, got, context = detail["type"], shown(detail["input"]), detail.get("ctx", {})
    if kind == "problems":
        found: list[Problem] = context["problems"]
        return [Problem(_written((*path, *p.path), data), p.message) for p in found]
    if kind == "missing":
        return [Problem(path, "is missing")]
    if kind == "extra_forbidden":
        return [Problem(path, f"unknown key; {_hint(path)}")]
    wanted = {
        "string_type": "text",
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "tuple_type": "a list",
        "dict_type": "a mapping of keys to values",
        "model_type": "a mapping of keys to values",
        "greater_than_equal": f"at least {context.get('ge', 0):g}",
        "less_than_equal": f"at most {context.get('le', 0):.15g}",
        "literal_error": str(context.get("expected")).replace("'", ""),
    }.get(kind)
    return [Problem(path, f"must be {wanted}, but got {got}" if wanted else f"{detail['msg']}, but got {got}")]


def _written(path: Path, data: Mapping[str, Any]) -> Path:
    """One objective is written without the list that it is in the model."""
    if path[:1] == ("objective",) and not isinstance(data.get("objective"), list):
        return (*path[:1], *path[2:])
    return path


def _hint(path: Path) -> str:
    key = str(path[-1])
    parts: dict[Any, Any] = {
        "search": SearchSpec,
        "objective": Objective,
        "claims": ClaimSpec,
        "confirm": Confirm,
        "resources": Resources,
        "tracking": Tracking,
    }
    if len(path) == 1:
        return close(key, tuple(SweepSpec.model_fields))
    if path[0] in ("base", "arms"):
        if key == "seed":
            return "the seeds of all configurations are given by seeds"
        if path[0] == "base" and key in ("alpha", "r"):
            return f"{key} is given in arms and searched in search.space"
        kept = (Base if path[0] == "base" else Arm).__annotations__
        return close(key, tuple(name for name in FIELDS if name in kept))
    return close(key, tuple(field.alias or name for name, field in parts[path[0]].model_fields.items()))


def _line(problem: Problem, places: Mapping[Path, str]) -> str:
    """The problem with its place: that of its key, or of the nearest one around it that is written."""
    path = problem.path
    while path and path not in places:
        path = path[:-1]
    return f"{places[path]}: {_dotted(problem.path)}{problem.message}"


def _dotted(path: Path) -> str:
    names = (str(part) if str(part).isprintable() else repr(part) for part in path)
    text = ".".join(name if len(name) <= 60 else f"{name[:57]}..." for name in names)
    return f"{text}: " if text else ""
